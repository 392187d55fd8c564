"""``evonas sparsify``: what dropping inputs of linear layers costs a language model, and what it saves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evonas.cli.study_command import StudyOptions, name_for, with_study_options
from evonas.errors import InputError

if TYPE_CHECKING:
    from evonas.studies.sparsity.study import SparsityStudyConfig


def _sparsify(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|STUDY",
            help="A model: an id of the hub, a folder, or a GGUF file. Or a study: a .toml file, or a name of "
            "`evonas list studies`.",
        ),
    ],
    options: StudyOptions,
    method: Annotated[
        list[str] | None,
        typer.Option(help="teal, wina, cats, r-sparse, random, or all; may be repeated. Default: teal, wina."),
    ] = None,
    sparsity: Annotated[
        list[float] | None,
        typer.Option(help="Share of inputs to drop, less than 1; may be repeated. Default: 0.25, 0.4, 0.5, 0.65."),
    ] = None,
    allocation: Annotated[
        list[str] | None,
        typer.Option(
            help="uniform; greedy or fisher: by what dropping costs a block or the model; fisher-twice, evolution: see "
            "docs/sparsity.md; may be repeated."
            " Default: fisher, uniform where a method has nothing to split.",
        ),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(help="off, on or both: a basis in which key and gate columns are orthogonal. Default: off."),
    ] = None,
    selection: Annotated[str | None, typer.Option(help="topk of each token, or threshold. Default: topk.")] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="What is scored: topics, austen[:PATH] or a file; may be repeated. Default: topics."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="What calibrates, the same; never a passage that is scored. Default: topics."),
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="How many are scored of each text. Default: 8192.", min=1)] = None,
    calibration_tokens: Annotated[int | None, typer.Option(help="How many calibrate. Default: 2048.", min=1)] = None,
    context: Annotated[
        int | None, typer.Option(help="Tokens of a window. Default: 512, or what the model sees.", min=2)
    ] = None,
    dense_first: Annotated[
        int | None, typer.Option(help="First positions of a window that stay dense. Default: 0.", min=0)
    ] = None,
    speed: Annotated[
        bool | None,
        typer.Option(
            "--speed/--no-speed", help="Time decoding as well, dense and sparse taking turns. Default: speed."
        ),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile both models before they are timed. Default: no-compile."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch. Default: its own choice.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: float32.")] = None,
    int8: Annotated[
        bool | None,
        typer.Option("--int8/--no-int8", help="Round all weights to 8 bits, dense and sparse. Default: no-int8."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write one sparse model there instead, and score nothing. With one --sparsity and one --method, "
            "wina if none is given; `evonas generate FOLDER` then runs it.",
        ),
    ] = None,
    include_model: Annotated[
        bool, typer.Option("--include-model", help="With --save, write the dense model too, not just where it is.")
    ] = False,
) -> None:
    """Drop the inputs of a language model's linear layers that matter least: perplexity, savings, speed.

    Example: [bold]evonas sparsify HuggingFaceTB/SmolLM2-135M --method wina --sparsity 0.5[/bold]

    Example: [bold]evonas sparsify HuggingFaceTB/SmolLM2-135M --sparsity 0.5 --save sparse/[/bold]

    Every option sets the key of that name in the study. Nothing is trained, and no code or pickle of a model is run.

    What is scored and what calibrates have no passage in common. Speed is measured in one process, by itself.
    """
    from evonas.cli.study_kinds import SPARSITY
    from evonas.cli.study_run import run_prepared
    from evonas.config import section
    from evonas.config.presets import presets

    if include_model and save is None:
        raise InputError("--include-model", "given without --save")
    changes = options.changes(
        {
            "methods": method or (["wina"] if save and not model.endswith(".toml") else None),
            "sparsities": sparsity,
            "allocations": allocation,
            "transform": transform,
            "selection": selection,
            "texts": text,
            "calibration": calibration,
            "tokens": tokens,
            "calibration_tokens": calibration_tokens,
            "context": context,
            "dense_first": dense_first,
            "speed": speed,
            "compiled": compiled,
            "dtype": dtype,
            "int8": int8,
            "execution.threads": threads,
        }
    )
    if model.endswith(".toml") or model in {preset.name for preset in presets("sparsity")}:
        study = section.load_as(SPARSITY.settings, model, changes)
    else:
        study = section.parse_changed(
            SPARSITY.settings, {"name": name_for("sparsify", model), "model": model}, changes, "sparsify"
        )
    if save is None:
        run_prepared(SPARSITY, study, options)
    else:
        _save(study, save, options, include_model=include_model)


def _save(study: "SparsityStudyConfig", folder: Path, options: StudyOptions, *, include_model: bool) -> None:
    """Write one sparse model, and say what it is."""
    import json

    from evonas.cli import terminal
    from evonas.report.console import say
    from evonas.studies.sparsity.measuring import save_sparse_model

    for name, given in (("--run", options.run is not None), ("--resume", options.resume)):
        if given:
            raise InputError("--save", f"given together with {name}", accepted="one of the two")
    with terminal.status("loading the model, and measuring what each layer may drop"):
        report = save_sparse_model(study, folder, include_model=include_model)
    if options.as_json:
        settings = report.settings
        said = {"folder": str(folder), "model": study.model, "method": settings.method, "sparsity": settings.sparsity}
        print(json.dumps(said | {"layers": {layer.name: layer.requested for layer in report.layers}}, indent=2))
        return
    say(str(report))
    say(f"wrote {folder}")


_sparsify.__name__ = "sparsify"
sparsify = with_study_options(_sparsify, seeds=False)
