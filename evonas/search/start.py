"""The folder of a new run, whole or not at all."""

import json
import os
import shutil
from pathlib import Path

from evonas.config import SearchConfig, section
from evonas.runs.environment import environment
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive


def create_run(path: Path, settings: SearchConfig) -> RunFolder:
    """Make the folder of a new run, whole or not at all.

    Raises:
        InputError: there is something at ``path`` already.
    """
    run = RunFolder(path)
    run.refuse_existing()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.mkdir()
    try:
        (draft / "config.toml").write_text(section.dump(settings), encoding="utf-8")
        (draft / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
        Archive.create(draft / "archive.sqlite").close()
        draft.replace(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return run
