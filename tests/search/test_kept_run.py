"""A run folder that an earlier version of the package wrote still opens.

Oracles: what that version printed of it (``rerank.json``, ``held-out/results.json``), the content keys it wrote, and
the bytes of the archive.
"""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.named import find_layer
from evonas.search.ranking import baselines, ranking

KEPT = Path(__file__).parents[2] / "runs" / "kept"


@pytest.fixture
def old(tmp_path: Path) -> RunFolder:
    folder = tmp_path / "cifar-s-warm"
    folder.mkdir()
    for name in ("archive.sqlite", "config.toml", "environment.json"):
        shutil.copy(KEPT / "cifar-s-warm" / name, folder)
    return RunFolder(folder)


def reranked(run: str) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = json.loads((KEPT / run / "rerank.json").read_text())["layers"]
    return layers


def test_its_ranking_is_the_one_that_was_printed(old: RunFolder) -> None:
    by_name = {entry.name: entry for entry in (*ranking(old), *baselines(old))}
    printed = reranked("cifar-s-warm")
    assert len(printed) == 10
    for layer in printed:
        assert by_name[layer["name"]].genome.key == layer["key"]
        assert by_name[layer["name"]].candidate == layer.get("candidate")


def test_its_records_and_settings_are_read_and_reading_changes_nothing(old: RunFolder) -> None:
    before = hashlib.sha256(old.archive_file.read_bytes()).hexdigest()
    settings = old.config()
    assert (settings.name, settings.seed, settings.training.steps) == ("cifar-s", 1, 800)
    with Archive.open(old.archive_file, read_only=True) as archive:
        records = list(archive.records(screened_out=True))
        assert [candidate.index for candidate, _ in records] == list(range(216)) == list(range(archive.told()))
        assert sum(bool(evaluation.objectives) for _, evaluation in records) == 95
        assert all((evaluation.rejection is None) == bool(evaluation.objectives) for _, evaluation in records)
        assert archive.rejection_counts().total() == 216 - 95
    with closing(sqlite3.connect(old.archive_file)) as database:
        written = [key for (key,) in database.execute("SELECT key FROM candidates ORDER BY id")]
    assert [candidate.genome.key for candidate, _ in records] == written
    assert hashlib.sha256(old.archive_file.read_bytes()).hexdigest() == before
    with Archive.open(old.archive_file) as archive:  # as a search that goes on
        assert archive.told() == 216


def test_a_layer_of_it_is_shown_and_exported(old: RunFolder, evonas: Callable[..., Any], tmp_path: Path) -> None:
    status, out, err = evonas("top", old.path, "--json", "-n", "1")
    assert status == 0, err
    assert json.loads(out)[0]["text"] == ranking(old, 1)[0].genome.to_text()
    status, _, err = evonas("export", f"{old.path}#4", "-o", tmp_path / "layer.py")
    assert status == 0, err
    assert "run cifar-s-warm, rank 4, candidate 104" in " ".join((tmp_path / "layer.py").read_text().split())


def test_layers_found_are_in_the_catalogue_under_names_of_their_own(old: RunFolder) -> None:
    assert find_layer(f"{old.path}#4").genome == CATALOGUE["evonas-s1"] == find_layer("evonas-s1").genome
    for name, run in (("evonas-s1", "cifar-s-warm"), ("evonas-b1", "cifar-b")):
        first = next(layer for layer in reranked(run) if layer["name"].startswith("#"))
        assert (first["name"], first["key"]) == ("#4", CATALOGUE[name].key)
        tried = json.loads((KEPT / run / "held-out" / "results.json").read_text())["layers"]
        assert CATALOGUE[name].key in {layer["key"] for layer in tried}
