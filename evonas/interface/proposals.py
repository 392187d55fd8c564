"""Layers handed to a search from outside: checked at once, and put where the search takes them."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.extensions import EXTENSIONS
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.runs.folder import RunFolder, is_driven
from evonas.search import inbox, named
from evonas.search.archive import Archive
from evonas.search.driver import Ending
from evonas.search.engine import screen_failed
from evonas.search.outcome import Origin, Rejection
from evonas.search.protocols import Screens, repeats

LONGEST_LINE = 2**16  # characters of a line of JSON
_KEYS = ("layer", "from", "note")


@dataclass(frozen=True, slots=True)
class Proposed:
    """A layer that was handed to a run.

    Attributes:
        id: by which ``Run.state()`` names it.
        genome: the layer.
        origin: who proposed it.
        foreseen: why the screens will reject it, judged by what is recorded now; None if it will be trained.
    """

    id: str
    genome: Genome
    origin: Origin
    foreseen: Rejection | None

    def as_json(self) -> dict[str, Any]:
        """What ``evonas propose --json`` prints of it."""
        said = self.foreseen
        return {
            "id": self.id,
            "formula": self.genome.formula(),
            "text": self.genome.active().to_text(),
            "from": self.origin.by,
            "note": self.origin.note,
            "foreseen": "trained" if said is None else "screened out",
            "stage": said.stage if said else None,
            "reason": said.reason if said else None,
            "detail": said.detail if said else "",
        }


@dataclass(frozen=True, slots=True)
class Door:
    """Where layers are handed to a run.

    Attributes:
        run: its folder.
        settings: of the run.
        space: layers that it takes.
        screens: what they have to pass before any training.
    """

    run: RunFolder
    settings: SearchConfig
    space: SearchSpace
    screens: Screens

    def genome(self, layer: Genome | str) -> Genome:
        """A layer as the run holds it.

        Raises:
            InputError: it cannot be read, or is none of the run's space.
        """
        if not isinstance(layer, Genome | str):
            raise InputError("layer", f"is a {type(layer).__name__}", accepted="a Genome, or a text that names a layer")
        found = layer if isinstance(layer, Genome) else named.find_layer(layer).genome
        try:
            return self.space.padded(found)
        except InputError as error:
            remedy = "evonas state RUN says what the space holds"
            where = f"layer {found.formula()!r}"
            accepted = f"layers of the space of {self.run.path}"
            raise InputError(where, error.found, accepted=accepted, remedy=remedy) from None

    def hand_in(self, layers: Iterable[tuple[Genome, Origin]]) -> list[Proposed]:
        """Put layers into the run's inbox, in this order; they are layers that ``genome`` gave."""
        checked = [(genome, origin, self._foreseen(genome)) for genome, origin in layers]
        ids = inbox.put(self.run.inbox_folder, [(genome, origin) for genome, origin, _ in checked])
        return [Proposed(id_, *rest) for id_, rest in zip(ids, checked, strict=True)]

    def prospect(self) -> str:
        """When the run will take what is handed to it, in a sentence."""
        if is_driven(self.run):
            return f"{self.run.path} is running: it takes them, in this order, before it draws layers of its own"
        with Archive.open(self.run.archive_file, read_only=True) as archive:
            ends = [detail for _, kind, detail in archive.events() if kind in ("started", "stopped")]
        spent = bool(ends) and ends[-1] == Ending.BUDGET.value
        why = "has used up its budget" if spent else "is not running"
        command = f"evonas search --run {shlex.quote(str(self.run.path))} --resume" + (" --budget ..." if spent else "")
        return f"{self.run.path} {why}: they wait until it goes on{' with a larger one' if spent else ''}: {command}"

    def _foreseen(self, genome: Genome) -> Rejection | None:
        try:
            verdict = self.screens(genome)
            if isinstance(verdict, Rejection):
                return verdict
            with Archive.open(self.run.archive_file, read_only=True) as archive:
                first = archive.candidate_with(verdict) if verdict else None
            return self.screens.probe(genome) if first is None else repeats(first)
        except InputError:
            raise
        except Exception as error:  # users' own screens may not have met such a layer
            return screen_failed(error)


def open_door(run: RunFolder) -> Door:
    """Where layers are handed to a run. Extensions that the run names are not imported for it.

    Raises:
        InputError: there is no run, or it needs an extension that is not loaded.
    """
    settings = run.require().config()
    require_loaded(run, settings)
    return Door(run, settings, SearchSpace.from_config(settings.space), Screens(settings.protocols, settings.layer))


def require_loaded(run: RunFolder, settings: SearchConfig) -> None:
    """Make sure that the extensions of a run are loaded; a folder may come from anybody, so none is imported for it.

    Raises:
        InputError: one is not.
    """
    if missing := [name for name in settings.extensions if name not in EXTENSIONS]:
        options = " ".join(f"--extension {name}" for name in missing)
        remedy = f"load it, as by: evonas {options} VERB {run.path}"
        raise InputError(str(run.path), f"needs the extension {', '.join(missing)}, which is not loaded", remedy=remedy)


def lines_of(stream: IO[str]) -> Iterator[tuple[int, Mapping[str, str] | InputError]]:
    """The proposals in a stream of JSON lines as they come: number of the line, and what it says or why it is none."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            while line and not line.endswith("\n"):
                line = stream.readline(LONGEST_LINE)
            yield number, InputError(f"line {number}", f"has more than {LONGEST_LINE} characters")
        elif line.strip():
            yield number, _said(line, f"line {number}")


def _said(line: str, where: str) -> Mapping[str, str] | InputError:
    accepted = 'a JSON object such as {"layer": "x * sigmoid(x)", "from": "me", "note": "a guess"}'
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return InputError(where, "is not JSON", accepted=accepted)
    if not isinstance(data, dict) or "layer" not in data or not all(isinstance(value, str) for value in data.values()):
        return InputError(where, "is no proposal", accepted=accepted)
    if unknown := [key for key in data if key not in _KEYS]:
        return InputError(where, f"unknown key {unknown[0]!r}", accepted=", ".join(_KEYS))
    return data
