"""Trials: chosen layers trained on every task under several seeds, outside any search.

A trial is an ungated evaluation of one layer on one task under one seed. So a layer that fails somewhere fails in that
cell alone, and a stopped run loses no more than the trials that were under way.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter

from evonas.compare.costs import network_cost
from evonas.config import DataConfig, LayerConfig, SearchConfig, TaskConfig, TextConfig, TrainingConfig
from evonas.config.section import Section
from evonas.errors import InputError, first_line
from evonas.graph.genome import Genome
from evonas.report.statistics import TaskSeed
from evonas.report.table import grouped
from evonas.runs.jobs import Jobs, run_jobs
from evonas.runs.progress import JobProgress
from evonas.runs.store import Outcome, Store
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import OF_THE_MOMENT, Evaluation, Findings, Rejection
from evonas.tasks.from_config import task_names
from evonas.tasks.sources import digests_of
from evonas.tasks.task import placed

Columns = Mapping[str, SearchConfig]  # by name, one task each
TrialResults = Mapping[str, Mapping[TaskSeed, Evaluation]]  # by layer key
CODE = ("search", "compare")
_EVALUATION = TypeAdapter(Evaluation)
_FIGURES = TypeAdapter(dict[str, float])
_CURVES = TypeAdapter(dict[str, tuple[tuple[int, float], ...]])


class CellSpec(Section):
    """A layer on a task: all the settings that its results depend on, but for the content of files.

    ``genome`` is a text form, of which ``key`` alone counts: other forms of the same graph are the same layer.
    """

    task: TaskConfig
    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    training: TrainingConfig
    layer: LayerConfig
    compile: Literal["auto", "always", "never"]
    device: str
    seed: Annotated[int, Field(ge=0)]  # also a derived one, of 63 bits
    key: str
    genome: str

    @classmethod
    def of(cls, column: SearchConfig, genome: Genome, seed: int) -> Self:
        """The layer on a column's only task."""
        (task,) = column.tasks
        read = {"data": column.data} if task.architecture else {"text": column.text} if task.transformer else {}
        return cls(
            task=task,
            training=column.training,
            layer=column.layer,
            compile=column.execution.compile,
            device=column.execution.device,
            seed=seed,
            key=genome.key,
            genome=genome.active().to_text(),
            **read,  # type: ignore[arg-type]
        )

    def identity(self) -> dict[str, Any]:
        """See ``Section``."""
        return {key: value for key, value in super().identity().items() if key != "genome"}

    def evaluator(self) -> Evaluator:
        """The evaluator of the task; the last one is kept, with its data, for other layers, seeds and trainings."""
        kept = TrainingConfig(batch_size=self.training.batch_size, accumulate=self.training.accumulate)
        shared = {"training": kept, "seed": 0, "key": "", "genome": ""}
        return replace(_evaluator(CellSpec(**dict(self) | shared)), training=self.training)


class TrialSpec(CellSpec):
    """A training under the seed."""


class CostSpec(CellSpec):
    """A measurement of what the layer costs; the seed is that of weights and a batch."""


@lru_cache(maxsize=1)
def _evaluator(spec: CellSpec) -> Evaluator:
    sections = {name: getattr(spec, name) for name in ("data", "text", "training", "layer")}
    settings = SearchConfig(name="trial", tasks=(spec.task,), **sections)
    execution = settings.execution.model_copy(update={"device": spec.device, "compile": spec.compile})
    evaluator = evaluator_from_config(settings.model_copy(update={"execution": execution}))
    return replace(evaluator, rate_marks=())  # a trial has neither rungs nor a gate


def fresh_seeds(config: SearchConfig, count: int) -> tuple[int, ...]:
    """The seeds after the search's own: under its own its layers were selected, so that scores there are biased."""
    return tuple(range(config.seed + 1, config.seed + 1 + count))


def by_task(config: SearchConfig) -> dict[str, SearchConfig]:
    """The configuration of each task alone, by the task's name.

    Raises:
        InputError: two tasks have one name.
    """
    names = task_names(config.tasks)
    return {n: config.model_copy(update={"tasks": (task,)}) for n, task in zip(names, config.tasks, strict=True)}


@dataclass(frozen=True, slots=True)
class Cells:
    """The outcomes of all cells.

    Attributes:
        trials: by key of the layer, then by task and seed.
        costs: by key of the layer and task, the fields of ``NetworkCost``, or why they could not be measured.
    """

    trials: TrialResults
    costs: Mapping[tuple[str, str], Outcome]


def run_cells(
    columns: Columns,
    layers: Sequence[Genome],
    seeds: Sequence[int],
    store: Store,
    on_progress: Callable[[JobProgress], None],
    *,
    costs: bool = False,
    keep_changed: bool = False,
) -> Cells:
    """Every layer on every task under every seed, then what it costs there; what is recorded is not done again.

    Trials that failed for reasons other than training (timeout, out of memory, crash, an error in a user's task) are
    retried on resume.

    Args:
        columns: by name, one task each with its data, training and lowering; protocols and rungs do not matter.
        layers: what to train; equal layers are trained once.
        seeds: of initial weights and batches.
        store: where results are recorded.
        on_progress: see ``run_jobs``.
        costs: whether costs are measured as well, one after the other.
        keep_changed: see ``run_jobs``.

    Raises:
        InputError: missing data, a task that cannot be built, or recorded results of other data or code; found before
            anything is trained.
        RunInterruptedError: by Ctrl-C or SIGTERM; what was under way is dropped.
    """
    by_key = {layer.key: layer for layer in layers}
    trials = {
        (key, (name, seed)): TrialSpec.of(column, by_key[key], seed)
        for name, column in columns.items()
        for seed in seeds
        for key in by_key
    }
    measured = {
        (key, name): CostSpec.of(column, layer, column.seed)
        for name, column in (columns if costs else {}).items()
        for key, layer in by_key.items()
    }
    places: dict[CellSpec, tuple[str, Genome]] = {
        spec: (name, by_key[key]) for (key, (name, _)), spec in trials.items()
    }
    places |= {spec: (name, by_key[key]) for (key, name), spec in measured.items()}

    execution = next(iter(columns.values())).execution  # all of them say the same
    outcomes = run_jobs(_cell_jobs(columns, places), store, execution, on_progress, keep_changed=keep_changed)
    found: dict[str, dict[TaskSeed, Evaluation]] = {key: {} for key in by_key}
    for (key, cell), spec in trials.items():
        found[key][cell] = evaluation_of(spec, outcomes[spec])
    return Cells(found, {place: outcomes[spec] for place, spec in measured.items()})


def _cell_jobs(columns: Columns, places: Mapping[CellSpec, tuple[str, Genome]]) -> Jobs[CellSpec]:
    """The cells as jobs, from the column and the layer of each."""

    def doing(spec: CellSpec) -> str:
        return f"{'measuring costs' if isinstance(spec, CostSpec) else 'training'} on {places[spec][0]}"

    def check(missing: Sequence[CellSpec]) -> None:
        found = grouped((places[spec] for spec in missing), lambda place: place[0])
        _require_trainable(columns, {name: [layer for _, layer in own] for name, own in found.items()})

    return Jobs(
        list(places),
        do_cell,
        CODE,
        data=read_by,
        timed=lambda spec: isinstance(spec, CostSpec),
        doing=doing,
        check=check,
    )


def do_cell(spec: CellSpec, _needed: Mapping[CellSpec, Any]) -> dict[str, Any]:
    """One trial or measurement, as it is recorded.

    Raises:
        RuntimeError: the trial ended for a reason outside training.
    """
    evaluator, genome = spec.evaluator(), Genome.from_text(spec.genome)
    if isinstance(spec, CostSpec):
        return asdict(network_cost(evaluator.tasks[0], genome, evaluator.layer, spec.seed))
    found = evaluator(genome, gated=False, seed=spec.seed, findings=True)
    rejection = found.rejection
    if rejection is not None and rejection.stage in OF_THE_MOMENT:
        raise RuntimeError(rejection.detail or rejection.reason)
    return {
        "steps": found.steps,
        "objectives": dict(found.objectives),
        "rejection": rejection and asdict(rejection),
        "rates": dict(found.rates),
        "findings": {task: _written(each) for task, each in found.findings.items()},
    }


def _written(findings: Findings) -> dict[str, Any]:
    """Findings fit for JSON; pictures are texts in base 64."""
    pictures = {name: b64encode(picture).decode() for name, picture in findings.pictures.items()}
    return {"figures": dict(findings.figures), "curves": dict(findings.curves), "pictures": pictures}


def _read(written: Mapping[str, Any]) -> Findings:
    figures, curves = _FIGURES.validate_python(written["figures"]), _CURVES.validate_python(written["curves"])
    pictures = {name: b64decode(picture) for name, picture in written["pictures"].items()}
    return Findings(figures, curves, pictures)


def read_by(spec: CellSpec) -> Mapping[str, str]:
    """Digests of what the task reads."""
    return digests_of(spec.task, spec.data, spec.text)


def evaluation_of(spec: CellSpec, outcome: Outcome) -> Evaluation:
    """A recorded trial as the evaluation it was."""
    if outcome.value is None:
        rejection = Rejection("execution", "failed", spec.task.label, detail=outcome.failure)
        return Evaluation(spec.key, spec.seed, seconds=outcome.seconds, rejection=rejection)
    value = outcome.value
    try:
        found = {task: _read(each) for task, each in value.get("findings", {}).items()}  # which earlier versions lack
        saved = {"steps": value["steps"], "objectives": value["objectives"], "rejection": value["rejection"]}
        made = {"key": spec.key, "seed": spec.seed, "seconds": outcome.seconds, "rates": value.get("rates", {})}
        return replace(_EVALUATION.validate_python(made | saved), findings=found)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"cannot be read ({first_line(error)})"
        raise InputError(f"the recorded result of {spec.task.label}", what, remedy="choose a new folder") from None


def _require_trainable(columns: Columns, places: Mapping[str, Collection[Genome]]) -> None:
    """Build the network of every column that has something to train, and put a layer of each layout into it."""
    for name, layers in places.items():
        column = columns[name]
        for task in evaluator_from_config(column).tasks:
            network = task.build(column.seed)
            for layer in {layer.layouts: layer for layer in layers}.values():
                try:
                    placed(task, network, layer, column.layer)
                except InputError as error:
                    raise error.at(f"{layer.formula()} on {name}") from None
