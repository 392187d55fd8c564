"""What is said at the end of a search, against archives that are written by hand."""

import random
from pathlib import Path

import pytest

from evonas import config
from evonas.config import BudgetConfig, SearchConfig
from evonas.graph.space import SearchSpace
from evonas.search.archive import Archive
from evonas.search.budget import Clock
from evonas.search.driver import Ending
from evonas.search.outcome import Candidate, Evaluation, Proposal, Rejection
from evonas.search.verdict import how_to_go_on, verdict

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"


def settings(*changes: str) -> SearchConfig:
    return config.load_search(TINY, changes)


def said(path: Path, ends: list[Rejection | None], *changes: str) -> str:
    """What is said of a search whose candidates ended so; None is a score."""
    rng, space = random.Random(0), SearchSpace()
    with Archive.create(path / "archive.sqlite") as archive:
        for index, rejection in enumerate(ends):
            genome = space.sample(rng)
            result = {"rejection": rejection} if rejection else {"objectives": {"made": 0.5}}
            archive.record(Candidate(index, Proposal(genome, None, "random"), ""), Evaluation(genome.key, **result))  # type: ignore[arg-type]
        return "\n".join(verdict(archive, settings("evolution.initial_random=4", *changes)))


def low(accuracy: float) -> Rejection:
    return Rejection("quality", "accuracy too low", "net", accuracy, 0.2)


def test_a_search_that_selected_something_is_not_commented_on(tmp_path: Path) -> None:
    assert said(tmp_path, [None, low(0.1), None, low(0.1)]) == ""


def test_one_that_saw_no_more_than_random_candidates_is_no_search(tmp_path: Path) -> None:
    found = said(tmp_path, [None, None, low(0.1)])
    assert found.startswith(
        "3 candidates are no search yet: the first 4 are drawn at random (evolution.initial_random)"
    )
    assert "quality" not in found


def test_an_empty_one_says_so(tmp_path: Path) -> None:
    assert said(tmp_path, []) == "no candidate was evaluated, and baselines are missing: gn-relu"


@pytest.mark.parametrize(
    ("rejection", "words"),
    [
        (low(0.15), ("by quality: accuracy too low", "0.15", "0.2", "protocols.quality.min_accuracy")),
        (Rejection("training", "diverged", "net"), ("by training: diverged", "training.learning_rate")),
        (Rejection("stability", "gradient norm too high", "net", 1e9, 1e8), ("protocols.stability.limit",)),
        (Rejection("rungs", "behind at step 3", "", 0.1, 0.5), ("by rungs: behind at step 3", "rungs.reduction")),
        (Rejection("resource", "took too long", "", 3.0, 3.0), ("execution.timeout_seconds",)),
        (Rejection("resource", "out of memory"), ("execution.workers",)),
        (Rejection("execution", "error", detail="mat1 and mat2"), ("mat1 and mat2", "--workers 0")),
        (
            Rejection("my_protocol", "too green"),
            ("by my_protocol: too green", "change what my_protocol asks of a layer"),
        ),
    ],
)
def test_what_rejected_everything_is_named_with_what_to_change(
    rejection: Rejection, words: tuple[str, ...], tmp_path: Path
) -> None:
    other = Rejection("quality", "diverged", "net")
    found = said(
        tmp_path,
        [rejection, other, rejection, rejection, low(0.01)]
        if rejection != low(0.15)
        else [low(0.01), rejection, low(0.1), low(0.02)],
    )
    assert found.startswith("all ")
    assert all(word in found for word in words), found
    assert "\n" not in found


def test_every_key_that_is_to_be_changed_exists() -> None:
    from evonas.search import verdict as module

    for remedy in module._REMEDIES.values():
        for word in remedy.replace("(", " ").replace(")", " ").replace(",", " ").split():
            if "." in word and not word.startswith("["):
                section: object = settings()
                for name in word.split("."):
                    assert hasattr(section, name), word
                    section = getattr(section, name)


@pytest.mark.parametrize(
    ("budget", "used", "evaluated", "ending", "command"),
    [
        (BudgetConfig(minutes=60), 600, 9, Ending.INTERRUPTED, "evonas search --run 'a b' --resume"),
        (BudgetConfig(minutes=60), 3590, 9, Ending.INTERRUPTED, "evonas search --run 'a b' --resume --budget 2h"),
        (BudgetConfig(minutes=1), 57, 1, Ending.BUDGET, "evonas search --run 'a b' --resume --budget 10m"),
        (BudgetConfig(minutes=1), 57, 0, Ending.BUDGET, "evonas search --run 'a b' --resume --budget 10m"),
        (BudgetConfig(minutes=180), 10797, 999, Ending.BUDGET, "evonas search --run 'a b' --resume --budget 8h"),
        (BudgetConfig(evaluations=12), 57, 12, Ending.BUDGET, "evonas search --run 'a b' --resume --budget 24"),
        (BudgetConfig(evaluations=2), 57, 2, Ending.BUDGET, "evonas search --run 'a b' --resume --budget 8"),
        (BudgetConfig(), 57, 2, Ending.INTERRUPTED, "evonas search --run 'a b' --resume"),
    ],
)
def test_the_command_to_go_on_with_has_a_larger_budget_where_it_needs_one(
    budget: BudgetConfig, used: float, evaluated: int, ending: Ending, command: str
) -> None:
    clock = Clock(budget, used=used, now=lambda: 0.0)
    found = how_to_go_on(Path("a b"), ending, clock, evaluated, settings("evolution.initial_random=4"))
    assert found.partition(": ")[2] == command


def test_where_no_layer_is_left_going_on_makes_no_sense() -> None:
    found = how_to_go_on(Path("a"), Ending.EXHAUSTED, Clock(BudgetConfig()), 3, settings("evolution.max_proposals=7"))
    assert found.startswith("none of 7 proposals passed the screens as a new function; in a new run,")
    assert "--resume" not in found


def test_a_run_that_goes_on_may_not_change_what_scores_depend_on(tmp_path: Path) -> None:
    assert "; in a new run, lower the limit of the quality gate" in said(tmp_path, [low(0.1)] * 5)


def test_one_candidate_is_spoken_of_as_one(tmp_path: Path) -> None:
    found = said(tmp_path, [low(0.1)])
    assert found.startswith("the only candidate was rejected by quality: accuracy too low")
    assert "\n1 candidate is no search yet" in found
