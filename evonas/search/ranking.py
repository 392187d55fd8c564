"""The ranking of a run: its layers best first, those of them that compute nearly the same, and the Pareto front."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.registry import LOAD, UnknownNameError
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.archive.damage import damaged
from evonas.search.entry import Entry as Entry
from evonas.search.entry import UnreadLayer, family_of
from evonas.search.entry import describe as describe
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.outcome import one_line
from evonas.search.racing.posterior import Posterior
from evonas.search.racing.race import Race
from evonas.search.racing.shrinkage import Found, Shrinkage, shrinkage

PORTION = 500  # entries of a ranking that are read at once, and so many are kept
RELATED = 2000  # the best layers, among which relatives are looked for; it takes a third of a millisecond for each


class Ranking(Sequence[Entry]):
    """The scored layers of a run, best first. An entry is read from the archive when it is looked at.

    The order of a long search fits into the memory, its layers and curves do not.

    Args:
        run: its folder.
        order: the candidates.
        beliefs: what is believed of each, where the search measured its best layers again.
    """

    def __init__(self, run: RunFolder, order: Sequence[int], beliefs: Mapping[int, Posterior]) -> None:
        self._run, self._order, self._beliefs = run, order, beliefs
        self._known: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Entry: ...

    @overload
    def __getitem__(self, place: slice) -> list[Entry]: ...

    def __getitem__(self, place: int | slice) -> Entry | list[Entry]:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        index = range(len(self))[place]
        if index not in self._known:
            self._known = self._portion(index)
        return self._known[index]

    def __iter__(self) -> Iterator[Entry]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ranking({len(self)} layers of {str(self._run.path)!r})"

    @property
    def is_raced(self) -> bool:
        """Whether the search measured its best layers again."""
        return bool(self._beliefs)

    def _portion(self, index: int) -> dict[int, Entry]:
        """An entry and those that are read together with it."""
        first = index - index % PORTION
        candidates = self._order[first : first + PORTION]
        with Archive.open(self._run.archive_file, read_only=True) as archive:
            found = list(archive.layers(candidates))
        return {
            place: Entry(
                place + 1,
                f"#{place + 1}",
                _read(self._run, place + 1, text),
                evaluation,
                candidate,
                self._beliefs.get(candidate),
            )
            for place, (candidate, text, evaluation) in enumerate(found, first)
        }


def ranking(run: RunFolder, count: int | None = None) -> Ranking:
    """The scored layers of a run, best first; earlier candidates first among equals.

    They go by their mean objective; by posterior mean, where the search measured its best layers again. Of relatives,
    which share what is believed of them, the one that was measured comes first.
    """
    beliefs: Mapping[int, Posterior] = {}
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        found, measured = archive.means(), archive.race()
        if measured:
            families = {
                index: family_of(_read(run, 0, text), evaluation)
                for index, text, evaluation in archive.layers([index for index, _ in found])
            }
            scores = [(index, families[index], mean) for index, mean in found]
            race = Race.recorded(archive.baselines().values(), scores, measured)
            order, beliefs = race.order(), race.beliefs()
        else:
            order = [index for index, _ in sorted(found, key=lambda each: (-each[1], each[0]))]
    return Ranking(run, order[:count], beliefs)


@dataclass(frozen=True, slots=True)
class Relatives:
    """Layers of a ranking that compute nearly the same.

    Attributes:
        best: the first of them.
        others: those behind it, in the order of the ranking.
    """

    best: Entry
    others: tuple[Entry, ...] = ()


def relatives(entries: Sequence[Entry]) -> list[Relatives]:
    """The best ``RELATED`` entries put together by their groups, in the order of the best of each."""
    groups: dict[str, list[Entry]] = {}
    for entry in islice(entries, RELATED):
        groups.setdefault(entry.group, []).append(entry)
    return [Relatives(group[0], tuple(group[1:])) for group in groups.values()]


def shrinkage_of(entries: Sequence[Entry]) -> Shrinkage | None:
    """How much the best layers of a whole ranking fell, where they were measured again."""
    if isinstance(entries, Ranking) and not entries.is_raced:
        return None
    return shrinkage(
        [
            Found(entry.group, entry.evaluation.mean, entry.posterior)
            for entry in entries
            if entry.posterior is not None and entry.evaluation.mean is not None
        ]
    )


def _read(run: RunFolder, rank: int, text: str) -> Genome | UnreadLayer:
    """A layer of a run; reading one imports nothing, so that what it needs may be missing."""
    try:
        return Genome.from_text(text).active()
    except UnknownNameError as error:
        names = run.config().extensions
        remedy = f"evonas {' '.join(f'--extension {name}' for name in names)} ..." if names else LOAD
        found = f"{error.found}, of an extension that is not loaded"
        return UnreadLayer(text, InputError(f"{run.path}#{rank}", found, remedy=f"load it: {remedy}"))
    except InputError as error:
        raise damaged(run.archive_file, str(error)) from None


def undominated(entries: Sequence[Entry]) -> list[Entry]:
    """The entries nobody among them dominates on all recorded objectives, accuracies and extras; ranks are kept."""
    from evonas.search.selection import admitted  # DEAP's tools take long to import

    front: list[Individual] = []
    for number, e in enumerate(entries):
        one = Individual.of(number, e.genome, e.evaluation.objectives, FULL_TRAINING, e.evaluation.extras)
        front = admitted(front, one)
    return [entries[individual.index] for individual in front]


def baselines(run: RunFolder) -> list[Entry]:
    """The catalogue layers trained under the run's budget, best first."""
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        known = archive.baselines()
    if unknown := [name for name in known if name not in CATALOGUE]:
        raise damaged(run.archive_file, f"it has a baseline {one_line(unknown[0])!r}, which is none of the catalogue")
    entries = [Entry(0, name, CATALOGUE[name], evaluation) for name, evaluation in known.items()]
    return sorted(entries, key=lambda entry: -(entry.evaluation.mean or 0.0))
