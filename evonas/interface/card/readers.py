"""What records say of one layer, as tables: a reader for each section of a card."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evonas.interface.card.records import Record, key_of
from evonas.report.statistics import Interval, Summary, finite_summary
from evonas.report.table import Datum, Table

POINTS, TIMES = "{:+z.2f}", "{:.2f}"
MASKS = ("teal", "wina", "wina, fisher split")
EFFECTS = {
    "teal": "rise of the loss with TEAL's mask, in nats a token of texts and in points of the error of images",
    "wina": "the same with WINA's mask, which also weighs by the columns of the weights",
    "wina, fisher split": "the same with the share of dropped inputs split among the layers by what dropping costs",
    "lineas": "change of the probability of the concept, in percent, where the loss on other samples is a tenth higher",
    "mip": "steps of the default parametrization of a hypernetwork over those of the magnitude-invariant one",
    "z-loss": "change of the sensitivity to the learning rate by a z-loss",
    "qk-layernorm": "change of the sensitivity by normalized queries and keys",
}
COSTS = {
    "training": "training time",
    "inference": "inference time",
    "relative_memory": "memory",
    "parameters": "parameters",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a record says of a layer: tables, and sentences below them."""

    tables: Sequence[Table]
    notes: Sequence[str] = ()


Reader = Callable[[Record, str], Found | None]


def accuracy(record: Record, key: str) -> Found | None:
    """Scores of the layer and of those beside it, and paired differences to the baselines."""
    entry = _entry(record, key)
    if entry is None:
        return None
    others = [other for other in record.data["layers"] if other.get("baseline") and other is not entry]
    rows: list[dict[str, Datum]] = []
    for task in record.data["tasks"]:
        row: dict[str, Datum] = {"network": task, "this layer": _summary(entry["tasks"].get(task))}
        for other in others:
            row[str(other["name"])] = _summary(other["tasks"].get(task))
        for name, found in entry["differences"].items():
            row[f"minus {name}, points"] = _interval(found["tasks"].get(task), 100)
        rows.append(row)
    mean: dict[str, Datum] = {"network": "mean over networks"}
    for name, found in entry["differences"].items():
        mean[f"minus {name}, points"] = _interval(found.get("over_seeds"), 100)
    if len(rows) > 1 and len(mean) > 1:
        rows.append(mean)
    forms = {name: POINTS for row in rows for name in row if name.endswith(", points")}
    seeds = len(record.data["seeds"])
    title = f"Scores: mean and standard deviation over {seeds} seeds; paired differences with 95 % intervals."
    return Found([Table.of(rows, forms, title=title)], _trained_by(record))


def costs(record: Record, key: str) -> Found | None:
    """Time and memory of training and inference, relative to the network with its own layers."""
    entry = _entry(record, key)
    found = record.data.get("costs", {}).get(entry["name"], {}) if entry is not None else {}
    if not found:
        return None
    rows: list[dict[str, Datum]] = [
        {"network": task, **{title: values.get(name) for name, title in COSTS.items()}}
        for task, values in found.items()
    ]
    forms = {"training time": TIMES, "inference time": TIMES, "memory": TIMES, "parameters": "{:,.0f}"}
    title = "Costs of the whole network over those with torch's own norms and activations, side by side."
    return Found([Table.of(rows, forms, title=title)])


def certificate(record: Record, key: str) -> Found | None:
    """Gains over the baselines by training length, width, depth and batch size, and what may be claimed."""
    names = {name for name, layer in record.data["layers"].items() if layer.get("key") == key}
    certificates = [one for one in record.data["certificates"] if one["layer"] in names]
    if not certificates:
        return None
    rows: list[dict[str, Datum]] = [
        {
            "network": network["network"],
            "minus": one["against"],
            "axis": (gain["axis"] or "base point").replace("_", " "),
            "size": gain["size"],
            "gain, points": _interval(gain["gain"], 1),
            "verdict": gain["verdict"],
        }
        for one in certificates
        for network in one["networks"]
        for gain in network["gains"]
    ]
    notes = [
        sentence
        for one in certificates
        for network in one["networks"]
        for part in ("claimed", "not_claimed")
        for sentence in network.get("claims", {}).get(part, ())
    ]
    title = "Gains, each layer at its own best learning rate, on test images."
    return Found([Table.of(rows, {"gain, points": POINTS, "size": "{:g}"}, title=title)], notes)


def stability(record: Record, key: str) -> Found | None:
    """Losses over learning rates of the networks with the layer and with others."""
    sweeps = _networks_of(record.data["sweeps"], key)
    if not sweeps:
        return None
    rows: list[dict[str, Datum]] = [
        {
            "network": sweep["network"],
            "layer": _named(sweep, key),
            **{f"{rate['factor']:g}x": _finite(rate["losses"]) for rate in sweep["rates"]},
            "sensitivity": _finite(sweep["sensitivity"]),
            "stability margin": _finite(sweep["margin"]),
        }
        for sweep in sweeps
    ]
    meanings = {
        "sensitivity": "the mean over the learning rates, counted up to the loss before training, minus the least.",
        "stability margin": "the lowest learning rate above the best one that diverges, over the best one; `-` where "
        "none of those tried does.",
    }
    title = "Final losses by multiples of the network's learning rate: nats a token, or the error of images."
    found = [Table.of(rows, title=title, meanings=meanings)]
    effects = _cells(record, key, ("z-loss", "qk-layernorm"))
    return Found([*found, effects] if effects else found)


def sparsity(record: Record, key: str) -> Found | None:
    """What masks cost in networks with the layer."""
    found = _cells(record, key, MASKS)
    return Found([found]) if found else None


def steering(record: Record, key: str) -> Found | None:
    """How far LinEAS leads networks with the layer away from a concept."""
    found = _cells(record, key, ("lineas",))
    return Found([found]) if found else None


def hypernetwork(record: Record, key: str) -> Found | None:
    """What magnitude-invariant parametrization saves where the network with the layer is predicted."""
    found = _cells(record, key, ("mip",))
    return Found([found]) if found else None


def _cells(record: Record, key: str, components: Sequence[str]) -> Table | None:
    cells = [one for one in record.data["cells"] if one["component"] in components and one["effect"] is not None]
    cells = _networks_of(cells, key)
    if not cells:
        return None
    rows: dict[tuple[str, str], dict[str, Datum]] = {}
    for one in cells:
        layer = _named(one, key)
        row = rows.setdefault((one["network"], layer), {"network": one["network"], "layer": layer})
        row[one["component"]] = _interval(one["effect"], 1)
        row["seeds"] = one["effect"]["count"]
    forms = dict.fromkeys(components, "{:+.3f}") | {"mip": TIMES, "lineas": "{:+.0f}"}
    meanings = {name: f"{EFFECTS[name]}." for name in components}
    return Table.of(rows.values(), forms, title="Effects: mean over seeds and 95 % interval.", meanings=meanings)


def _networks_of(entries: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """The entries of the networks in which the layer is, that of the layer first in each."""
    ours = {one["network"] for one in entries if key_of(one["genome"]) == key}
    found = [one for one in entries if one["network"] in ours]
    return sorted(found, key=lambda one: (one["network"], key_of(one["genome"]) != key))


def _named(entry: Mapping[str, Any], key: str) -> str:
    return "this layer" if key_of(entry["genome"]) == key else str(entry["layer"])


def _entry(record: Record, key: str) -> Mapping[str, Any] | None:
    return next((one for one in record.data["layers"] if one.get("key") == key), None)


def _summary(found: Mapping[str, Any] | None) -> Datum:
    return None if found is None else Summary(found["mean"], found["std"], found["count"])


def _interval(found: Mapping[str, Any] | None, factor: float) -> Datum:
    if found is None:
        return None
    return Interval(found["mean"], found["low"], found["high"], found["count"]).times(factor)


def _finite(values: Sequence[float | None]) -> Datum:
    found: Summary | None = finite_summary(value for value in values if value is not None)
    lost = sum(value is None for value in values)
    if found is None:
        return None
    return Summary(found.mean, found.std, found.count, lost)


def _trained_by(record: Record) -> list[str]:
    """How the networks were trained, a sentence for each way."""
    said: dict[str, None] = {}
    for column in record.data["columns"].values():
        training, data = column["training"], column["data"]
        rates = training.get("learning_rates") or [training.get("learning_rate")]
        shown = ", ".join(f"{rate:g}" for rate in rates)
        of_images = f"{data['name']}, {data['score_on']} images give the score" if "score_on" in data else data["name"]
        said[f"{training['steps']} steps of {training['batch_size']} samples at the rate {shown} ({of_images})."] = None
    return list(said)
