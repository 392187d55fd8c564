"""A layer as people name it: a catalogue name, a formula, RUN#rank, a file; and its export as a module."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from evonas.config import LayerConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, KNOWN, is_expression, known_layout, parse_layer
from evonas.graph.genome import Genome
from evonas.layer.export import export
from evonas.limits import LARGEST_LAYER
from evonas.reading import decoded, read_given, require_plain, whole_number
from evonas.runs.folder import RunFolder
from evonas.search.ranking import Entry, ranking, undominated
from evonas.search.reranked import reranked


@dataclass(frozen=True, slots=True)
class NamedLayer:
    """A layer that a user named, with what the name says about it.

    Attributes:
        genome: the layer.
        name: its name in the catalogue or that of its file; empty for others.
        provenance: where it comes from.
        evidence: what has been measured of it; see ``KnownLayer``.
        objectives: its scores in the run that the name means.
        lowering: how it is lowered.
        layout: axes of the inputs it is made for; None where neither its name nor its moments say.
    """

    genome: Genome
    name: str = ""
    provenance: str = ""
    evidence: str = ""
    objectives: Mapping[str, float] | None = None
    lowering: LayerConfig = field(default_factory=LayerConfig)
    layout: str | None = None


def find_layer(text: str) -> NamedLayer:
    """The layer that a text names.

    It may be a catalogue name, a formula, a text form, ``RUN#rank``, ``RUN#rerank1`` or a JSON file.

    Raises:
        InputError: it is none of these.
    """
    require_plain(text, "LAYER")
    if text in CATALOGUE:
        known = KNOWN[text]
        return _alone(CATALOGUE[text], text, f"catalogue layer {text}; {known.source}", known.evidence)
    if text.endswith(".json"):
        return _alone(_read_json(Path(text)).active(), Path(text).stem, f"file {Path(text).name}")
    if "#" in text:
        return _ranked(text)
    return _alone(parse_layer(text, "LAYER", others="RUN#rank, RUN#rerank1, a .json file ").active())


def _alone(genome: Genome, name: str = "", provenance: str = "", evidence: str = "") -> NamedLayer:
    """A layer that comes without a run."""
    return NamedLayer(genome, name, provenance, evidence, layout=known_layout(genome))


def find_layers(text: str) -> list[NamedLayer]:
    """What ``find_layer`` finds, or for the folder of a run its whole Pareto front, in the order of its candidates.

    Raises:
        InputError: it is neither, or the run has no scored layer yet.
    """
    require_plain(text, "LAYER")
    if text in CATALOGUE or is_expression(text) or not os.path.isdir(text):
        return [find_layer(text)]
    run = RunFolder(Path(text)).require()
    entries = ranking(run)
    if not entries:
        raise InputError(text, "no layer of the run has scores yet", remedy="let it run longer, or name another")
    return [named_entry(run, entry) for entry in sorted(undominated(entries), key=lambda entry: entry.candidate or 0)]


def _ranked(text: str) -> NamedLayer:
    folder, _, rank = text.rpartition("#")
    run = RunFolder(Path(folder)).require()
    if rank.startswith("rerank"):
        return _reranked(text, run, rank.removeprefix("rerank"))
    entries, number = ranking(run), whole_number(rank)
    if number is None or not 1 <= number <= len(entries):
        accepted = f"a rank from 1 to {len(entries)}" if entries else "nothing yet: no layer of the run has scores"
        accepted += " or of the reranking, rerank1" if run.rerank_file.exists() else ""
        raise InputError(f"LAYER {text!r}", f"rank {rank!r}", accepted=accepted)
    return named_entry(run, entries[number - 1])


def _reranked(text: str, run: RunFolder, rank: str) -> NamedLayer:
    """The layer at a rank of the run's latest reranking."""
    layers = {layer.rank: layer for layer in reranked(run)}
    if not layers:
        raise InputError(f"LAYER {text!r}", "the run has not been reranked", remedy=f"evonas rerank {run.path}")
    number = whole_number(rank)
    if number is None or number not in layers:
        accepted = f"rerank1 to rerank{max(layers)}"
        raise InputError(f"LAYER {text!r}", f"rank {'rerank' + rank!r}", accepted=accepted)
    found = layers[number]
    scores = ", ".join(f"{task} {value:.4f}" for task, value in found.objectives.items())
    provenance = (
        f"run {run.path.name}, {rank} of the reranking, {found.entry.name} of the search, candidate "
        f"{found.entry.candidate}; means over seeds {', '.join(map(str, found.seeds))}: {scores}"
    )
    return replace(named_entry(run, found.entry), provenance=provenance, objectives=found.objectives)


def export_layer(layer: NamedLayer, path: Path) -> Path:
    """Write a layer as a stand-alone module file, lowered as its run lowered it."""
    settings = layer.lowering
    return export(
        layer.genome,
        path,
        name=layer.name,
        groups=settings.groups,
        eps=settings.eps,
        momentum=settings.momentum,
        layout=layer.layout,
        provenance=layer.provenance,
    )


def named_entry(run: RunFolder, entry: Entry) -> NamedLayer:
    """The layer of an entry in the ranking of a run, lowered as the run lowered it."""
    scores = entry.scores_text
    settings = run.config()
    provenance = (
        f"run {run.path.name}, rank {entry.rank}, candidate {entry.candidate}; "
        f"{settings.learned_from}, {settings.training.steps} steps: {scores}"
    )
    return NamedLayer(
        entry.genome,
        provenance=provenance,
        objectives=entry.evaluation.objectives,
        lowering=settings.layer,
        layout=settings.space.layout,
    )


def _read_json(path: Path) -> Genome:
    content = read_given(path, accepted="a genome's .json file", largest=LARGEST_LAYER)
    text = decoded(content, str(path))
    try:
        return Genome.from_json(text)
    except InputError as error:
        raise error.at(str(path)) from None
