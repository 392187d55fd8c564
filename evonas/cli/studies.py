"""``evonas stability``: studies, which are grids of runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from evonas import config, terminal
from evonas.cli.app import INTERRUPTED, JsonOption, app
from evonas.evaluate.interrupt import RunInterruptedError
from evonas.record.results import Results
from evonas.record.run import working_folder
from evonas.stability import show, study, sweeps

StudyArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="The study.")]
RunOption = Annotated[Path | None, typer.Option(help="Where everything goes; default: runs/<name>.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with, or add to, what the folder holds.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Set a key of the file; may be repeated.")
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Processes; the results do not depend on it.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")]


@app.command()
def stability(
    file: StudyArgument,
    run: RunOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """How sensitive small transformers are to their learning rate: sizes x learning rates x interventions x seeds.

    Example: [bold]evonas stability studies/qk_layernorm.toml --workers 2[/bold]

    Finished runs are kept: after Ctrl-C the same command with --resume goes on.
    """
    found = config.load_as(study.StudyConfig, file, _changes(overrides, workers, device))
    pieces = study.pieces_of(found)
    folder, console = run or Path("runs") / found.name, terminal.console(stderr=True)
    with (
        working_folder(folder, "study.sqlite", config.dump(found), resume=resume) as record,
        Results.open(record) as results,
    ):
        try:
            with terminal.TrialProgress(console, "runs") as progress:
                outcomes = study.run_pieces(found, pieces, results, progress)
        except (RunInterruptedError, KeyboardInterrupt):
            console.print("interrupted; finished runs are recorded, go on with --resume", highlight=False)
            raise typer.Exit(INTERRUPTED) from None
        swept = sweeps.sweeps_of(outcomes)
        files = show.save_study(found.name, outcomes, swept, folder)
    if as_json:
        print(json.dumps(sweeps.study_json(swept), indent=2))
        return
    console = terminal.console()
    console.print(terminal.plain_table(found.name, show.COLUMNS, [show.table_cells(sweep) for sweep in swept]))
    for path in files:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _changes(overrides: list[str] | None, workers: int | None, device: str | None) -> list[str]:
    """What options set in a study file, as overrides."""
    changes = [*(overrides or []), *([f"execution.workers={workers}"] if workers is not None else [])]
    return changes + ([f"execution.device={json.dumps(device)}"] if device is not None else [])
