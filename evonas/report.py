"""From a run to what people take away: ranked layers, exported modules and pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evonas.config import LayerConfig
from evonas.errors import InputError
from evonas.files import write_text
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.layer.export import export
from evonas.record.archive import Archive
from evonas.record.outcome import Evaluation
from evonas.record.pictures import draw_genome, to_png
from evonas.record.run import RunFolder
from evonas.search.individual import FULL, Individual
from evonas.search.selection import pareto_front


@dataclass(frozen=True, slots=True)
class Entry:
    """A layer in a ranking.

    Attributes:
        rank: 1 for the best mean; 0 for a baseline.
        name: ``#1``, or the baseline's catalogue name.
        genome: the layer, inactive nodes removed.
        evaluation: its scores, or why it has none.
        candidate: index of the candidate in the run; None for a baseline.
    """

    rank: int
    name: str
    genome: Genome
    evaluation: Evaluation
    candidate: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "rank": self.rank,
            "name": self.name,
            "candidate": self.candidate,
            **describe(self.genome),
            "objectives": dict(self.evaluation.objectives),
            "mean": self.evaluation.mean,
            "extras": dict(self.evaluation.extras),
        }


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer somebody named, with what the name says about it."""

    genome: Genome
    name: str = ""
    provenance: str = ""
    objectives: Mapping[str, float] | None = None
    lowering: LayerConfig = field(default_factory=LayerConfig)


def describe(genome: Genome) -> dict[str, str]:
    """Key, text and formulas of a genome."""
    active = genome.active()
    return {
        "key": genome.key,
        "text": active.to_text(),
        "formula": active.formula(),
        "latex": active.formula(latex=True),
    }


def ranking(run: RunFolder, count: int | None = None) -> list[Entry]:
    """The scored layers of a run by mean objective, best first; earlier candidates first among equals."""
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        scored = [(c, e) for c, e in archive.records() if e.objectives]
    scored.sort(key=lambda pair: (-(pair[1].mean or 0.0), pair[0].index))
    return [
        Entry(rank, f"#{rank}", candidate.genome.active(), evaluation, candidate.index)
        for rank, (candidate, evaluation) in enumerate(scored[:count], 1)
    ]


def undominated(entries: Sequence[Entry]) -> list[Entry]:
    """The entries nobody among them dominates on all recorded objectives, accuracies and extras; ranks are kept."""
    individuals = [
        Individual.of(number, e.genome, e.evaluation.objectives, FULL, e.evaluation.extras)
        for number, e in enumerate(entries)
    ]
    return [entries[individual.index] for individual in pareto_front(individuals)]


def baselines(run: RunFolder) -> list[Entry]:
    """The catalogue layers trained under the run's budget, best first."""
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        entries = [Entry(0, name, CATALOGUE[name], e) for name, e in archive.baselines().items()]
    return sorted(entries, key=lambda entry: -(entry.evaluation.mean or 0.0))


def save_best(run: RunFolder, count: int = 3) -> list[Path]:
    """Export the best layers of a run into its ``best`` folder: a module and a picture each, and ``ranking.json``.

    Returns:
        The module files, best first.
    """
    run.best_folder.mkdir(exist_ok=True)
    best = ranking(run, count)
    modules = []
    for entry in best:
        stem = run.best_folder / f"rank{entry.rank}_{entry.genome.key[:8]}"
        modules.append(export_layer(_of_run(run, entry), stem.with_suffix(".py")))
        scores = _scores(entry.evaluation)
        to_png(
            draw_genome(entry.genome, title=f"{run.path.name} {entry.name}", subtitle=scores),
            stem.with_suffix(".png"),
        )
    listing = json.dumps([e.as_json() for e in (*best, *baselines(run))], indent=2) + "\n"
    write_text(run.best_folder / "ranking.json", listing)
    for stale in set(run.best_folder.glob("rank[0-9]*_*")) - {
        m.with_suffix(s) for m in modules for s in (".py", ".png")
    }:
        stale.unlink()  # of an earlier, shorter session of the same run
    return modules


def export_layer(layer: Layer, path: Path) -> Path:
    """Write a layer as a stand-alone module file, lowered as its run lowered it."""
    settings = layer.lowering
    return export(
        layer.genome,
        path,
        name=layer.name,
        groups=settings.groups,
        eps=settings.eps,
        momentum=settings.momentum,
        provenance=layer.provenance,
    )


def find_layer(text: str) -> Layer:
    """The layer somebody means by a catalogue name, ``RUN#rank``, a JSON file or a text form.

    Raises:
        InputError: it is none of these.
    """
    if text in CATALOGUE:
        return Layer(CATALOGUE[text], text, provenance=f"catalogue layer {text}")
    if text.endswith(".json"):
        return Layer(_read_json(Path(text)).active(), Path(text).stem, provenance=f"file {Path(text).name}")
    if "#" in text:
        return _ranked(text)
    if "(" in text:
        return Layer(Genome.from_text(text).active())
    accepted = f"a catalogue name ({', '.join(CATALOGUE)}), RUN#rank, a text form such as 'sigmoid(x)', or a .json file"
    raise InputError("LAYER", repr(text), accepted=accepted)


def find_layers(text: str) -> list[Layer]:
    """What ``find_layer`` finds, or for the folder of a run its whole Pareto front, in the order of its candidates.

    Raises:
        InputError: it is neither, or the run has no scored layer yet.
    """
    if text in CATALOGUE or "(" in text or not Path(text).is_dir():
        return [find_layer(text)]
    run = RunFolder(Path(text)).require()
    entries = ranking(run)
    if not entries:
        raise InputError(text, "no layer of the run has scores yet", remedy="let it run longer, or name another")
    return [_of_run(run, entry) for entry in sorted(undominated(entries), key=lambda entry: entry.candidate or 0)]


def _ranked(text: str) -> Layer:
    folder, _, rank = text.rpartition("#")
    run = RunFolder(Path(folder)).require()
    entries = ranking(run)
    if not rank.isdigit() or not 1 <= int(rank) <= len(entries):
        accepted = f"a rank from 1 to {len(entries)}" if entries else "nothing yet: no layer of the run has scores"
        raise InputError(f"LAYER {text!r}", f"rank {rank!r}", accepted=accepted)
    return _of_run(run, entries[int(rank) - 1])


def _scores(evaluation: Evaluation) -> str:
    return ", ".join(f"{task} {value:.4f}" for task, value in evaluation.objectives.items())


def _of_run(run: RunFolder, entry: Entry) -> Layer:
    scores = _scores(entry.evaluation)
    settings = run.config()
    provenance = (
        f"run {run.path.name}, rank {entry.rank}, candidate {entry.candidate}; "
        f"{settings.learned_from}, {settings.training.steps} steps: {scores}"
    )
    return Layer(entry.genome, provenance=provenance, objectives=entry.evaluation.objectives, lowering=settings.layer)


def _read_json(path: Path) -> Genome:
    try:
        return Genome.from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(str(path), "no such file", accepted="a genome's .json file") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "is not text", accepted="a genome's .json file") from None
    except InputError as error:
        raise error.at(str(path)) from None
