"""A study of components: what stands in which network, the jobs of all cells, and the report of what came of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evonas.compare.components.grid import Cell, cell
from evonas.compare.components.jobs import Job, do_job, needed_by, read_by, require_known
from evonas.compare.components.networks import Subject
from evonas.compare.components.report import Column, components_report
from evonas.compare.components.settings import ComponentsConfig, NetworkConfig
from evonas.errors import InputError
from evonas.report.save import Report
from evonas.runs.jobs import Jobs
from evonas.runs.store import Outcome
from evonas.search.named import NamedLayer, find_layer
from evonas.studies.study import Study

CODE = ("search", "compare", "studies")


@dataclass(frozen=True, slots=True)
class _Place:
    network: NetworkConfig
    layer: NamedLayer | None
    name: str


def components_study(settings: ComponentsConfig, folder: Path) -> Study[Job]:
    """The study of a file.

    Raises:
        InputError: an unknown layer, a network that no layer fits, or data or models that cannot be read.
    """
    columns = [_column(settings, place) for place in _places(settings)]
    cells = {
        column: [cell(settings, component, column.subject) for component in dict.fromkeys(settings.components)]
        for column in columns
    }
    jobs = list(dict.fromkeys(job for own in cells.values() for each in own for job in _every(each)))

    def check(missing: Sequence[Job]) -> None:
        for subject in dict.fromkeys(job.subject for job in missing):
            require_known(subject)

    def report(outcomes: Mapping[Job, Outcome]) -> Report:
        return components_report(settings, cells, outcomes)

    work = Jobs(jobs, partial(do_job, folder), CODE, needed_by, read_by, doing=_doing, check=check)
    return Study(settings.name, settings.execution, work, report)


def _places(settings: ComponentsConfig) -> list[_Place]:
    """The networks with each of their layers; a network that no layer of the study fits is left out."""
    found = list[_Place]()
    for number, network in enumerate(settings.networks):
        if network.task is None:
            found.append(_Place(network, None, ""))
            continue
        layout = "btd" if network.task.kind == "language" else "bchw"
        layers = {text: find_layer(text) for text in dict.fromkeys(network.layers or settings.layers)}
        fitting = {text: layer for text, layer in layers.items() if layer.layout in (None, layout)}
        if network.layers and (unfit := layers.keys() - fitting.keys()):
            found_layout = f"{sorted(unfit)[0]!r} is not a layer of {layout}"
            raise InputError(f"networks.{number}.layers", found_layout, remedy="leave it out")
        found += [_Place(network, layer, layer.name or text) for text, layer in fitting.items()]
    if not found:
        raise InputError("layers", "none of them fits one of the networks", accepted="layers of bchw, or of btd")
    return found


def _column(settings: ComponentsConfig, place: _Place) -> Column:
    network = place.network.model_copy(update={"layers": ()})
    subject = Subject(
        network=network,
        data=settings.data,
        text=settings.text,
        lowering=settings.layer,
        genome=place.layer.genome.active().to_text() if place.layer else "",
        device=settings.execution.device,
    )
    return Column(place.network.label, place.name, subject)


def _every(found: Cell) -> list[Job]:
    return [job for jobs in (found.jobs or {}).values() for job in jobs]


def _doing(job: Job) -> str:
    return f"{type(job).__name__.lower()} {job.subject.network.label}"
