"""Trials against what was put into them; and the rest of the archive, which they must leave as it was."""

from pathlib import Path

import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate, Evaluation, Proposal, Rejection

S0, BN = CATALOGUE["evonorm-s0"], CATALOGUE["bn-relu"]
SCORED = Evaluation(S0.key, 2, 100, 2.5, {"resnet": 0.5})
FAILED = Evaluation(BN.key, 2, 7, 0.5, rejection=Rejection("training", "diverged", "resnet", 7.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Archive.create(tmp_path / "archive.sqlite") as archive:
        archive.record(Candidate(0, Proposal(S0, None, "random"), "print"), SCORED)
    return tmp_path / "archive.sqlite"


def test_what_is_recorded_comes_back_from_the_file(path: Path) -> None:
    with Archive.open(path) as archive:
        for evaluation in (SCORED, FAILED):
            archive.trials.record("a", evaluation)
    with Archive.open(path) as archive:
        assert [archive.trials.find("a", 2, layer.key) for layer in (S0, BN)] == [SCORED, FAILED]
        assert archive.trials.count() == 2


def test_other_settings_seeds_and_layers_are_not_known(path: Path) -> None:
    with Archive.open(path) as archive:
        trials = archive.trials
        assert trials.find("a", 2, S0.key) is None
        trials.record("a", SCORED)
        assert [trials.find(*one) for one in (("b", 2, S0.key), ("a", 3, S0.key), ("a", 2, BN.key))] == [None] * 3


def test_a_trial_made_again_replaces_the_earlier_one(path: Path) -> None:
    with Archive.open(path) as archive:
        archive.trials.record("a", FAILED)
        again = Evaluation(BN.key, 2, 100, 1.0, {"resnet": 0.25})
        archive.trials.record("a", again)
        assert (archive.trials.find("a", 2, BN.key), archive.trials.count()) == (again, 1)


def test_the_search_in_the_archive_stays_as_it_was(path: Path) -> None:
    with Archive.open(path) as archive:
        before = (archive.content(), archive.elapsed(), archive.rejection_counts(), archive.events())
        archive.trials.record("a", SCORED)
        archive.trials.record("a", FAILED)
        assert (archive.content(), archive.elapsed(), archive.rejection_counts(), archive.events()) == before
