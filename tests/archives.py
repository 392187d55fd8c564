"""Archives that tests compare, and archives as earlier versions wrote them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from evonas import config
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.driver import Ending, drive
from evonas.search.execution import EvaluationJob, Known
from evonas.search.inbox import Inbox
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.start import create_run

TINY = Path(__file__).parents[1] / "search_spaces" / "tiny.toml"


class FromKeys:
    """An executor that trains nothing: a layer's score follows from its key, and every fifth is rejected."""

    eager = False

    def doing(self) -> list[str]:
        return []

    def submit(self, job: EvaluationJob) -> Known:
        key = job.genome.key
        level = int(key[:4], 16) / 65536
        if job.gated and int(key[4:8], 16) % 5 == 0:
            return Known(Evaluation(key, 1, 2, 0.25, rejection=Rejection("quality", "too low", "a", level)))
        traces = {"a": ((2, 1.5), (4, level))}
        return Known(Evaluation(key, job.seed or 1, 4, 0.5, {"a": level, "b": level / 2}, traces=traces))


def searched(folder: Path, evaluations: int, *changes: str) -> RunFolder:
    """A tiny search whose scores are made up, driven to so many evaluations, from wherever it stands."""
    settings = config.load_search(TINY, [f"budget.evaluations={evaluations}", *changes])
    run = RunFolder(folder) if folder.exists() else create_run(folder, settings)
    executor: Any = FromKeys()
    with Archive.open(run.archive_file) as archive:
        inbox = Inbox(run.inbox_folder, lambda why: archive.event("refused", why))
        assert drive(settings, archive, executor, [], inbox=inbox) is Ending.BUDGET
    return run


def copied(run: RunFolder, folder: Path) -> RunFolder:
    """A copy of a run that a test may change."""
    shutil.copytree(run.path, folder)
    return RunFolder(folder)


def changed(run: RunFolder, *statements: str) -> None:
    """Change an archive behind the back of those who read it."""
    with closing(sqlite3.connect(run.archive_file)) as file, file:
        for statement in statements:
            file.execute(statement)


def same_content(first: Path, second: Path) -> bool:
    """Whether two archives hold the same search: all that does not depend on clocks."""
    with Archive.open(first, read_only=True) as a, Archive.open(second, read_only=True) as b:
        return a.content() == b.content()


def make_earlier(path: Path, *without: str) -> None:
    """Make an archive one of format 2, which lacks an index, and tables that came while the format was that."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE run SET value = '2' WHERE name = 'format'")
        file.execute("DROP INDEX candidates_by_fingerprint")
        for table in without:
            file.execute(f"DROP TABLE {table}")


def files_of(archive: Path) -> list[str]:
    """The names of the files that SQLite has for an archive."""
    return sorted(path.name for path in archive.parent.glob(f"{archive.name}*"))
