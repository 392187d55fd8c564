"""What a certificate reports: claims in sentences, gains and laws as tables, and a picture."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from matplotlib.figure import Figure

from evonas.compare.certificate.axes import AXES
from evonas.compare.certificate.claims import MISFIT, base_words, claims_of, general_limits, summary_of
from evonas.compare.certificate.ladder import Place
from evonas.compare.certificate.result import Against, Certificate, NetworkGains
from evonas.report.law import Law
from evonas.report.pictures.gains import BAND, GainLine, draw_gains
from evonas.report.save import Report
from evonas.report.statistics import Interval, finite_summary
from evonas.report.table import Table
from evonas.runs.progress import duration_text

PICTURE = "certificate"
_GAIN = "{:+z.2f}"


def certificate_report(certificate: Certificate) -> Report:
    """Tables, sentences and pictures; a picture for each layer and baseline."""
    several = len(certificate.against) > 1
    pictures = {
        f"{PICTURE}_{number}" if several else PICTURE: draw_certificate(certificate, against)
        for number, against in enumerate(certificate.against, 1)
    }
    return Report(
        title=_title(certificate),
        tables=[gain_table(certificate), law_table(certificate)],
        notes=[summary_of(certificate, against) for against in certificate.against],
        data=_data_of(certificate),
        details=[*_claims(certificate), _trainings(certificate), _cost(certificate)],
        runs=_runs(certificate),
        pictures=pictures,
        failures=list(_failures(certificate)),
    )


def _data_of(certificate: Certificate) -> dict[str, Any]:
    """All numbers, with the sentences about each network."""
    data = certificate.as_json()
    for against, found in zip(certificate.against, data["certificates"], strict=True):
        for claims, network in zip(claims_of(certificate, against), found["networks"], strict=True):
            network["claims"] = asdict(claims)
    return data


def _title(certificate: Certificate) -> str:
    layers = ", ".join(dict.fromkeys(each.layer for each in certificate.against))
    baselines = ", ".join(dict.fromkeys(each.baseline for each in certificate.against))
    return f"Certificate of {layers} against {baselines} on {_data(certificate)}, each at its own best learning rate"


def _data(certificate: Certificate) -> str:
    first = next(iter(certificate.ladder.points.values()))
    learned_from = first.column(certificate.settings, 1.0, "test").learned_from
    size = certificate.settings.data.size
    return f"{learned_from} at {size}x{size}" if size else learned_from


def _claims(certificate: Certificate) -> Iterator[str]:
    yield f"## What may be claimed, and what may not\n\nThe base point: {', '.join(base_words(certificate))}."
    for against in certificate.against:
        for found in claims_of(certificate, against):
            yield found.markdown()
    limits = "\n".join(f"- {line}" for line in general_limits(certificate))
    yield f"### Of all of them\n\n{limits}"


def gain_table(certificate: Certificate) -> Table:
    """A row for each layer, baseline and point."""
    return Table.of(
        (
            {
                "layer": against.layer,
                "minus": against.baseline,
                "network": found.network,
                "point": AXES[place.axis].of(place.size) if place.axis else "base point",
                "gain": gain.interval,
                "all together": gain.joint,
                "verdict": _verdict(gain.sign, complete=gain.complete),
                "rates": _rates(certificate, against, place),
            }
            for against in certificate.against
            for found in against.networks
            for place, gain in found.gains.items()
        ),
        {"gain": _GAIN, "all together": _GAIN},
        title="Gains in points (hundredths of the score), paired by seed.",
        meanings={
            "gain": "with a 95 % interval that holds by itself.",
            "all together": f"with an interval that holds together with all {certificate.intervals} of the report.",
            "rates": "the learning rates of the layer and of the baseline; * marks the end of the grid, where a rate "
            "beyond may be better.",
        },
    ).without_constants(("layer", "minus", "network"))


def _verdict(sign: int, *, complete: bool) -> str:
    return {1: "better", -1: "worse", 0: "not shown"}[sign] if complete else "failed"


def _rates(certificate: Certificate, against: Against, place: Place) -> str:
    found = [certificate.measured[name, place] for name in (against.layer, against.baseline)]
    return " / ".join(f"{each.rate:.3g}{'*' if each.edge else ''}" for each in found)


def law_table(certificate: Certificate) -> Table:
    """A row for each line."""
    return Table.of(
        (
            {
                "layer": against.layer,
                "minus": against.baseline,
                "network": found.network,
                "axis": axis.replace("_", " "),
                "at the base": law.at_base if law else None,
                "each doubling": law.slope if law else None,
                "misfit": law.misfit if law else None,
                "sign turns": _turn(axis, law),
            }
            for against in certificate.against
            for found in against.networks
            for axis, law in found.laws.items()
        ),
        {"at the base": _GAIN, "each doubling": _GAIN, "misfit": "{:.2g}"},
        title="Lines g = a + b log2(size / base) through the gains; intervals hold together with all of the report.",
        meanings={
            "misfit": "how probable deviations from the line as large as these are, were it true; below 0.05 the line "
            "counts for nothing.",
            "sign turns": "where the line crosses zero with its interval (Fieller); nothing is claimed beyond the "
            "measured sizes.",
        },
    ).without_constants(("layer", "minus", "network"))


def _turn(name: str, law: Law | None) -> str:
    if law is None:
        return "too few sizes"
    if not law.better_than_constant or law.turn is None:
        return "not better than a constant"
    turn, axis = law.turn, AXES[name]
    if not law.measured(turn.size):
        return "not within the measured range"
    about = axis.of(float(f"{turn.size:.2g}"))
    if not law.turns_within:
        return f"not shown: {about}, interval beyond the measured range"
    return f"{about} [{turn.low:,.3g}, {turn.high:,.3g}]"


def _trainings(certificate: Certificate) -> Table:
    """Mean scores of every layer at every point, with the size of the network."""
    parameters: dict[Place, int] = {}
    sizes = {certificate.ladder.points[place].task: count for place, count in certificate.parameters.items()}
    for place, point in certificate.ladder.points.items():
        parameters[place] = sizes[point.task]
    return Table.of(
        (
            {
                "layer": name,
                "network": place.network,
                "point": AXES[place.axis].of(place.size) if place.axis else "base point",
                "parameters": parameters[place],
                "steps": certificate.ladder.points[place].training.steps,
                "rate": f"{found.rate:.3g}{'*' if found.edge else ''}",
                "score": finite_summary(found.scores.values()) or "failed",
            }
            for (name, place), found in certificate.measured.items()
        ),
        {"parameters": "{:,}"},
        title="Scores: mean and standard deviation over seeds.",
        meanings={"parameters": "of the network as it comes, before a layer takes the place of its own."},
    )


def _cost(certificate: Certificate) -> str:
    return f"All trainings took {duration_text(certificate.seconds)} in all, the choice of learning rates included."


def _runs(certificate: Certificate) -> Table:
    """A row for each training that gave a score or should have, for ``certificate.csv``."""
    return Table.of(
        {
            "layer": name,
            "network": place.network,
            "axis": place.axis or "base",
            "size": place.size if place.axis else None,
            "rate": found.rate,
            "seed": seed,
            "score": found.scores.get(seed),
            "failure": found.failures.get(seed, ""),
        }
        for (name, place), found in certificate.measured.items()
        for seed in (*found.scores, *found.failures)
    )


def _failures(certificate: Certificate) -> Iterator[str]:
    for (name, place), found in certificate.measured.items():
        for seed, why in found.failures.items():
            yield f"{name}, {place.words}, seed {seed}: {why}"


def draw_certificate(certificate: Certificate, against: Against) -> Figure:
    """The picture of one layer against one baseline."""
    panels: dict[str, dict[str, GainLine]] = {}
    bases = {}
    for axis in AXES.values():
        for found in against.networks:
            if axis.name in found.laws:
                panels.setdefault(axis.title, {})[found.network] = _line(certificate, found, axis.name)
                bases[axis.title] = certificate.ladder.bases[axis.name]
    return draw_gains(
        panels,
        bases=bases,
        ylabel=f"points over {against.baseline}",
        title=f"Gain of {against.layer} over {against.baseline} on {_data(certificate)}, each at its best rate",
        note=f"Bars are intervals that hold together with all {certificate.intervals} of the report; a band is that of "
        "the line at each size, and is left out where the gains do not lie on a line. Above zero the layer is better. "
        "The dotted line is the base point; a cross is a size at which a training failed.",
    )


def _line(certificate: Certificate, found: NetworkGains, axis: str) -> GainLine:
    along = {size: found.gains[place] for size, place in certificate.ladder.along(found.network, axis).items()}
    points = [_at(size, gain.joint) for size, gain in along.items() if gain.complete and gain.joint]
    law = found.laws[axis]
    shown = [] if law is None or (law.misfit is not None and law.misfit < MISFIT) else list(_band(law))
    return GainLine(points, shown, [size for size, gain in along.items() if not gain.complete])


def _band(law: Law) -> Iterator[tuple[float, float, float, float]]:
    low, high = math.log2(law.smallest), math.log2(law.largest)
    for number in range(BAND):
        size = 2.0 ** (low + (high - low) * number / (BAND - 1))
        yield _at(size, law.at(size))


def _at(size: float, found: Interval) -> tuple[float, float, float, float]:
    low, high = (found.mean if bound is None else bound for bound in (found.low, found.high))
    return size, found.mean, low, high
