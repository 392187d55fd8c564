"""``evonas sparsify``: what dropping inputs of linear layers costs a language model, and what it saves."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evonas.cli.app import ForceOption, JsonOption, ResumeOption
from evonas.cli.study_command import RunOption

if TYPE_CHECKING:
    from evonas.report.save import Report
    from evonas.runs.store import Outcome
    from evonas.studies.sparsity.study import Measurement


def sparsify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An id of the hub, a folder, or a GGUF file.")],
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
            help="uniform; greedy or fisher: by what dropping costs a block or the model; may be repeated."
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
        bool, typer.Option(help="Whether to time decoding as well, dense and sparse taking turns.")
    ] = True,
    compile_models: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Whether both are compiled when speed is measured.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; default: its own choice.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: float32.")] = None,
    run: RunOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; speed is measured in one, by itself.")] = 1,
    resume: ResumeOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Drop the inputs of a language model's linear layers that matter least: perplexity, savings, speed.

    Example: [bold]evonas sparsify HuggingFaceTB/SmolLM2-135M --method wina --sparsity 0.5[/bold]

    Nothing is trained, and no code or pickle of the model's files is run.

    What is scored and what calibrates have no passage in common.

    Finished measurements are kept: after Ctrl-C the same command with --resume goes on, and a larger grid adds to it.
    """
    import torch

    from evonas.cli.study_run import run_and_print
    from evonas.config.section import parse_section
    from evonas.studies.sparsity import measuring
    from evonas.studies.sparsity.study import SparsityStudyConfig
    from evonas.studies.sparsity.study_report import sparsity_report
    from evonas.studies.study import Study

    stem = Path(model).name.removesuffix(".gguf")
    settings = {
        "name": "sparsify-" + re.sub(r"[^A-Za-z0-9._+-]+", "-", stem),
        "model": model,
        "methods": method,
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
        "compiled": compile_models,
        "dtype": dtype,
        "execution": {"device": device, "threads": threads or torch.get_num_threads(), "workers": workers},
    }
    given = {key: value for key, value in settings.items() if value is not None}
    study = parse_section(SparsityStudyConfig, given, "sparsify")
    folder = run or Path("runs") / study.name
    material = measuring.load_material(study)
    grid = material.grid(study)

    def report(outcomes: "Mapping[Measurement, Outcome]") -> "Report":
        return sparsity_report(study.name, grid, outcomes, material.facts(study))

    runnable = Study(study.name, study.execution, measuring.sparsity_jobs(study, grid, folder), report)
    run_and_print(study, runnable, folder, resume=resume, force=force, as_json=as_json)
