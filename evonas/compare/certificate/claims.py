"""What may be claimed of a layer by a certificate, and what may not, in sentences."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from evonas.compare.certificate.axes import AXES, Axis
from evonas.compare.certificate.ladder import Place
from evonas.compare.certificate.measure import Measurement
from evonas.compare.certificate.result import Against, Certificate, Gain, NetworkGains
from evonas.report.law import Law
from evonas.report.statistics import Interval

MISFIT = 0.05  # deviations from a line that are less probable than this are no noise
WORDS = {1: "better", -1: "worse"}


@dataclass(frozen=True, slots=True)
class Claims:
    """What may be claimed on one network, or of all, and what may not; a sentence each."""

    subject: str
    claimed: tuple[str, ...]
    not_claimed: tuple[str, ...]

    def markdown(self) -> str:
        """A heading and two lists."""
        parts = [f"### {self.subject}"]
        for title, lines in (("May be claimed", self.claimed), ("May not be claimed", self.not_claimed)):
            parts.append("\n".join([f"{title}:", "", *(f"- {line}" for line in lines or ("nothing.",))]))
        return "\n\n".join(parts)


def claims_of(certificate: Certificate, against: Against) -> list[Claims]:
    """Those of each network, in order."""
    return [
        Claims(
            f"{against.layer} against {against.baseline} on {each.network}",
            tuple(_claimed(certificate, against, each)),
            tuple(_not_claimed(certificate, against, each)),
        )
        for each in against.networks
    ]


def summary_of(certificate: Certificate, against: Against) -> str:
    """One sentence: on how many networks the layer is better, worse or neither, at the base point."""
    signs = [each.gains[Place(each.network)].sign for each in against.networks]
    counts = [f"{word} on {signs.count(sign)}" for sign, word in ((1, "better"), (-1, "worse"))]
    base = ", ".join(base_words(certificate))
    return (
        f"At the base point ({base}) {against.layer} is {' and '.join(counts)} of {len(signs)} networks; "
        f"on {signs.count(0)} the sign is not shown."
    )


def base_words(certificate: Certificate) -> list[str]:
    """The base point: steps and batch size."""
    return [AXES[name].of(certificate.ladder.bases[name]) for name in ("steps", "batch_size")]


def _claimed(certificate: Certificate, against: Against, found: NetworkGains) -> Iterator[str]:
    for axis in certificate.ladder.axes(found.network):
        gains = _along(certificate, found, axis)
        for sign, run in groupby(gains, key=lambda pair: pair[1].sign):
            if sign:
                yield _better_or_worse(axis, list(run), against.baseline, WORDS[sign])
        law = found.laws[axis.name]
        if law and law.better_than_constant and not _misfits(law):
            yield _slope(axis, law)
            if law.turns_within:
                yield _turn(axis, law, against.baseline)


def _better_or_worse(axis: Axis, gains: Sequence[tuple[float, Gain]], baseline: str, word: str) -> str:
    intervals = [gain.joint for _, gain in gains if gain.joint]
    means = sorted(abs(interval.mean) for interval in intervals)
    bounds = [bound for each in intervals for bound in (each.low, each.high) if bound is not None]
    smallest, largest = gains[0][0], gains[-1][0]
    if len(gains) == 1:
        return f"With {axis.of(smallest)} it is {word} than {baseline}: the gain is {_points(gains[0][1].joint)}."
    return (
        f"From {axis.of(smallest)} to {axis.of(largest)} it is {word} than {baseline} at each of the {len(gains)} "
        f"sizes measured, by {means[0]:.2f} to {means[-1]:.2f} points (intervals of the gain within "
        f"[{min(bounds):+.2f}, {max(bounds):+.2f}])."
    )


def _slope(axis: Axis, law: Law) -> str:
    way = "rises" if law.slope.mean > 0 else "falls"
    low, high = sorted(abs(bound) for bound in (law.slope.low, law.slope.high) if bound is not None)
    return (
        f"The gain {way} by {abs(law.slope.mean):.2f} points [{low:.2f}, {high:.2f}] with each doubling of the "
        f"{axis.doubling}, between {axis.of(law.smallest)} and {axis.of(law.largest)}."
    )


def _turn(axis: Axis, law: Law, baseline: str) -> str:
    assert law.turn is not None
    assert law.turn.low is not None
    assert law.turn.high is not None
    ways = ("worse", "better") if law.slope.mean > 0 else ("better", "worse")
    bounds = f"{_rounded(axis, law.turn.low)} and {_rounded(axis, law.turn.high)}"
    return (
        f"The sign turns at about {_rounded(axis, law.turn.size)}, between {bounds}: below it is {ways[0]} than "
        f"{baseline}, above it is {ways[1]}."
    )


def _not_claimed(certificate: Certificate, against: Against, found: NetworkGains) -> Iterator[str]:
    ladder, base = certificate.ladder, Place(found.network)
    for place, gain in found.gains.items():
        where = "At the base point" if place == base else f"With {AXES[place.axis].of(place.size)}"
        if not gain.complete:
            yield f"{where}: anything; {_failures(certificate, against, gain)}."
        elif not gain.sign:
            yield f"{where}: which of the two is better; the gain is {_points(gain.joint)}."
    for axis in ladder.axes(found.network):
        law = found.laws[axis.name]
        if law is None:
            yield f"How the gain depends on the {axis.doubling}: less than two sizes were trained without a failure."
        elif _misfits(law):
            yield (
                f"A law for the {axis.doubling}: the gains do not lie on a line in its logarithm "
                f"(p = {law.misfit:.2g}), so neither its slope nor its zero counts."
            )
        elif not law.better_than_constant:
            yield (
                f"That the gain depends on the {axis.doubling}: the line is not better than a constant, its slope is "
                f"{_points(law.slope)} for each doubling."
            )
        elif not law.turns_within:
            yield f"Where the sign turns along the {axis.doubling}: {_why_no_turn(axis, law)}."
        sizes = list(ladder.along(found.network, axis.name))
        yield f"Anything below {axis.of(sizes[0])} or above {axis.of(sizes[-1])}, which was not measured."
    missing = [axis.doubling for axis in AXES.values() if axis not in ladder.axes(found.network)]
    if missing:
        yield f"How the gain depends on {_listed(missing)}: not varied on this network."
    if edges := _edges(certificate, against, found):
        yield edges


def general_limits(certificate: Certificate) -> list[str]:
    """What no certificate of this run shows, whatever the numbers."""
    settings = certificate.settings
    text = all(task.transformer for task in settings.tasks)
    scored = "the validation part of the text, which chose the learning rates too" if text else "test images"
    names = ", ".join(certificate.ladder.networks)
    return [
        f"Networks other than {names}, other data, optimizers and schedules: nothing is shown.",
        "Sizes that differ from the base point in two axes at once were not measured.",
        f"Scores are those of {scored}. The intervals cover initial weights and the order of batches, not the choice "
        "of networks or of samples.",
        f"There are {certificate.intervals} intervals: one for each gain, and two for each line, of its slope and of "
        f"its zero. Each has the level {100 * certificate.joint_level:.2f} %, so that all of them hold together in at "
        "least 95 of 100 repetitions (Bonferroni).",
        "The variance of a difference is pooled over the points of a network; where a point's own is larger, that one "
        "counts. Each point has seeds of its own.",
    ]


def _along(certificate: Certificate, found: NetworkGains, axis: Axis) -> list[tuple[float, Gain]]:
    places = certificate.ladder.along(found.network, axis.name)
    return [(size, found.gains[place]) for size, place in places.items()]


def _misfits(law: Law) -> bool:
    return law.misfit is not None and law.misfit < MISFIT


def _why_no_turn(axis: Axis, law: Law) -> str:
    turn = law.turn
    if turn is None:
        return "the line is level"
    if law.measured(turn.size):
        return f"the line crosses zero at about {_rounded(axis, turn.size)}, with an interval beyond the measured range"
    return (
        f"not within the measured range (extrapolated, the line would cross zero at about {_rounded(axis, turn.size)})"
    )


def _rounded(axis: Axis, size: float) -> str:
    return axis.of(float(f"{size:.2g}"))


def _points(interval: Interval | None) -> str:
    if interval is None:
        return "unknown"
    if interval.low is None or interval.high is None:
        return f"{interval.mean:+.2f} points"
    return f"{interval.mean:+.2f} points [{interval.low:+.2f}, {interval.high:+.2f}]"


def _failures(certificate: Certificate, against: Against, gain: Gain) -> str:
    count = certificate.settings.ladder.seeds
    parts = []
    for name, failed in zip((against.layer, against.baseline), gain.failed, strict=True):
        if failed:
            reasons = certificate.measured[name, gain.place].failures.values()
            parts.append(f"{failed} of {count} trainings of {name} failed ({_listed(dict.fromkeys(reasons))})")
    return "; ".join(parts)


def _edges(certificate: Certificate, against: Against, found: NetworkGains) -> str:
    """At how many points the best rate is an end of the grid."""
    rates: list[tuple[str, Measurement]] = [
        (name, certificate.measured[name, place]) for place in found.gains for name in (against.layer, against.baseline)
    ]
    counts = [
        f"of {name} at {len(own)} of {len(found.gains)} points ({_listed(dict.fromkeys(each.edge for each in own))})"
        for name in (against.layer, against.baseline)
        if (own := [each for layer, each in rates if layer == name and each.edge])
    ]
    if not counts:
        return ""
    return f"That each is at its best: the rate lies at the end of those tried, {_listed(counts)}."


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
