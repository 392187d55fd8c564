"""The archive against what was put into it, and against kill -9: SQLite's own recovery is the oracle of the latter."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from archives import same_content
from told import GENOME, OUT, REJECTED, RUNGS, SCORED, STOPPED, candidate

from evonas.search.archive import Archive
from evonas.search.outcome import Candidate, Evaluation, Prediction, Proposal


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.create(tmp_path / "archive.sqlite")


def test_predictions_and_counts_come_back_and_are_content(archive: Archive, tmp_path: Path) -> None:
    counts = {("structure", "no input"): 5, ("numerics", "output is not finite"): 1}
    guided = replace(candidate(0), prediction=Prediction(1.5, 0.25, 1e-9), counts=counts)
    archive.record(guided, SCORED)
    archive.record(candidate(1), REJECTED)
    assert [c for c, _ in archive.records(screened_out=True)] == [guided, candidate(1)]
    assert archive.rejection_counts()["structure", "no input"] == 5 + 2
    assert archive.rejection_counts()["numerics", "output is not finite"] == 1
    with Archive.create(tmp_path / "blind.sqlite") as other:
        other.record(candidate(0), SCORED)
        other.record(candidate(1), REJECTED)
        assert not same_content(tmp_path / "archive.sqlite", tmp_path / "blind.sqlite")


def test_what_is_recorded_comes_back(archive: Archive, tmp_path: Path) -> None:
    archive.record_baseline("bn-relu", SCORED)
    archive.record(candidate(0), SCORED)
    archive.record(candidate(1), REJECTED)
    archive.close()
    with Archive.open(tmp_path / "archive.sqlite", read_only=True) as again:
        records = list(again.records())
        assert [(c.index, c.proposal, c.fingerprint) for c, _ in records] == [
            (i, candidate(i).proposal, candidate(i).fingerprint) for i in (0, 1)
        ]
        assert [e for _, e in records] == [SCORED, REJECTED]
        assert [c for c, _ in again.records(screened_out=True)] == [candidate(0), candidate(1)]
        assert again.baselines() == {"bn-relu": SCORED}
        assert again.told() == 2
        assert again.rejection_counts() == {
            ("structure", "no input"): 2,
            ("equivalence", "same"): 2,
            ("quality", "accuracy too low"): 1,
        }


def test_scores_at_rungs_come_back_bit_by_bit_and_in_their_order(archive: Archive) -> None:
    scored = replace(SCORED, rungs={"resnet": ((5, 0.5),), "mobile": ((5, 0.125),), "another": ((5, 1e-17),)})
    archive.record_baseline("bn-relu", scored)
    archive.record(candidate(0), STOPPED)
    archive.record(candidate(1), SCORED)
    (_, stopped), (_, plain) = archive.records()
    for found, put in ((stopped, STOPPED), (plain, SCORED), (archive.baselines()["bn-relu"], scored)):
        assert found == put
        assert list(found.rungs) == list(put.rungs)


def test_scores_at_rungs_are_content(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.sqlite" for name in "abc"]
    other = replace(STOPPED, rungs=RUNGS | {"mobile": ((5, 0.25), (10, 0.3))})
    for path, evaluation in zip(paths, (STOPPED, replace(STOPPED, seconds=9.0), other), strict=True):
        with Archive.create(path) as archive:
            archive.record(candidate(0), evaluation)
    assert same_content(paths[0], paths[1])
    assert not same_content(paths[0], paths[2])


def test_the_learning_rates_of_scores_come_back_and_are_content(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.sqlite" for name in "abc"]
    found = replace(SCORED, rates=dict.fromkeys(reversed(SCORED.objectives), 0.1 / 3))
    for path, evaluation in zip(paths, (found, replace(found, seconds=9.0), SCORED), strict=True):
        with Archive.create(path) as archive:
            archive.record(candidate(0), evaluation)
            ((_, again),) = archive.records()
            assert again == evaluation
            assert list(again.rates) == list(evaluation.rates)
    assert same_content(paths[0], paths[1])
    assert not same_content(paths[0], paths[2])


def test_a_record_is_written_whole_or_not_at_all(archive: Archive) -> None:
    archive.record(candidate(0), SCORED)
    before = archive.content()
    twice = Candidate(1, Proposal(GENOME, None, "random"), "print", OUT)
    archive._db.execute("INSERT INTO timings VALUES ('1', 0, 0, '')")  # the last insert of the next record will fail
    archive._db.commit()
    with pytest.raises(sqlite3.IntegrityError):
        archive.record(twice, SCORED)
    assert archive.content() == before


def test_content_leaves_clocks_out_and_nothing_else(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.sqlite" for name in "abc"]
    for path, seconds, steps in zip(paths, (1.0, 2.0, 1.0), (5, 5, 6), strict=True):
        with Archive.create(path) as archive:
            archive.event("started", path.name)
            archive.record(candidate(0), Evaluation(GENOME.key, 1, steps, seconds, {"resnet": 0.5}))
    assert same_content(paths[0], paths[1])
    assert not same_content(paths[0], paths[2])


def test_content_leaves_latency_out_and_keeps_other_extras(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.sqlite" for name in "abc"]
    for path, latency, margin in zip(paths, (1.0, 2.0, 1.0), (4.0, 4.0, 8.0), strict=True):
        extras = {"latency": latency, "stability_margin": margin}
        with Archive.create(path) as archive:
            archive.record(candidate(0), Evaluation(GENOME.key, 1, objectives={"resnet": 0.5}, extras=extras))
    assert same_content(paths[0], paths[1])
    assert not same_content(paths[0], paths[2])


def test_told_evaluations_survive_kill_9(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "sys.path[:0] = [sys.argv[2], sys.argv[2] + '/tests']\n"
        "from pathlib import Path\n"
        "from evonas.search.archive import Archive\n"
        "from tests.told import SCORED, candidate\n"
        "archive = Archive.create(Path(sys.argv[1]))\n"
        "for i in range(5): archive.record(candidate(i), SCORED)\n"
        "archive._db.execute(\"INSERT INTO events (time, kind, detail) VALUES (0, 'half', 'written')\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path, root = tmp_path / "archive.sqlite", Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script, str(path), str(root)], check=False)
    assert done.returncode == -9
    with Archive.open(path) as archive:
        assert archive.told() == 5
        assert archive.events() == []
        archive.record(candidate(5), SCORED)


def test_creating_over_an_archive_fails(archive: Archive, tmp_path: Path) -> None:
    archive.close()
    with pytest.raises(FileExistsError):
        Archive.create(tmp_path / "archive.sqlite")
