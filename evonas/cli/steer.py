"""``evonas steer``: a study of steering methods, or maps for a concept of the user's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evonas.cli.app import shipped_names
from evonas.cli.study_command import StudyOptions, with_study_options
from evonas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evonas.steering import Intervention


def _steer(
    options: StudyOptions,
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A .toml file, or a name of `evonas list studies`. None with --source, --target and --model.",
            autocompletion=shipped_names("steering"),
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sentences to steer from: .txt with one a line, .csv, .jsonl.")
    ] = None,
    target: Annotated[Path | None, typer.Option(metavar="FILE", help="Sentences to steer to, the same.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The language model: an id of the hub, a folder, or a GGUF file.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the maps go. Default: runs/steer-<source>-<target>.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="lineas, linear-act, mean-act, caa, iti-c, ... Default: lineas.")
    ] = None,
    sites: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of the modules to steer; may be repeated. Default: the norms after attention."),
    ] = None,
) -> None:
    """Steer a model's activations: a study of methods, or maps from your own sentences to others.

    Example: [bold]evonas steer steer_digits --workers 2[/bold]

    Example: [bold]evonas steer --source toxic.txt --target clean.txt --model HuggingFaceTB/SmolLM2-135M-Instruct[/bold]

    A study compares methods x sparsities x neurons x strengths x seeds where they cost the same, with what that harms;
    the maps that they fit are kept in maps/ of its folder. With --source and --target, maps are fitted to all sentences
    of the two files and saved: `evonas generate MODEL --steer FOLDER` then shows what they do.

    A model's files are only read: no code or pickle of theirs is run.
    """
    given = {"--source": source, "--target": target, "--model": model}
    own = given | {"--save": save, "--method": method, "--sites": sites}
    if study is not None:
        for name, value in own.items():
            if value is not None:
                raise InputError(name, "given together with a study", accepted="one of the two")
        _run_study(study, options)
        return
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        raise InputError("STUDY", "not given", accepted="a study, or --source, --target and --model")
    if missing or source is None or target is None or model is None:
        raise InputError(", ".join(missing), "not given", accepted="--source, --target and --model together")
    for name, wanted in (("--run", options.run is not None), ("--resume", options.resume)):
        if wanted:
            raise InputError(name, "given with --source", accepted="a study", remedy="--save says where maps go")
    folder = save or Path("runs") / f"steer-{source.stem}-{target.stem}"
    fitted = _fitted(model, source, target, folder, method, sites or [], options)
    _say(fitted, folder, model, as_json=options.as_json)


def _run_study(study: str, options: StudyOptions) -> None:
    from evonas.cli.study_kinds import STEERING
    from evonas.cli.study_run import run_study_file

    run_study_file(STEERING, study, options)


def _fitted(
    model: str, source: Path, target: Path, folder: Path, method: str | None, sites: list[str], options: StudyOptions
) -> "Intervention":
    """Fit the maps and save them in a new folder."""
    from evonas.cli import terminal
    from evonas.files import require_replaceable, write_folder
    from evonas.studies.steering.concept import fit_concept
    from evonas.studies.steering.methods import LINEAS
    from evonas.studies.steering.saving import HEADER
    from evonas.training.device import find_device

    require_replaceable(folder, mark=HEADER)
    with terminal.status("loading the model, and fitting maps"):
        device = find_device(options.device or "cpu", "--device")
        fitted = fit_concept(model, source, target, method=method or LINEAS, sites=sites, device=device)
    write_folder(folder, fitted.save, mark=HEADER)
    return fitted


def _say(fitted: "Intervention", folder: Path, model: str, *, as_json: bool) -> None:
    import json
    import shlex

    from evonas.report.console import say

    if as_json:
        sites = [site.name for site in fitted.sites]
        said = {"folder": str(folder), "model": model, "method": fitted.method, "sites": sites, "share": fitted.share}
        print(json.dumps(said | {"losses": list(fitted.losses), "held": list(fitted.held)}, indent=2))
        return
    say(str(fitted).splitlines()[0])
    if fitted.losses:
        say(f"loss from {fitted.losses[0]:.3g} to {fitted.losses[-1]:.3g} in {len(fitted.losses)} steps")
    if fitted.held:
        say(_held_out(fitted.held))
    say(f"wrote {folder}")
    say(f'try it: evonas generate {shlex.quote(model)} --steer {shlex.quote(str(folder))} --prompt "..."')


def _held_out(losses: "Sequence[float]") -> str:
    """What the fit gained for sentences that it has not seen."""
    best = min(range(len(losses)), key=losses.__getitem__)
    if not best:
        return "held-out sentences came no nearer to the target: more sentences are needed, or another method"
    return (
        f"held-out sentences: loss from {losses[0]:.3g} to {losses[best]:.3g}, least after {best} steps, which is kept"
    )


_steer.__name__ = "steer"
steer = with_study_options(_steer)
