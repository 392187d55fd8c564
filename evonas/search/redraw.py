"""Whether a search that is told what its archive holds draws the same candidates again."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evonas.config import SearchConfig
from evonas.search.archive import Archive
from evonas.search.engine import Search, SearchExhaustedError
from evonas.search.making import make_search
from evonas.search.outcome import Candidate, Evaluation, Origin, Proposal, Remeasurement

LATEST = 1000  # candidates that are drawn again; drawing one takes as long as screening some hundred proposals


@dataclass(frozen=True, slots=True)
class Redrawn:
    """What came of drawing recorded candidates again.

    Attributes:
        candidates: how many were drawn, the latest ones.
        difference: what differs first; empty if all are as recorded.
    """

    candidates: int
    difference: str


def redraw(config: SearchConfig, archive: Archive, latest: int = LATEST) -> Redrawn:
    """Draw the latest candidates of a search again, from the recorded results before each; nothing is trained.

    Layers from outside are proposed again before the candidates that they were drawn for. A candidate is the same if
    its layer, its parent and what was screened out before it are. Numbers that were measured on the way may differ.

    Raises:
        InputError: the archive is damaged, or something that the configuration names is not known.
    """
    search, told = make_search(config, _reference(config, archive)), archive.told()
    open_: deque[tuple[Candidate | Remeasurement, Evaluation]] = deque()
    drawn, first = 0, max(told - latest, 0)
    for what, evaluation in archive.in_order(screened_out=True, counted=False):
        if not search.may_ask:
            asked, known = open_.popleft()
            search.tell(asked.index if isinstance(asked, Candidate) else asked, known)
        if search.asked < first:
            search.ask(what)
        else:
            drawn += isinstance(what, Candidate)
            if difference := _difference(search, what):
                return Redrawn(drawn, difference)
        open_.append((what, evaluation))
    return Redrawn(drawn, "")


def _reference(config: SearchConfig, archive: Archive) -> Evaluation | None:
    """The baseline that rungs and races go by."""
    if not (config.rungs.steps or config.racing.every):
        return None
    known = archive.baselines()
    trained = (known[name] for name in config.baselines if name in known and known[name].rejection is None)
    return next(trained, None)


def _difference(search: Search, recorded: Candidate | Remeasurement) -> str:
    """Draw again what is recorded; what differs, if something does."""
    name = f"candidate {recorded.index}" if isinstance(recorded, Candidate) else recorded.label
    for genome, origin in _proposed(recorded):
        search.propose(genome.active(), origin)
    try:
        found = search.ask()
    except SearchExhaustedError:
        return f"{name}: no new layer is drawn any more"
    if not (isinstance(found, Candidate) and isinstance(recorded, Candidate)):
        return "" if found == recorded else f"{name}: it was another layer's turn"
    for what, here, there in zip(_PARTS, _parts(found), _parts(recorded), strict=True):
        if here != there:
            return f"{name}: {what} differs"
    return ""


def _proposed(recorded: Candidate | Remeasurement) -> Iterator[tuple[Any, Origin]]:
    drawn = (*(out for out, _ in recorded.screened_out), recorded.proposal) if isinstance(recorded, Candidate) else ()
    return ((each.genome, each.origin) for each in drawn if each.origin is not None)


_PARTS = ("the layer", "its parent", "what its layer computes", "what was screened out before it")


def _parts(candidate: Candidate) -> tuple[Any, ...]:
    def said(proposal: Proposal) -> tuple[Any, ...]:
        return proposal.genome, proposal.parent, proposal.operator

    out = [(*said(each), rejection.stage, rejection.reason) for each, rejection in candidate.screened_out]
    layer, parent, operator = said(candidate.proposal)
    return layer, (parent, operator), candidate.fingerprint, (out, dict(candidate.counts))
