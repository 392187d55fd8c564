"""What TensorBoard shows of a running search. Everything is derived from what is told, so a resumed run redraws it."""

import time
from collections import Counter, deque

from evonas.config import SearchConfig
from evonas.config.section import dump
from evonas.report.board import Board
from evonas.report.pictures import MEAN, draw_front, draw_genome, draw_progress
from evonas.report.table import Table
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Candidate, Evaluation, Rejection
from evonas.search.selection import pareto_front

RATE_OVER = 60.0  # seconds over which evaluations per second are averaged
PICTURES_EVERY = 20  # told evaluations between pictures of fronts and progress
_SHOWN = 5  # best layers in the text panel


class SearchBoard:
    """A watcher that writes scalars, pictures and texts to a board.

    Scalars, one step per told candidate: ``objective/<task>/best`` and ``.../mean`` (over the window), the same for
    ``objective/mean`` and extras, and ``evaluations/...``, ``rejections/<stage>/<reason>``,
    ``speed/evaluations_per_second``.
    """

    def __init__(self, board: Board, config: SearchConfig) -> None:
        self._board = board
        self._baselines: dict[str, Evaluation] = {}
        self._scored: list[Individual] = []
        self._front: list[Individual] = []
        self._bests: dict[str, float] = {}
        self._window: deque[Individual] = deque(maxlen=config.evolution.window)
        self._rejections: Counter[tuple[str, str]] = Counter()
        self._history: list[float | None] = []
        self._times: deque[float] = deque()
        self._proposed = self._reused = 0
        self._with_cache = bool(config.execution.cache)
        self._best: Individual | None = None
        board.text("configuration", f"```toml\n{dump(config)}\n```", 0)

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """See ``Watcher``."""
        self._baselines[name] = evaluation

    def told(self, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        """See ``Watcher``; recorded results are counted and drawn from the next new one on."""
        self._count(candidate, evaluation)
        improved = self._admit(candidate, evaluation)
        if recorded:
            return
        step = candidate.index
        self._times.append(time.monotonic())
        self._write_scalars(step)
        if improved:
            self._write_best(step)
        if improved or step % PICTURES_EVERY == 0:
            self.write_pictures(step)

    def close(self) -> None:
        """Write the last pictures and close the board."""
        if self._history:
            self.write_pictures(len(self._history) - 1)
        self._board.close()

    def write_pictures(self, step: int) -> None:
        """The Pareto front and the progress so far."""
        baselines = {n: {**e.objectives, **e.extras} for n, e in self._baselines.items() if e.objectives}
        means = {n: e.mean for n, e in self._baselines.items() if e.mean is not None}
        self._board.figure("progress", draw_progress(self._history, baselines=means, label=MEAN), step)
        if self._scored:
            points = [(str(i.index), {**i.objectives, **i.extras}) for i in self._scored]
            front = {str(i.index) for i in self._front}
            names = list(self._scored[0].objectives)
            extras = {name: OBJECTIVES[name].weight for name in self._scored[0].extras}
            picture = draw_front(points, front, baselines=baselines, objectives=names, extras=extras)
            self._board.figure("front", picture, step)
        self._board.flush()

    def _count(self, candidate: Candidate, evaluation: Evaluation) -> None:
        self._proposed += 1 + len(candidate.screened_out)
        self._reused += evaluation.reused
        rejections: list[Rejection] = [rejection for _, rejection in candidate.screened_out]
        if evaluation.rejection is not None:
            rejections.append(evaluation.rejection)
        self._rejections.update((r.stage, r.reason) for r in rejections)
        self._history.append(evaluation.mean)

    def _admit(self, candidate: Candidate, evaluation: Evaluation) -> bool:
        """Take a scored candidate; whether it has the best mean so far."""
        if not evaluation.objectives:
            return False
        individual = Individual.of(
            candidate.index, candidate.genome, evaluation.objectives, FULL_TRAINING, evaluation.extras
        )
        self._scored.append(individual)
        self._window.append(individual)
        self._front = pareto_front([*self._front, individual])  # what was dominated once can never come back
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
        values: dict[str, float] = {
            "evaluations/told": len(self._history),
            "evaluations/scored": len(self._scored),
            "evaluations/proposed": self._proposed,
            "speed/evaluations_per_second": self._rate(),
        }
        if self._with_cache:
            values["evaluations/reused"] = self._reused
        for (stage, reason), count in self._rejections.items():
            values[f"rejections/{stage}/{reason.replace(' ', '_')}"] = count
        if self._best is not None:
            values["objective/mean/best"] = self._best.mean
            values["objective/mean/mean"] = sum(i.mean for i in self._window) / len(self._window)
            for task in self._best.objectives:
                values[f"objective/{task}/best"] = self._bests[task]
                values[f"objective/{task}/mean"] = sum(i.objectives[task] for i in self._window) / len(self._window)
            for name in self._best.extras:
                values[f"objective/{name}/best"] = self._bests[name]
                values[f"objective/{name}/mean"] = sum(i.extras[name] for i in self._window) / len(self._window)
        self._board.scalars(values, step)

    def _rate(self) -> float:
        while self._times and self._times[0] < self._times[-1] - RATE_OVER:
            self._times.popleft()
        span = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def _write_best(self, step: int) -> None:
        assert self._best is not None
        genome = self._best.genome.active()
        title = f"candidate {self._best.index}: mean {self._best.mean:.4f}"
        self._board.figure("best_layer", draw_genome(genome, title=title, subtitle=genome.key), step)
        best = sorted(self._scored, key=lambda i: (-i.mean, i.index))[:_SHOWN]
        self._board.text("best_layers", _table(best).markdown(), step)


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
                "text": genome.to_text(),
            }
            for individual, genome in zip(individuals, genomes, strict=True)
        ),
        dict.fromkeys(individuals[0].extras, "{:.4g}"),
        code=("formula", "text"),
    )
