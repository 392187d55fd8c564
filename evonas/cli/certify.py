"""``evonas certify``: for which regime a layer is better than a baseline, and for which that is not shown."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from evonas.cli.app import shipped_names
from evonas.cli.study_command import StudyOptions, with_study_options

if TYPE_CHECKING:
    from evonas.report.save import Report
    from evonas.runs.progress import JobProgress
    from evonas.runs.store import Store

DEFAULT_FILE = "certificate"


@with_study_options
def certify(
    layers: Annotated[
        list[str],
        typer.Argument(metavar="LAYER...", help="Catalogue names, formulas, text forms, RUN#rank or .json files."),
    ],
    options: StudyOptions,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The baseline; may be repeated. Default: those of the file, bn-relu."),
    ] = None,
    settings: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Networks, data, training and the ladder of sizes: a .toml file, or a name of `evonas list studies`.",
            autocompletion=shipped_names("certificate"),
        ),
    ] = DEFAULT_FILE,
) -> None:
    """The gain of layers over a baseline as a function of training length, width, depth and batch size.

    Example: [bold]evonas certify evonas-s1 --against bn-relu --set data.path=cifar10.npz --workers 2[/bold]

    Each layer is scored at its own best learning rate, on test images, at each size of a ladder. The report says what
    may be claimed for which sizes and what not, the line that the gains follow, and where their sign turns.

    The report is called certificate.md, .csv, .json and .png here.
    """
    from evonas.cli.study_run import run_and_print
    from evonas.compare.certificate.ladder import make_ladder
    from evonas.compare.certificate.measure import measure, network_sizes
    from evonas.compare.certificate.report import certificate_report
    from evonas.compare.certificate.result import certify as certified
    from evonas.compare.columns import contenders_of
    from evonas.config import CertificateConfig
    from evonas.config.section import load_as
    from evonas.config.trust import require_trust
    from evonas.errors import InputError
    from evonas.extensions import load_extensions
    from evonas.search import named

    found = load_as(CertificateConfig, settings, options.changes({"ladder.seeds": options.seeds, "baselines": against}))
    require_trust(found, settings, trusted=options.trust)
    load_extensions(found.extensions)
    ladder = make_ladder(found)
    contenders = contenders_of({text: named.find_layer(text) for text in layers}, found.baselines)
    if not any(one.ranked and other.baseline and one != other for one in contenders for other in contenders):
        raise InputError("LAYER", f"{layers[0]!r} is the baseline itself", remedy="choose another one with --against")
    parameters = network_sizes(found, ladder, contenders)

    def work(store: "Store", on_progress: "Callable[[JobProgress], None]") -> "Report":
        measured = measure(found, ladder, contenders, store, on_progress, keep_changed=options.force)
        return certificate_report(certified(found, ladder, contenders, measured, parameters))

    run_and_print(found, options.folder(found.name), options, work, "certificate")
