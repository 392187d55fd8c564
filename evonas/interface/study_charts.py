"""The charts and layers of studies, from the JSON of their reports and from their settings."""

from collections.abc import Iterator

from evonas.errors import InputError
from evonas.graph.catalogue import parse_layer
from evonas.graph.genome import Genome
from evonas.interface.page_data import FoundLayer
from evonas.interface.result_charts import BANDS, Data, banded
from evonas.report.page.charts import Bar, Chart, Intervals, Lines, Point


def stability_charts(data: Data) -> Iterator[Chart]:
    """What each intervention changes against the first one."""
    words = {"sensitivity": "learning-rate sensitivity", "best_loss": "loss at the best learning rate"}
    found = data["against_first"]
    if found:
        sets = {
            word: [
                Bar(f"{each['intervention']}, {each['size']}", interval["mean"], interval["low"], interval["high"])
                for each in found
                if (interval := each[key]) is not None
            ]
            for key, word in words.items()
        }
        first = found[0]["first"]
        note = "Paired by seed; bars are 95 % intervals (Student's t). Left of the line is better."
        yield Intervals("Differences to the first intervention", "minus", {first: sets}, better=-1, note=note)


def stability_layers(_data: Data, settings: Data) -> Iterator[FoundLayer]:
    """Those of the interventions."""
    for each in settings.get("interventions", ()):
        yield from _written(each["name"], each.get("run", {}).get("layer", ""))


def hypernet_charts(data: Data) -> Iterator[Chart]:
    """Losses over training of each parametrization, at its best learning rate."""
    panels: dict[str, dict[str, list[Point]]] = {}
    for each in data["groups"]:
        norm = "" if each["norm"] == "none" else f"{each['norm']} norm"
        noise = f"{each['noise']} noise inputs" if each["noise"] else ""
        panel = ", ".join(filter(None, (each["optimizer"], each["activation"], norm, noise)))
        if points := banded(each["curves"].values()):
            panels.setdefault(panel, {})[each["parametrization"]] = points
    if panels:
        note = f"Each at its best learning rate. {BANDS}"
        yield Lines("Loss over training", "training steps", "loss", panels, note, logy=True)


def hypernet_layers(_data: Data, settings: Data) -> Iterator[FoundLayer]:
    """That of the network whose parameters are predicted."""
    layer = settings.get("task", {}).get("layer", "")
    yield from _written(layer, layer)


def component_layers(data: Data, _settings: Data) -> Iterator[FoundLayer]:
    """Those under which components were measured; none for a network's own norms."""
    for name, text in {each["layer"]: each["genome"] for each in data["cells"]}.items():
        if text:
            yield FoundLayer(name, Genome.from_text(text))


def _written(name: str, layer: str) -> Iterator[FoundLayer]:
    """The layer that settings name by a formula, a text form or the catalogue; none for one of a run elsewhere."""
    if layer:
        try:
            yield FoundLayer(name, parse_layer(layer, "layer"), None, {"in the settings": layer})
        except InputError:
            return
