"""Layers from outside in a search: their place in it, their record, kills, and exact replays.

Evaluations are a cheap deterministic function of the layer here. Oracles: the archive of the run that is replayed; the
layers that were handed in; a search that was handed nothing.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from archives import make_earlier, same_content
from killing import Killed

from evonas import config
from evonas.config import EvolutionConfig, SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.runs.folder import RunFolder
from evonas.search import inbox, replay
from evonas.search.archive import Archive
from evonas.search.driver import Ending, drive
from evonas.search.engine import Search
from evonas.search.execution import EvaluationJob, Known
from evonas.search.inbox import Inbox
from evonas.search.outcome import Candidate, Evaluation, Origin, Rejection
from evonas.search.protocols import Screens
from evonas.search.start import create_run

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
SPACE = SearchSpace(index_sets=("chw", "hw", "ghw"))
PASS = ("x * sigmoid(2 * x) / std[ghw](x)", "x * tanh(x) / rms[hw](x)", "max(x, v0) * sigmoid(v1 * x)", "exp(-x^2)")
FAIL = {"x - x": "numerics", "v1 + v0": "structure", "mean[hw](x)": "structure", PASS[0]: "equivalence"}


def layer(formula: str) -> Genome:
    return Genome.from_formula(formula)


def new_search(**settings: Any) -> Search:
    screens = Screens()
    return Search(SPACE, EvolutionConfig(initial_random=3, **settings), 1, screens, screens.probe)


def test_layers_from_outside_come_first_in_their_order_and_those_that_fail_are_recorded_with_why() -> None:
    search = new_search()
    for formula in (PASS[0], *FAIL, PASS[1]):
        search.propose(layer(formula), Origin("me", formula))
    first, second, third = search.ask(), search.ask(), search.ask()
    assert first.proposal.origin == Origin("me", PASS[0])
    assert second.proposal.origin == Origin("me", PASS[1])
    assert [(p.origin, r.stage) for p, r in second.screened_out] == [(Origin("me", f), s) for f, s in FAIL.items()]
    assert {p.operator for p, _ in second.screened_out} == {first.proposal.operator} == {"proposed by me"}
    assert third.proposal.origin is None
    assert not any(p.origin for p, _ in third.screened_out)


def test_own_draws_are_those_of_a_search_that_was_handed_nothing() -> None:
    """Candidate n has its own stream, so that a layer from outside takes the place of one candidate and no more."""
    alone, handed = new_search(), new_search()
    own = [alone.ask() for _ in range(6)]
    asked = []
    for n in range(6):
        if n == 2:
            handed.propose(layer(PASS[0]))
        if n == 4:
            handed.propose(layer("x - x"))
        asked.append(handed.ask())
    assert asked[2].proposal.origin == Origin()
    assert [c.proposal for n, c in enumerate(asked) if n != 2] == [c.proposal for n, c in enumerate(own) if n != 2]
    assert asked[4].screened_out[1:] == own[4].screened_out


def test_first_candidates_of_the_settings_come_before_layers_from_outside() -> None:
    screens = Screens()
    search = Search(
        SPACE, EvolutionConfig(), 1, screens, screens.probe, initial=[SPACE.padded(CATALOGUE["evonorm-s0"])]
    )
    search.propose(layer(PASS[1]))
    assert [search.ask().proposal.operator for _ in range(2)] == ["initial", "proposed by anonymous"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("x / std[bhw](x)", "index set bhw is not in the space"), ("sqrt(x) + erf(x)", "primitive erf is not in")],
)
def test_a_layer_that_is_none_of_the_space_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("[", r"\[")):
        new_search().propose(layer(text))


def test_a_screen_that_raises_an_error_rejects_the_layer_and_the_search_goes_on() -> None:
    odd = layer(PASS[3])

    def screen(genome: Genome) -> Rejection | str:
        if genome.key == odd.key:
            raise ZeroDivisionError("this screen\nknows no such layer")
        return genome.key

    search = Search(SPACE, EvolutionConfig(), 1, screen)
    search.propose(odd)
    search.propose(layer(PASS[0]))
    candidate = search.ask()
    detail = "ZeroDivisionError: this screen"
    assert [r for _, r in candidate.screened_out] == [Rejection("execution", "a screen failed", detail=detail)]
    assert candidate.proposal.origin is not None


class Counting:
    """An executor that knows the score of every layer, and counts what it was asked for."""

    eager = False

    def __init__(self) -> None:
        self.asked = Counter[str]()

    def doing(self) -> list[str]:
        return []

    def submit(self, job: EvaluationJob) -> Known:
        self.asked[job.label] += 1
        key = job.genome.key
        a, b = int(key[:4], 16) / 65536, int(key[4:8], 16) / 65536
        if job.gated and a < 0.2:
            return Known(Evaluation(key, 1, rejection=Rejection("quality", "test")))
        return Known(Evaluation(key, 1, objectives={"a": a, "b": b}))


class Script:
    """A watcher that does something when so many candidates are recorded, once each, or dies behind one.

    That is when a race has measured something again behind that candidate.
    """

    def __init__(self, doing: dict[int, Callable[[], object]], dies_behind: int | None = None) -> None:
        self.doing, self.dies_behind, self.last = doing, dies_behind, -1

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """Nothing is to be done."""

    def measured(self, *_: object, recorded: bool) -> None:
        if not recorded and self.last == self.dies_behind:
            raise Killed

    def told(self, candidate: Candidate, _: Evaluation, *, recorded: bool) -> None:
        self.last = candidate.index
        if not recorded and candidate.index in self.doing:
            self.doing.pop(candidate.index)()


def conducted(folder: Path, settings: SearchConfig, script: Script | None = None) -> tuple[Ending, Counter[str]]:
    run, executor = RunFolder(folder), Counting()
    with Archive.open(run.archive_file) as archive:
        box = Inbox(run.inbox_folder, lambda why: archive.event("refused", why))
        ending = drive(settings, archive, executor, [script] if script else [], inbox=box)  # type: ignore[arg-type]
    return ending, executor.asked


def new_run(folder: Path, *changes: str, replays: Path | None = None) -> SearchConfig:
    settings = config.load_search(TINY, ["budget.evaluations=24", *changes])
    create_run(folder, settings, RunFolder(replays) if replays else None)
    return settings


def hand_in(run: Path, *formulas: str) -> Callable[[], object]:
    return lambda: inbox.put(RunFolder(run).inbox_folder, [(layer(f), Origin("me", f"says {f}")) for f in formulas])


def killed() -> None:
    raise Killed


def records(run: Path) -> list[tuple[Candidate, Evaluation]]:
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        return list(archive.records(screened_out=True))


def handed_in(run: Path) -> list[str]:
    """The notes of all recorded proposals from outside, in their order."""
    return [origin.note for candidate, _ in records(run) for origin in candidate.origins.values()]


@pytest.mark.parametrize("racing", [0, 3])
@pytest.mark.parametrize("look_ahead", [1, 3, 8])
@pytest.mark.parametrize("algorithm", ["tournament", "nsga2"])
def test_a_replay_needs_no_proposer_and_is_equal(algorithm: str, look_ahead: int, racing: int, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    changes = (f"evolution.look_ahead={look_ahead}", f"evolution.algorithm={algorithm}", f"racing.every={racing}")
    settings = new_run(old, *changes)
    script = {2: hand_in(old, PASS[0], *FAIL), 9: hand_in(old, "x - x"), 10: hand_in(old, PASS[2], PASS[1])}
    assert conducted(old, settings, Script(script))[0] is Ending.BUDGET
    assert Counter(handed_in(old)) == Counter(f"says {f}" for f in (PASS[0], *FAIL, "x - x", PASS[2], PASS[1]))
    assert inbox.waiting(RunFolder(old).inbox_folder) == []
    mutants = [c for c, _ in records(old) if c.proposal.parent is not None]
    proposed = {c.index for c, _ in records(old) if c.proposal.origin}
    assert len(proposed) == 3
    assert any(c.proposal.parent in proposed for c in mutants), "what was proposed had no part in the search"
    new_run(new, *changes, replays=old)
    assert conducted(new, settings)[0] is Ending.BUDGET
    assert same_content(old / "archive.sqlite", new / "archive.sqlite")
    assert replay.compared(RunFolder(new)) == [
        f"the replay is equal to {old}: 24 candidates with all that was screened out or measured again"
    ]
    assert replay.compared(RunFolder(old)) == []


@pytest.mark.parametrize("dies_behind", [None, 21, 22])
def test_a_replay_measures_again_what_a_race_did(dies_behind: int | None, tmp_path: Path) -> None:
    """Also where the old run ended with something measured behind its last candidate."""
    old, new = tmp_path / "old", tmp_path / "new"
    changes = ("racing.every=2", "racing.elites=0.6", "evolution.look_ahead=2")
    settings = new_run(old, *changes)
    script: dict[int, Callable[[], object]] = {n: hand_in(old, f) for n, f in zip((1, 6, 9), PASS, strict=False)}
    with pytest.raises(Killed) if dies_behind else nullcontext():
        conducted(old, settings, Script(script, dies_behind))
    told = len(records(old))
    with Archive.open(old / "archive.sqlite", read_only=True) as archive:
        measured = archive.measurements()
    assert len(measured) > 3
    assert (measured[-1][0].position > told + len(measured) - 2) == bool(dies_behind)
    settings = replay.as_far_as_recorded(RunFolder(old), settings)
    create_run(new, settings, RunFolder(old))
    conducted(new, settings)
    (said,) = replay.compared(RunFolder(new))
    assert said.startswith(f"the replay is equal to {old}: {told} candidates")
    wrong = measured[1][0].position
    with closing(sqlite3.connect(new / "archive.sqlite")) as file, file:
        file.execute("UPDATE evaluations SET objectives = '{}' WHERE subject = ?", (f"measurement:{wrong}",))
    (said,) = replay.compared(RunFolder(new))
    assert f"from candidate {wrong - 1} on" in said


def test_a_replay_that_is_killed_goes_on_without_the_old_run(tmp_path: Path) -> None:
    old, new, kept = tmp_path / "old", tmp_path / "new", tmp_path / "kept"
    settings = new_run(old)
    conducted(old, settings, Script({n: hand_in(old, f) for n, f in zip((1, 5, 9, 13), PASS, strict=True)}))
    new_run(new, replays=old)
    old.rename(kept)
    with pytest.raises(Killed):
        conducted(new, settings, Script({7: killed}))
    assert conducted(new, settings)[0] is Ending.BUDGET
    assert same_content(kept / "archive.sqlite", new / "archive.sqlite")


@pytest.mark.parametrize("dies_at", range(3, 10))
def test_a_killed_run_loses_no_proposal_and_evaluates_none_twice(dies_at: int, tmp_path: Path) -> None:
    """Seven are handed in after candidate 3; the run dies while they are drawn, trained and recorded."""
    run, again = tmp_path / "run", tmp_path / "again"
    settings = new_run(run, "evolution.look_ahead=4")
    formulas = (PASS[0], *FAIL, *PASS[1:3])
    deaths: dict[int, Callable[[], object]] = {3: hand_in(run, *formulas)}
    deaths[dies_at] = (lambda: (hand_in(run, *formulas)(), killed())) if dies_at == 3 else killed
    with pytest.raises(Killed):
        conducted(run, settings, Script(deaths))
    before = len(records(run))
    assert before == dies_at + 1
    ending, asked = conducted(run, settings)
    assert ending is Ending.BUDGET
    assert asked == Counter(f"candidate {n}" for n in range(before, 24))
    assert handed_in(run) == [f"says {f}" for f in formulas]
    assert inbox.waiting(RunFolder(run).inbox_folder) == []
    new_run(again, "evolution.look_ahead=4", replays=run)
    conducted(again, settings)
    assert same_content(run / "archive.sqlite", again / "archive.sqlite")


def test_a_run_that_dies_between_record_and_removal_does_not_draw_the_proposal_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = new_run(run)

    def die(_: Inbox, candidate: Candidate) -> None:
        if candidate.origins:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "remove", die)
        with pytest.raises(Killed):
            conducted(run, settings, Script({2: hand_in(run, PASS[0])}))
    assert handed_in(run) == [f"says {PASS[0]}"]
    assert len(inbox.waiting(RunFolder(run).inbox_folder)) == 1
    conducted(run, settings)
    assert handed_in(run) == [f"says {PASS[0]}"]
    assert inbox.waiting(RunFolder(run).inbox_folder) == []


def test_a_replay_under_other_code_says_where_it_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    settings = new_run(old)
    conducted(old, settings, Script({2: hand_in(old, PASS[0])}))
    new_run(new, replays=old)
    submit, wrong = Counting.submit, records(old)[5][0]

    def other(self: Counting, job: EvaluationJob) -> Known:
        if job.genome.key == wrong.genome.key:
            return Known(Evaluation(job.genome.key, 1, objectives={"a": 0.5, "b": 0.5}))
        return submit(self, job)

    monkeypatch.setattr(Counting, "submit", other)
    conducted(new, settings)
    (said,) = replay.compared(RunFolder(new))
    assert said.startswith(f"the replay differs from {old} from candidate 5 on")


def test_a_replay_that_is_not_at_its_end_says_how_far_it_is(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    settings = new_run(old)
    conducted(old, settings)
    new_run(new, replays=old)
    with pytest.raises(Killed):
        conducted(new, settings, Script({6: killed}))
    assert replay.compared(RunFolder(new)) == [
        f"the first 7 of 24 candidates are replayed, and equal to those of {old}"
    ]


def test_files_that_are_no_proposals_are_logged_and_the_search_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = new_run(run)
    folder = RunFolder(run).inbox_folder
    folder.mkdir()
    (folder / "1.json").write_bytes(b"\xff" * 100)
    ending, _ = conducted(run, settings)
    assert ending is Ending.BUDGET
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        (said,) = [detail for _, kind, detail in archive.events() if kind == "refused"]
    assert said.startswith("'1.json': is not JSON")


def test_an_archive_of_an_earlier_version_opens_and_goes_on(tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "run" / "archive.sqlite"
    settings = new_run(run, "budget.evaluations=6")
    conducted(run, settings)
    make_earlier(path, "origins")
    before = path.read_bytes()
    with Archive.open(path, read_only=True) as archive:
        assert [c.index for c, _ in archive.records(screened_out=True)] == list(range(6))
        assert archive.content()["origins"] == archive.handed_in() == []
    assert path.read_bytes() == before
    hand_in(run, PASS[0])()
    conducted(run, config.load_search(TINY, ["budget.evaluations=8"]))
    assert handed_in(run) == [f"says {PASS[0]}"]
