"""Oracles: what was changed on purpose, which must be named; and the archive of a run that nothing was changed for."""

from collections.abc import Mapping
from pathlib import Path

import pytest

import evonas
from evonas.errors import InputError
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive

pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two candidates."""
    folder = tmp_path_factory.mktemp("sources") / "run"
    evonas.run_search("tiny", run=folder, budget=2, progress=False)
    return folder


def other_data(*_: object) -> Mapping[str, str]:
    return {"images": "0" * 64}


def resume(run: Path, budget: int, *, force: bool = False) -> None:
    evonas.run_search(run=run, budget=budget, resume=True, force=force, progress=False)


def events(run: Path) -> list[tuple[str, str]]:
    with Archive.open(RunFolder(run).archive_file, read_only=True) as archive:
        return [(kind, detail) for _, kind, detail in archive.events()]


def test_a_run_goes_on_where_nothing_has_changed(finished: Path) -> None:
    resume(finished, 3)
    assert "changed" not in dict(events(finished))
    with Archive.open(RunFolder(finished).archive_file, read_only=True) as archive:
        assert {"code", "device", "images", "torch", "python"} <= archive.made_from().keys()


@pytest.mark.parametrize(
    ("place", "name"), [("evonas.search.sources.digests_of", "images"), ("evonas.runs.provenance.code_digest", "code")]
)
def test_with_other_data_or_code_a_run_goes_on_by_force_alone_and_says_so(
    place: str, name: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = events(finished)
    changed = other_data if name == "images" else lambda *_: "0" * 64
    monkeypatch.setattr(place, changed)
    words = rf"was begun with something else: {name} \(\w{{8}}, now 00000000\); .*--force"
    with pytest.raises(InputError, match=words):
        resume(finished, 9)
    assert events(finished) == before
    resume(finished, 4, force=True)
    assert [kind for kind, detail in events(finished)[len(before) :] if detail.startswith(f"{name}: ")] == ["changed"]
    resume(finished, 4)  # it goes on with what it went on with
    monkeypatch.undo()
    with pytest.raises(InputError, match="something else"):
        resume(finished, 4)
    resume(finished, 4, force=True)


def test_archives_of_earlier_versions_go_on(finished: Path) -> None:
    with Archive.open(RunFolder(finished).archive_file) as archive:
        archive._db.execute("DELETE FROM run WHERE name = 'made from'")
        archive._db.commit()
    resume(finished, 5)
    with Archive.open(RunFolder(finished).archive_file, read_only=True) as archive:
        assert archive.made_from()
        assert archive.told() == 5
