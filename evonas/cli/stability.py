"""``evonas stability``: how sensitive transformers are to their learning rate, small ones or one of the user's."""

from typing import Annotated

import typer

from evonas.cli.app import shipped_names
from evonas.cli.study_command import StudyOptions, name_for, with_study_options
from evonas.errors import InputError


@with_study_options
def stability(
    options: StudyOptions,
    study: Annotated[
        str,
        typer.Argument(
            metavar="[STUDY]",
            help="A .toml file, or a name of `evonas list studies`; not with --model.",
            autocompletion=shipped_names("stability", "pretrained"),
            show_default=False,
        ),
    ] = "",
    model: Annotated[
        str,
        typer.Option(
            metavar="hf:NAME|FOLDER|FILE",
            help="Instead of a study: a language model of yours, an id of the hub, a folder or a GGUF file.",
        ),
    ] = "",
) -> None:
    """How sensitive transformers are to their learning rate: sizes x learning rates x interventions x seeds.

    Example: [bold]evonas stability qk_layernorm --workers 2[/bold]

    With [bold]--model hf:HuggingFaceTB/SmolLM2-135M[/bold] a pretrained model is trained on for a few hundred steps at
    several learning rates, while probes look at its blocks: sizes of activations, gradients and updates, stable ranks,
    spectra of queries and keys, and how far neighbouring blocks amplify the same directions. Nothing of it is kept but
    the numbers, and no code or pickle of a model is run.
    """
    from evonas.cli.study_kinds import PRETRAINED, STABILITY
    from evonas.cli.study_run import run_prepared, run_study_file, seeds_up_to
    from evonas.config import section
    from evonas.config.presets import kind_of

    if bool(study) == bool(model):
        found = "given together with a study" if study else "not given, and no study either"
        raise InputError("--model", found, accepted="a study or a model, one of them")
    if model:
        changes = options.changes({"seeds": seeds_up_to(options.seeds)})
        settings = {"name": name_for("stability", model), "pretrained": model}
        run_prepared(PRETRAINED, section.parse_changed(PRETRAINED.settings, settings, changes, "stability"), options)
        return
    run_study_file(PRETRAINED if kind_of(study) == "pretrained" else STABILITY, study, options)
