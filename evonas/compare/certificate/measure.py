"""The trainings of a certificate: learning rates are chosen under pilot seeds, then each layer is scored at its best.

The pilots of a point train for as long as its scored trainings and are judged on validation samples. So what chose a
rate has no part in the score: that comes from other seeds and, for images, from the test split.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from evonas.compare.certificate.ladder import Ladder, Place, tasks_by_place
from evonas.compare.comparison import Contender, failure_text
from evonas.compare.trials import CellSpec, TrialSpec, do_cell, evaluation_of, read_by
from evonas.config import CertificateConfig
from evonas.errors import InputError
from evonas.runs.jobs import Jobs, run_jobs
from evonas.runs.progress import JobProgress
from evonas.runs.store import Outcome, Store
from evonas.search.evaluator import evaluator_from_config
from evonas.tasks.task import placed

CODE = ("search", "compare/trials.py")
CHOOSING, SCORING = "validation", "test"
OnProgress = Callable[[JobProgress], None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A layer at a point.

    Attributes:
        rate: its learning rate there: the best one, the lower of equals; the lowest if every pilot failed.
        edge: ``lowest`` or ``highest`` if that is the end of the grid, so that a rate beyond it may be better; ``only``
            if there is no other.
        pilots: by rate, the mean validation score under the pilot seeds; None where one failed.
        scores: by seed.
        failures: by seed, why there is no score.
        seconds: what its trainings took, the pilots included.
    """

    rate: float
    edge: str
    pilots: Mapping[float, float | None]
    scores: Mapping[int, float]
    failures: Mapping[int, str]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "learning_rate": self.rate,
            "at_the_end_of_the_grid": self.edge or None,
            "pilots": {f"{rate:g}": score for rate, score in self.pilots.items()},
            "scores": dict(self.scores),
            "failures": dict(self.failures),
        }


Measured = Mapping[tuple[str, Place], Measurement]  # by layer's name and point
Trials = Mapping[CellSpec, str]  # with what is done, in words


def network_sizes(settings: CertificateConfig, ladder: Ladder, contenders: Sequence[Contender]) -> dict[Place, int]:
    """The number of parameters of each network as it comes, by its first point; every layer is tried in every network.

    Raises:
        InputError: data are missing, a network cannot be built, or has no place for a layer of its layout.
    """
    tasks = tasks_by_place(list(ladder.points.values()))
    column = next(iter(ladder.points.values())).column(settings, 1.0, CHOOSING)
    evaluator = evaluator_from_config(column.model_copy(update={"tasks": tuple(tasks.values())}))
    found = {}
    for place, task in zip(tasks, evaluator.tasks, strict=True):
        network = task.build(settings.seed)
        for each in contenders:
            try:
                placed(task, network, each.genome, settings.layer)
            except InputError as error:
                raise error.at(f"{each.name} in {place.network}") from None
        found[place] = sum(parameter.numel() for parameter in network.parameters())
    return found


def measure(
    settings: CertificateConfig,
    ladder: Ladder,
    contenders: Sequence[Contender],
    store: Store,
    on_progress: OnProgress,
    *,
    keep_changed: bool = False,
) -> dict[tuple[str, Place], Measurement]:
    """Train every layer at every point; what is recorded is not trained again.

    Args:
        settings: of the certificate.
        ladder: the points.
        contenders: the layers and the baselines.
        store: where results are recorded.
        on_progress: see ``run_jobs``.
        keep_changed: see ``run_jobs``.

    Raises:
        InputError: recorded results of other data or code.
        RunInterruptedError: by Ctrl-C or SIGTERM; what was under way is dropped.
    """
    grid, points = settings.ladder, ladder.points.values()
    scored = len(contenders) * len(points) * grid.seeds

    def run(trials: Trials, shown: OnProgress) -> dict[CellSpec, Outcome]:
        jobs = Jobs(list(trials), do_cell, CODE, data=read_by, doing=lambda spec: trials[spec])
        return run_jobs(jobs, store, settings.execution, shown, keep_changed=keep_changed)

    pilots = {
        (each.name, point.place): {
            rate: [
                TrialSpec.of(point.column(settings, rate, CHOOSING), each.genome, seed)
                for seed in point.place.seeds(settings.seed, "pilot", grid.pilot_seeds)
                if len(point.rates) > 1  # else there is nothing to choose
            ]
            for rate in point.rates
        }
        for point in points
        for each in contenders
    }
    piloting: Trials = {
        spec: f"choosing the rate, {place.words}"
        for (_, place), rates in pilots.items()
        for specs in rates.values()
        for spec in specs
    }
    tried = run(piloting, lambda now: on_progress(_of_both(now, left=scored)))
    chosen = {key: _mean_scores(rates, tried) for key, rates in pilots.items()}

    finals = {
        (each.name, point.place): [
            TrialSpec.of(point.column(settings, _best(chosen[each.name, point.place]), SCORING), each.genome, seed)
            for seed in point.place.seeds(settings.seed, "score", grid.seeds)
        ]
        for point in points
        for each in contenders
    }
    scoring: Trials = {spec: f"scoring, {place.words}" for (_, place), specs in finals.items() for spec in specs}
    done = run(scoring, lambda now: on_progress(_of_both(now, before=len(piloting))))
    return {
        key: _measurement(chosen[key], [tried[s] for each in pilots[key].values() for s in each], finals[key], done)
        for key in finals
    }


def _of_both(now: JobProgress, *, before: int = 0, left: int = 0) -> JobProgress:
    """How far the pilots and the scored trainings together are; of pilots alone the time left is a lower bound."""
    known = now.left if now.doing or not left else None
    finished, total = now.finished + before, now.total + before + left
    return replace(now, finished=finished, total=total, left=known, at_least=now.at_least or left > 0)


def _mean_scores(
    rates: Mapping[float, Sequence[TrialSpec]], outcomes: Mapping[CellSpec, Outcome]
) -> dict[float, float | None]:
    found: dict[float, float | None] = {}
    for rate, specs in rates.items():
        scores = [_score(spec, outcomes[spec]) for spec in specs]
        numbers = [score for score in scores if isinstance(score, float)]
        found[rate] = fmean(numbers) if scores and len(numbers) == len(scores) else None
    return found


def _best(scores: Mapping[float, float | None]) -> float:
    """The rate with the highest score, the lower of equals; the lowest one if none has a score."""
    known = {rate: score for rate, score in scores.items() if score is not None}
    return max(sorted(known), key=known.__getitem__) if known else min(scores)


def _measurement(
    pilots: Mapping[float, float | None],
    tried: Sequence[Outcome],
    finals: Sequence[TrialSpec],
    outcomes: Mapping[CellSpec, Outcome],
) -> Measurement:
    rate = _best(pilots)
    edge = "only" if len(pilots) == 1 else {min(pilots): "lowest", max(pilots): "highest"}.get(rate, "")
    ended = {spec.seed: _score(spec, outcomes[spec]) for spec in finals}
    return Measurement(
        rate=rate,
        edge=edge,
        pilots=pilots,
        scores={seed: score for seed, score in ended.items() if isinstance(score, float)},
        failures={seed: why for seed, why in ended.items() if isinstance(why, str)},
        seconds=sum(outcome.seconds for outcome in (*tried, *(outcomes[spec] for spec in finals))),
    )


def _score(spec: TrialSpec, outcome: Outcome) -> float | str:
    """The score of a trial, or why there is none."""
    found = evaluation_of(spec, outcome)
    if found.rejection is not None:
        return failure_text(found.rejection)
    return float(next(iter(found.objectives.values())))
