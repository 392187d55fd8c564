"""The archive against what was put into it, and against kill -9: SQLite's own recovery is the oracle of the latter."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from archives import same_content

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate, Evaluation, Prediction, Proposal, Rejection

GENOME = CATALOGUE["evonorm-s0"]
OUT = (
    (Proposal(CATALOGUE["frn-tlu"], None, "random"), Rejection("structure", "no input")),
    (Proposal(CATALOGUE["evonorm-s1"], 3, "node 5"), Rejection("equivalence", "same", detail="candidate 0")),
)
SCORED = Evaluation(
    GENOME.key,
    1,
    300,
    2.5,
    {"resnet": 0.5, "mobile": 0.25},
    traces={"resnet": ((5, 2.25), (10, 1.5))},
    extras={"latency": 2.5, "stability_margin": 8.0},
)
REJECTED = Evaluation(GENOME.key, 1, 20, 0.5, rejection=Rejection("quality", "accuracy too low", "resnet", 0.125, 0.2))
RUNGS = {"resnet": ((5, 0.3), (10, 0.1 + 0.2)), "mobile": ((5, 0.25), (10, 1 / 3))}  # neither sorted by task nor short
STOPPED = Evaluation(GENOME.key, 1, 20, 1.0, rejection=Rejection("rungs", "behind at step 10"), rungs=RUNGS)


def candidate(index: int) -> Candidate:
    return Candidate(index, Proposal(GENOME, index - 1 if index else None, "node 7: x -> y"), f"print{index}", OUT)


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


def test_an_archive_from_before_there_were_guides_is_read_and_gone_on_with(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    archive.record(candidate(0), SCORED)
    archive.close()
    with sqlite3.connect(path) as old:
        old.executescript("DROP TABLE predictions; DROP TABLE screened_counts")
    with Archive.open(path, read_only=True) as again:
        assert [c for c, _ in again.records(screened_out=True)] == [candidate(0)]
        assert again.rejection_counts() == {("structure", "no input"): 1, ("equivalence", "same"): 1}
        assert again.content()["predictions"] == []
    guided = replace(candidate(1), prediction=Prediction(1.5, 0.25, 0.5), counts={("structure", "no"): 2})
    with Archive.open(path) as again:
        again.record(guided, SCORED)
        assert [c for c, _ in again.records(screened_out=True)] == [candidate(0), guided]


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


def test_an_archive_from_before_there_were_several_learning_rates_opens_and_goes_on(archive: Archive) -> None:
    archive.record(candidate(0), SCORED)
    content = archive.content()
    archive._db.execute("DROP TABLE rates")
    archive._db.commit()
    path = Path(archive._db.execute("PRAGMA database_list").fetchone()[2])
    archive.close()
    with Archive.open(path, read_only=True) as old:
        assert [evaluation for _, evaluation in old.records()] == [SCORED]
        assert old.content() == content
    with Archive.open(path) as old:
        old.record(candidate(1), REJECTED)
        assert [evaluation for _, evaluation in old.records()] == [SCORED, REJECTED]


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
        "from tests.search.test_archive import Archive, SCORED, candidate\n"
        "archive = Archive.create(Path(sys.argv[1]))\n"
        "for i in range(5): archive.record(candidate(i), SCORED)\n"
        "archive._db.execute(\"INSERT INTO events (time, kind, detail) VALUES (0, 'half', 'written')\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path, root = tmp_path / "archive.sqlite", Path(__file__).parents[2]
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


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look like a file of something" * 9])
def test_opening_what_is_no_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "archive.sqlite"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not an archive") as caught:
        Archive.open(path, read_only=True)
    assert "\n" not in str(caught.value)


def test_opening_a_missing_or_a_newer_archive_says_so(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Archive.open(tmp_path / "nothing.sqlite")
    archive._db.execute("UPDATE run SET value = '99' WHERE name = 'format'")
    archive._db.commit()
    archive.close()
    with pytest.raises(InputError, match="archive format 99; accepted: 2"):
        Archive.open(tmp_path / "archive.sqlite")
