"""``evonas steer``: what steering a model's activations gains and costs, as a study."""

from pathlib import Path

from evonas import config
from evonas.cli.app import JsonOption, app
from evonas.cli.studies import (
    DeviceOption,
    ResumeOption,
    RunOption,
    SetOption,
    StudyArgument,
    WorkersOption,
    changes_of,
    print_study,
    run_held,
)
from evonas.steering import results, show, study


@app.command(name="steer")
def steer_command(
    file: StudyArgument,
    run: RunOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Steer a model's activations: methods x sparsities x strengths x seeds, each scored with its price.

    Example: [bold]evonas steer studies/steer_digits.toml[/bold]

    Methods are compared where they cost the same. A model's files are only read: no code or pickle of theirs is run.
    Finished fits and measurements are kept: after Ctrl-C the same command with --resume goes on.
    """
    found = config.load_as(study.StudyConfig, file, changes_of(overrides, workers, device))
    pieces, folder = study.pieces_of(found), run or Path("runs") / found.name
    outcomes = run_held(
        found, folder, lambda record, watch: study.run_pieces(found, pieces, folder, record, watch), resume=resume
    )
    groups = results.groups_of(pieces, outcomes)
    files = show.save_study(found, pieces, outcomes, groups, folder)
    rows = [show.table_cells(group, found.rises) for group in groups]
    as_data = results.study_json(groups, found.rises)
    print_study(found.name, show.columns(found.rises), rows, files, as_data, as_json=as_json)
