"""Charts that a page draws from records: lines over a number, and intervals of differences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Point = tuple[float, float, float, float]  # place, value, and the lower and upper end of its bar


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over a number, in panels beside each other.

    Attributes:
        title: what they show.
        xlabel: what the numbers across are.
        ylabel: what those upwards are.
        panels: by title, the points of each line by its name.
        note: a sentence below the chart, such as what the bars are.
        logx: whether the scale across is logarithmic.
        logy: whether that upwards is.
        dots: whether each point has a mark and a bar; else a band accompanies the line.
    """

    title: str
    xlabel: str
    ylabel: str
    panels: Mapping[str, Mapping[str, Sequence[Point]]]
    note: str = ""
    logx: bool = False
    logy: bool = False
    dots: bool = False

    def as_json(self) -> dict[str, Any]:
        """What the scripts of a page read."""
        return {"kind": "lines", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Bar:
    """A difference.

    Attributes:
        name: of what it belongs to.
        mean: its mean; None where it could not be measured.
        low: the lower end of its interval; None if it has none.
        high: the upper end.
        dots: the numbers that the mean is of.
        note: what else is to be said, such as that trainings failed.
    """

    name: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    dots: Sequence[float] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Differences to something with their intervals, one below the other; a reader chooses what to and of what.

    Attributes:
        title: what they show.
        xlabel: what the numbers are; the name of what the differences are to follows it.
        sets: by what the differences are to and what they are of, those that are shown together.
        better: 1 if differences above zero are better, -1 if those below are.
        note: a sentence below the chart.
    """

    title: str
    xlabel: str
    sets: Mapping[str, Mapping[str, Sequence[Bar]]]
    better: int = 1
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """What the scripts of a page read."""
        return {"kind": "intervals", **asdict(self)}


Chart = Lines | Intervals


@dataclass(frozen=True, slots=True)
class Axes:
    """How a chart of a table of runs begins; a reader changes it.

    Attributes:
        x: the column across.
        y: the column upwards.
        line: the columns whose values tell lines apart.
        panel: the columns whose values tell panels apart.
        logx: whether the scale across is logarithmic.
        logy: whether that upwards is.
    """

    x: str
    y: str
    line: tuple[str, ...]
    panel: tuple[str, ...] = ()
    logx: bool = False
    logy: bool = False
