"""What the repository weighs and what its texts name.

Oracles: sizes of the files themselves, git's own reading of ``.gitignore``, and links that lead to files.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "runs" / "kept"
ARCHIVE = KEPT / "cifar-s-warm" / "archive.sqlite"  # the one that is kept, so that tests open a run of earlier days
TRANSIENT = {"lock", "archive.sqlite-wal", "archive.sqlite-shm"}  # which git ignores; an open archive has them
FOLDERS = (KEPT, ROOT / "docs", ROOT / "evonas", ROOT / "tests")
TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("runs/*.md"), *(path for folder in FOLDERS for path in folder.rglob("*.md"))]
READMES = sorted(KEPT.glob("*/README.md"))
OURS = r"\b((?:scripts|studies|search_spaces|tests|evonas|runs/kept)/[\w./-]*\w\.(?:py|toml|jsonl|json|csv|md|png))\b"
COMMAND = r"^evonas (?:search|evaluate|stability|hypernet|steer|sparsify) |python scripts/\w+\.py"
HERE = r"`([\w.-]+\.(?:jsonl|json|csv|md|png|sqlite|toml))`"


def kept_files() -> Iterator[Path]:
    yield ROOT / "runs" / "README.md"
    yield from (path for path in KEPT.rglob("*") if path.is_file() and path.name not in TRANSIENT)


def test_kept_results_weigh_at_most_15_megabytes() -> None:
    assert sum(path.stat().st_size for path in kept_files()) <= 15_000_000


def test_no_file_is_above_400_kilobytes_but_pictures_and_one_archive() -> None:
    heavy = {path for path in kept_files() if path.stat().st_size > 400_000}
    assert {path for path in heavy if path.suffix != ".png"} == {ARCHIVE}


def test_there_are_no_event_files_and_no_database_but_one() -> None:
    names = {path for path in kept_files() if "tfevents" in path.name or path.suffix in {".sqlite", ".db", ".pt"}}
    assert names == {ARCHIVE}


@pytest.mark.skipif(shutil.which("git") is None, reason="apt-get install git")
@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("runs/first/archive.sqlite", True),
        ("runs/first/README.md", True),
        ("runs/kept/mine/tb/events.out.tfevents.1", True),
        ("runs/kept/mine/study.sqlite", True),
        ("runs/kept/mine/lock", True),
        ("runs/README.md", False),
        ("runs/kept/mine/README.md", False),
        ("runs/kept/mine/held-out/results.csv", False),
        ("runs/kept/cifar-s-warm/archive.sqlite", False),
    ],
)
def test_git_takes_kept_results_alone(tmp_path: Path, path: str, ignored: bool) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    found = subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", path], check=False)
    assert (found.returncode == 0) is ignored


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_text_links_to_is_there(text: Path) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text.read_text())]
    files = [link for link in links if "://" not in link and ("/" in link or Path(link).suffix)]  # not std[ghw](x)
    assert [file for file in files if not (text.parent / file).exists()] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_what_a_kept_readme_names_is_there(readme: Path) -> None:
    text = readme.read_text()
    assert [name for name in re.findall(OURS, text) if not (ROOT / name).exists()] == []
    named = [name for name in re.findall(HERE, text) if not (ROOT / name).exists()]
    assert [name for name in named if not [*readme.parent.rglob(name)]] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_a_kept_readme_names_the_command_its_figures_are_from(readme: Path) -> None:
    assert re.search(COMMAND, readme.read_text(), re.M)


def test_nothing_needs_a_rank_in_a_kept_run() -> None:
    sources = ("studies", "search_spaces", "scripts", "evonas")
    files = [*TEXTS, *(path for name in sources for path in (ROOT / name).rglob("*"))]
    texts = [path for path in files if path.suffix in {".md", ".toml", ".py"} and path.name != "results.md"]
    assert len(texts) > 200
    assert [path for path in texts if re.search(r"runs/kept/[\w./-]*#\d", path.read_text())] == []
