"""What a page shows of one search, collected from its folder; a search that is being written is read as it stands."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from evonas.config import SearchConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.interface.overview import summarize
from evonas.interface.page_data import described, recorded_environment
from evonas.interface.result_record import ResultRecord, find_report, read_result
from evonas.interface.run_statistics import Json, Layer, families, funnel, operator_kind, operators
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.lineage import ended, formula_change
from evonas.search.outcome import Evaluation, Rejection, Remeasurement
from evonas.search.racing.posterior import Posterior
from evonas.search.racing.race import Race

CHECKPOINTS = 60  # points of the line of posterior means


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that a page needs of a search.

    Attributes:
        folder: where it is.
        config: its settings.
        environment: hardware and versions, by name.
        state: running, finished, interrupted and so on, as ``evonas runs`` says it.
        layers: its candidates, in the order of asking.
        baselines: evaluations of catalogue layers, by name.
        beliefs: posteriors of scored candidates by index; empty where nothing was measured again.
        leaders: while it raced, (candidate, core-seconds, index of the best layer by posterior mean, its posterior).
        rejections: how many proposals were rejected, by stage and reason.
        reranking: the latest one of its layers; None if there is none.
    """

    folder: Path
    config: SearchConfig
    environment: Mapping[str, str]
    state: str
    layers: Sequence[Layer]
    baselines: Mapping[str, Evaluation]
    beliefs: Mapping[int, Posterior]
    leaders: Sequence[tuple[int, float, int, Posterior]]
    rejections: Mapping[tuple[str, str], int]
    reranking: ResultRecord | None

    def as_json(self) -> Json:
        """What the scripts of a page read."""
        scored = [layer for layer in self.layers if layer.evaluation.mean is not None]
        return {
            "folder": str(self.folder),
            "name": self.config.name,
            "state": self.state,
            "seed": self.config.seed,
            "eps": self.config.layer.eps,
            "tasks": list(dict.fromkeys(task for layer in scored for task in layer.evaluation.objectives)),
            "extras": list(dict.fromkeys(name for layer in scored for name in layer.evaluation.extras)),
            "cost": self.layers[-1].cost if self.layers else 0.0,
            "layers": self._columns(),
            "baselines": [self._baseline(name, found) for name, found in self.baselines.items()],
            "leaders": [[index, cost, best, p.mean, p.sd] for index, cost, best, p in self.leaders],
            "funnel": funnel(self.rejections, len(self.layers), len(scored)),
            "operators": operators(self.layers),
            "families": families(scored) if scored else [],
            "reranking": self.reranking and self.reranking.as_json() | {"pictures": []},
            "environment": dict(self.environment),
            "config": RunFolder(self.folder).config_file.read_text(encoding="utf-8", errors="replace"),
            "commands": self._commands(),
        }

    def _columns(self) -> Json:
        """A list for each property of the candidates, as thousands of records would repeat their keys."""
        formulas = {layer.index: layer.formula for layer in self.layers}
        columns: defaultdict[str, list[Any]] = defaultdict(list)
        for layer in self.layers:
            evaluation, proposal = layer.evaluation, layer.candidate.proposal
            belief = self.beliefs.get(layer.index)
            before = formulas.get(proposal.parent) if proposal.parent is not None else None
            row: Json = {
                **described(layer.genome, layer.formula),
                "id": str(layer.index),
                **_outcome(evaluation),
                "posterior": belief and [belief.mean, belief.sd, belief.measurements, belief.failed],
                "operator": proposal.operator,
                "kind": operator_kind(proposal.operator),
                "origin": proposal.origin and [proposal.origin.by, proposal.origin.note],
                "parent": proposal.parent,
                "change": None if before is None else formula_change(before, layer.formula).replace("`", ""),
                "cost": round(layer.cost, 2),
            }
            for name, value in row.items():
                columns[name].append(value)
        return dict(columns)

    def _baseline(self, name: str, evaluation: Evaluation) -> Json:
        genome = CATALOGUE[name].active()
        return {
            **described(genome, genome.formula()),
            "id": name,
            **_outcome(evaluation),
            "kind": "baseline",
            "operator": "of the catalogue",
        }

    def _commands(self) -> list[list[str]]:
        folder, file = shlex.quote(str(self.folder)), shlex.quote(str(self.folder / "config.toml"))
        begun = self.environment.get("command")
        rows = [
            ["go on with it", f"evonas search --run {folder} --resume"],
            ["do it again", f"evonas search {file} --run {shlex.quote(f'{self.folder}-again')}"],
            ["rank its layers", f"evonas top {folder}"],
            ["take its best layer", f"evonas export {shlex.quote(f'{self.folder}#1')} -o layer.py"],
        ]
        return [["was started by", begun], *rows] if begun else rows


def read_run(path: Path) -> RunRecord:
    """Collect what a page shows of the search in a folder.

    Raises:
        InputError: it holds none, or its layers need an extension that is not loaded.
    """
    folder = RunFolder(path).require()
    config, threads = folder.config(), folder.config().execution.threads
    with Archive.open(folder.archive_file, read_only=True) as archive:
        baselines, rejections = archive.baselines(), archive.rejection_counts()
        told = list(archive.in_order())
    cost = threads * sum(evaluation.seconds for evaluation in baselines.values())
    layers: list[Layer] = []
    raced: list[tuple[int, float, Remeasurement, Evaluation]] = []  # after how many candidates, at which cost
    for what, evaluation in told:
        cost += threads * evaluation.seconds
        if isinstance(what, Remeasurement):
            raced.append((len(layers), cost, what, evaluation))
        else:
            genome = what.genome.active()
            layers.append(Layer(what, evaluation, genome, genome.formula(), cost))
    leaders, beliefs = _race(layers, raced, list(baselines.values()))
    state = summarize(path).state
    report = find_report(path)
    return RunRecord(
        folder=path,
        config=config,
        environment=recorded_environment(path),
        state=state,
        layers=layers,
        baselines=baselines,
        beliefs=beliefs,
        leaders=leaders,
        rejections=rejections,
        reranking=read_result(path, report) if report else None,
    )


def _outcome(evaluation: Evaluation) -> Json:
    """How a layer ended, a candidate or a baseline."""
    return {
        "score": evaluation.mean,
        "stage": ended(evaluation),
        "rejection": _rejection(evaluation.rejection),
        "scores": dict(evaluation.objectives) or None,
        "extras": dict(evaluation.extras) or None,
        "rates": dict(evaluation.rates) or None,
        "seconds": round(evaluation.seconds, 3),
        "steps": evaluation.steps,
        "seed": evaluation.seed,
    }


def _rejection(rejection: Rejection | None) -> list[Any] | None:
    """Its fields, in their order; a number that is not finite, which JSON lacks, as a text."""
    if rejection is None:
        return None
    values = (getattr(rejection, name) for name in rejection.__slots__)
    return [str(value) if isinstance(value, float) and not isfinite(value) else value for value in values]


def _race(
    layers: Sequence[Layer],
    raced: Sequence[tuple[int, float, Remeasurement, Evaluation]],
    baselines: Sequence[Evaluation],
) -> tuple[list[tuple[int, float, int, Posterior]], Mapping[int, Posterior]]:
    """The best layer by posterior mean after some of the measurements, and what is believed at the end."""
    if not raced:
        return [], {}
    found = [(layer.index, layer.genome.family, s) for layer in layers if (s := layer.evaluation.mean) is not None]

    def race_until(told: int, measured: int) -> Race:
        rows = ((what.round, what.candidate, evaluation) for _, _, what, evaluation in raced[:measured])
        return Race.recorded(baselines, (row for row in found if row[0] < told), rows)

    leaders = []
    for number in range(0, len(raced), max(1, len(raced) // CHECKPOINTS)):
        told, cost, *_ = raced[number]
        race = race_until(told, number + 1)
        if order := race.order():
            leaders.append((told - 1, cost, order[0], race.beliefs()[order[0]]))
    race = race_until(len(layers), len(raced))
    beliefs = race.beliefs()
    if order := race.order():
        leaders.append((len(layers) - 1, max(raced[-1][1], layers[-1].cost), order[0], beliefs[order[0]]))
    return leaders, beliefs
