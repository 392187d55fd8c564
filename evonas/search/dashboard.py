"""What TensorBoard shows of a running search. Everything is derived from what is told, so a resumed run redraws it."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from math import inf
from statistics import fmean

from evonas.config import SearchConfig
from evonas.config.section import dump
from evonas.report.board import Board, Layout
from evonas.report.table import Table
from evonas.search import sessions
from evonas.search.guide.fidelity import Fidelity
from evonas.search.hypervolume import Scale, hypervolume
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.lineage import Told, ended, line_of, lineage_table
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Candidate, Evaluation, Remeasurement
from evonas.search.racing.board import RaceBoard
from evonas.search.selection import admitted
from evonas.search.training import Points

RATE_OVER = 60.0  # seconds over which evaluations per second are averaged
PICTURES_EVERY = 20  # told evaluations between pictures of fronts and progress, or
PICTURES_SHARE = 50  # one over the share of those told so far: pictures take longer the longer a run is
SCALARS_SHARE = 1000  # the same for points of curves, so that files grow with the logarithm of the run's length
SESSIONS_EVERY = 60.0  # seconds between two writings of the best candidates as runs of their own
_SHOWN = 5  # best layers in the text panel
MOST_TRACES = 10 * (sessions.BEST + sessions.REJECTED)  # candidates whose loss curves are held at a time

# parts, which TensorBoard draws as lines of the same charts in colours of their own
BY_COST, WINDOW = "core-seconds", "mean_of_the_window"
FUNNEL = ("funnel/1_proposed", "funnel/2_past_the_screens", "funnel/3_past_the_quality_gate", "funnel/4_scored")


class SearchBoard:
    """A watcher that writes scalars, pictures and texts to a board.

    Scalars have one step per told candidate, and fewer in runs of thousands: ``objective/mean``, ``objective/<task>``
    and ``objective/<extra>``, each with the best so far, the mean of the window and every baseline as lines; ``funnel``
    with a line for how far proposals came; ``rejections/<stage>``, ``core-seconds/<what became of the candidate>`` and
    ``speed/evaluations_per_second``; of guided searches also ``guide/rank_correlation``,
    and where there are several objectives ``front/hypervolume``.
    ``objective_by_core-seconds/mean`` has core-seconds as its steps.
    """

    def __init__(self, board: Board, config: SearchConfig) -> None:
        self._board = board
        self._parts = {name: board.part(name, own_steps=name == BY_COST) for name in (BY_COST, WINDOW, *FUNNEL)}
        self._threads, self._with_cache = config.execution.threads, bool(config.execution.cache)
        self._baselines: dict[str, Evaluation] = {}
        self._told: dict[int, Told] = {}
        self._fidelity = Fidelity()
        self._scored: list[Individual] = []
        self._front: list[Individual] = []
        self._scale: Scale | None = None
        self._volume: float | None = None
        self._bests: dict[str, float] = {}
        self._window: deque[Individual] = deque(maxlen=config.evolution.window)
        self._rejections: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._times: deque[float] = deque()
        self._proposed = self._reused = 0
        self._racing = bool(config.racing.every)
        self._race: RaceBoard | None = None
        self._best: Individual | None = None
        self._new = self._pictured = False  # whether this session told anything, and whether pictures show the last
        self._drawn = True  # whether the curves show the last
        self._sessions_at = -inf
        self._pictures_at = 0
        self._traces: dict[int, Mapping[str, Points]] = {}  # of the candidates that are shown one by one, and some more
        if not board.resumes:
            board.text("configuration", f"```toml\n{dump(config)}\n```", 0)

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """See ``Watcher``."""
        self._baselines[name] = evaluation
        self._seconds["baselines"] += self._core_seconds(evaluation)
        self._scale, self._volume = Scale.of(self._baselines.values()), None
        if evaluation.objectives:
            self._board.charts(_layout(list(sessions.objectives_of(evaluation))))

    def told(self, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        """See ``Watcher``; recorded results are counted and drawn from the next new one on."""
        self._count(candidate, evaluation)
        improved = self._admit(candidate, evaluation)
        if recorded:
            return
        step, self._new, self._pictured = candidate.index, True, False
        self._times.append(time.monotonic())
        self._drawn = improved or step % max(1, step // SCALARS_SHARE) == 0
        if self._drawn:
            self._write_scalars(step)
        if improved:
            self._write_best(step)
        due = step >= self._pictures_at
        if due:
            self._pictures_at = step + max(PICTURES_EVERY, step // PICTURES_SHARE)
        if improved or due:
            self.write_pictures(step)
        if time.monotonic() - self._sessions_at > SESSIONS_EVERY:
            self._write_sessions(step)

    def measured(self, measurement: Remeasurement, evaluation: Evaluation, *, recorded: bool) -> None:
        """See ``Watcher``."""
        self._seconds["measured again"] += self._core_seconds(evaluation)
        race, step = self._raced(), max(len(self._told) - 1, 0)
        race.measured(measurement, evaluation)
        if not recorded:
            race.write_scalars(step)

    def close(self) -> None:
        """Write the last pictures and candidates, and close the board."""
        if not self._drawn:
            self._write_scalars(len(self._told) - 1)
        if self._new and not self._pictured:
            self.write_pictures(len(self._told) - 1)
        if self._new:
            self._write_sessions(len(self._told) - 1)
        for board in (*self._parts.values(), self._board):
            board.close()

    def write_pictures(self, step: int) -> None:
        """Fronts, progress and what else changes slowly: the histogram of the scores, the rejections."""
        from evonas.report.pictures import MEAN, draw_fronts, draw_progress

        self._pictured = True
        if self._race is not None:
            self._race.write_picture(step)
        baselines = {n: {**e.objectives, **e.extras} for n, e in self._baselines.items() if e.objectives}
        means = {n: e.mean for n, e in self._baselines.items() if e.mean is not None}
        history = [told.evaluation.mean for told in self._told.values()]
        self._board.figure("best/progress", draw_progress(history, baselines=means, label=MEAN), step)
        self._write_predictions(step)
        rows = tuple((stage, reason, count) for (stage, reason), count in self._rejections.most_common())
        self._board.text("rejections", Table(("stage", "reason", "proposals"), rows).markdown(), step)
        if self._scored:
            self._board.histogram(
                "mean_objectives_of_the_window", [individual.mean for individual in self._window], step
            )
            points = [(str(i.index), {**i.objectives, **i.extras}) for i in self._scored]
            front = {str(i.index) for i in self._front}
            extras = {name: OBJECTIVES[name].weight for name in self._scored[0].extras}
            names = list(self._scored[0].objectives)
            pictures = draw_fronts(points, front, baselines=baselines, objectives=names, extras=extras)
            for name, picture in pictures.items():
                self._board.figure(f"front/{name.replace(' ', '_')}", picture, step)
        self._board.flush()
        for board in self._parts.values():
            board.flush()

    def _keep_traces(self, index: int, evaluation: Evaluation) -> None:
        """Keep the loss curves of a candidate, and let go of those that will not be shown any more."""
        if not evaluation.traces:
            return
        self._traces[index] = evaluation.traces
        if len(self._traces) > MOST_TRACES:
            rejected = [n for n in sorted(self._traces) if self._told[n].evaluation.rejection]
            best = nsmallest(sessions.BEST, self._scored, key=_rank)
            kept = {*rejected[-sessions.REJECTED :], *(individual.index for individual in best), index}
            self._traces = {n: traces for n, traces in self._traces.items() if n in kept}

    def _traced(self, index: int) -> Told:
        told = self._told[index]
        return replace(told, evaluation=replace(told.evaluation, traces=self._traces.get(index, {})))

    def _raced(self) -> RaceBoard:
        """What is shown of a race, made when the baseline that it refers to is known."""
        if self._race is None:
            means = (evaluation.mean for evaluation in self._baselines.values())
            self._race = RaceBoard(self._board, next((mean for mean in means if mean is not None), None))
        return self._race

    def _write_predictions(self, step: int) -> None:
        from evonas.report.pictures import draw_predictions

        if points := self._fidelity.points:
            found = self._fidelity.correlation
            said = "" if found is None else f"; rank correlation {found:.2f} of the latest"
            picture = draw_predictions(points, subtitle=f"{len(points)} candidates that it chose{said}")
            self._board.figure("guide/predicted_and_measured", picture, step)

    def _core_seconds(self, evaluation: Evaluation) -> float:
        return evaluation.seconds * self._threads

    def _count(self, candidate: Candidate, evaluation: Evaluation) -> None:
        self._fidelity.tell(candidate, evaluation)
        reasons = candidate.reasons
        self._proposed += 1 + reasons.total()
        self._reused += evaluation.reused
        self._rejections.update(reasons)
        if evaluation.rejection is not None:
            self._rejections[evaluation.rejection.stage, evaluation.rejection.reason] += 1
        lean = replace(evaluation, traces={}, rungs={}, rates={})  # a long run has very many
        self._told[candidate.index] = Told(candidate.index, candidate.proposal, lean)
        self._keep_traces(candidate.index, evaluation)
        self._seconds[ended(evaluation)] += self._core_seconds(evaluation)

    def _admit(self, candidate: Candidate, evaluation: Evaluation) -> bool:
        """Take a scored candidate; whether it has the best mean so far."""
        if not evaluation.objectives:
            return False
        individual = Individual.of(
            candidate.index, candidate.genome, evaluation.objectives, FULL_TRAINING, evaluation.extras
        )
        if self._racing:
            self._raced().found(candidate.index, candidate.genome, individual.mean)
        self._scored.append(individual)
        self._window.append(individual)
        front = admitted(self._front, individual)
        if individual in front:  # as long as nobody joins it, the volume stays
            self._volume = None
        self._front = front
        self._raise_bests(individual)
        if self._best is None or individual.mean > self._best.mean:
            self._best = individual
            return True
        return False

    def _raise_bests(self, individual: Individual) -> None:
        for task, value in individual.objectives.items():
            self._bests[task] = max(value, self._bests.get(task, value))
        for name, value in individual.extras.items():
            better = max if OBJECTIVES[name].weight > 0 else min
            self._bests[name] = better(value, self._bests.get(name, value))

    def _write_scalars(self, step: int) -> None:
        in_stages = Counter[str]()
        for (stage, _), count in self._rejections.items():
            in_stages[stage] += count
        past = (self._proposed, len(self._told), len(self._told) - in_stages["quality"], len(self._scored))
        for part, count in zip(FUNNEL, past, strict=True):
            self._parts[part].scalar("funnel", count, step)
        values: dict[str, float] = {"speed/evaluations_per_second": self._rate()}
        if self._with_cache:
            values["speed/reused_evaluations"] = self._reused
        values |= {f"rejections/{stage}": count for stage, count in in_stages.items()}
        values |= {f"core-seconds/{end}": seconds for end, seconds in self._seconds.items()}
        if (correlation := self._fidelity.correlation) is not None:
            values["guide/rank_correlation"] = correlation
        if self._scale is not None and self._front:
            self._volume = hypervolume(self._front, self._scale) if self._volume is None else self._volume
            values["front/hypervolume"] = self._volume
        if self._best is not None:
            values |= {f"objective/{name}": best for name, best in {"mean": self._best.mean, **self._bests}.items()}
            self._parts[BY_COST].scalar(sessions.BY_COST, self._best.mean, self._spent)
            self._parts[WINDOW].scalars(self._means(), step)
        self._board.scalars(values, step)

    def _means(self) -> dict[str, float]:
        """Of the window."""
        columns = [sessions.objectives_of(self._told[individual.index].evaluation) for individual in self._window]
        return {tag: fmean(column[tag] for column in columns) for tag in columns[0]}

    @property
    def _spent(self) -> int:
        return round(sum(self._seconds.values()))

    def _write_sessions(self, step: int) -> None:
        best = [self._traced(i.index) for i in nsmallest(sessions.BEST, self._scored, key=_rank)]
        rejected = [self._traced(n) for n in sorted(self._traces) if self._told[n].evaluation.rejection]
        shown = [*(told.evaluation for told in best[:1]), *self._baselines.values()]
        tags = list(dict.fromkeys(tag for evaluation in shown for tag in sessions.objectives_of(evaluation)))
        sessions.show_candidates(self._board, best, rejected, tags)
        sessions.show_baselines(self._board, self._baselines, tags, step, self._spent)
        self._sessions_at = time.monotonic()

    def _rate(self) -> float:
        while self._times and self._times[0] < self._times[-1] - RATE_OVER:
            self._times.popleft()
        span = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def _write_best(self, step: int) -> None:
        from evonas.report.pictures import draw_genome

        assert self._best is not None
        genome = self._best.genome.active()
        title = f"candidate {self._best.index}: mean {self._best.mean:.4f}"
        self._board.text("lineage_of_the_best", lineage_table(line_of(self._best.index, self._told)).markdown(), step)
        self._board.figure("best/layer", draw_genome(genome, title=title, subtitle=genome.key), step)
        best = nsmallest(_SHOWN, self._scored, key=_rank)
        self._board.text("best_layers", _table(best).markdown(), step)


def _rank(individual: Individual) -> tuple[float, int]:
    return -individual.mean, individual.index


def _layout(tags: Sequence[str]) -> Layout:
    """What the tab CUSTOM SCALARS draws together, in this order; lines are the runs that have a tag."""
    return {
        "Scores: the best so far, the mean of the window, the baselines": {
            tag.partition("/")[2]: [tag] for tag in tags
        },
        "Funnel": {
            "proposals, by how far they came": ["funnel"],
            "proposals, by the stage that rejected them": ["rejections/*"],
        },
        "Cost": {
            "best mean objective, by core-seconds": [sessions.BY_COST],
            "core-seconds, by what became of the candidate": ["core-seconds/*"],
        },
    }


def _table(individuals: list[Individual]) -> Table:
    genomes = [individual.genome.active() for individual in individuals]
    return Table.of(
        (
            {
                "candidate": individual.index,
                "mean": individual.mean,
                **individual.objectives,
                **individual.extras,
                "formula": genome.formula(),
            }
            for individual, genome in zip(individuals, genomes, strict=True)
        ),
        dict.fromkeys(individuals[0].extras, "{:.4g}"),
        code=("formula",),
    )
