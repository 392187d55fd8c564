"""What the board is given, against best values and means written out by hand, and all scores sorted again."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.report import pictures
from evonas.report.board import TensorBoard
from evonas.search import dashboard as module
from evonas.search import selection, sessions
from evonas.search.dashboard import SearchBoard
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.lineage import Told, formula_change, line_of, lineage_table
from evonas.search.outcome import Candidate, Evaluation, Prediction, Proposal, Rejection

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
GENOME = CATALOGUE["evonorm-s0"]


class Notes(TensorBoard):
    """Keeps what it is shown last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.values: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.figures: dict[str, Figure] = {}
        self.parts: dict[str, Notes] = {}

    def part(self, name: str, *, own_steps: bool = False) -> "Notes":  # noqa: ARG002
        self.parts[name] = Notes(self.folder / name)
        return self.parts[name]

    def scalar(self, tag: str, value: float, step: int) -> None:
        self.values |= {tag: value, "step": step}

    def text(self, tag: str, markdown: str, step: int) -> None:
        self.texts[tag] = f"{markdown}\n{step}"

    def figure(self, tag: str, figure: Figure, step: int) -> None:  # noqa: ARG002
        self.figures[tag] = figure


def tell(board: SearchBoard, index: int, evaluation: Evaluation, **more: Any) -> None:
    board.told(Candidate(index, Proposal(GENOME, None, "random"), "", **more), evaluation, recorded=False)


def scored(mean: float, latency: float, margin: float) -> Evaluation:
    extras = {"latency": latency, "stability_margin": margin}
    return Evaluation(GENOME.key, 1, objectives={"a": mean, "b": mean}, extras=extras)


def test_extras_have_a_best_value_a_mean_a_picture_and_a_column(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    board = SearchBoard(notes, config.load_search(TINY))
    board.baseline("bn-relu", scored(0.5, 1.0, 4.0))
    for index, evaluation in enumerate((scored(0.5, 3.0, 8.0), scored(0.7, 2.0, 1.0), scored(0.6, 4.0, 3.0))):
        tell(board, index, evaluation)
    best, means = notes.values, notes.parts["mean_of_the_window"].values
    assert best["step"] == means["step"] == 2
    assert best["objective/mean"] == 0.7
    assert (best["objective/latency"], means["objective/latency"]) == (2.0, 3.0)
    assert (best["objective/stability_margin"], means["objective/stability_margin"]) == (8.0, pytest.approx(4.0))
    board.close()
    fronts = {tag: figure.axes for tag, figure in notes.figures.items() if tag.startswith("front/")}
    assert list(fronts) == ["front/a_and_b", "front/latency_and_mean_score", "front/stability_margin_and_mean_score"]
    assert all(len(axes) == 1 for axes in fronts.values())
    header, _, first, *_ = notes.texts["best_layers"].splitlines()
    assert header == "| candidate | mean | a | b | latency | stability_margin | formula |"
    assert first.startswith("| 1 | 0.7000 | 0.7000 | 0.7000 | 2 | 1 | ")


def test_the_curves_of_a_long_run_get_fewer_points_and_always_the_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "SCALARS_SHARE", 5)
    monkeypatch.setattr(SearchBoard, "write_pictures", lambda *_: None)
    steps: list[float] = []

    class Steps(Notes):
        def scalar(self, tag: str, value: float, step: int) -> None:  # noqa: ARG002
            steps.append(step)

    board = SearchBoard(Steps(tmp_path), config.load_search(TINY))
    for index in range(30):
        tell(board, index, scored(0.6 if index == 22 else 0.5, 1.0, 1.0))
    told = sorted(set(steps))
    board.close()
    expected = [*range(10), 10, 12, 14, 15, 18, 20, 22, 24, 25]
    assert told == expected
    assert sorted(set(steps)) == [*expected, 29]


def test_what_a_guide_predicted_is_drawn_against_what_was_measured(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    board = SearchBoard(notes, config.load_search(TINY))
    tell(board, 0, Evaluation(GENOME.key, 1, objectives={"a": 0.5}), counts={("structure", "no input"): 7})
    assert "guide/predicted_and_measured" not in notes.figures
    for index in range(1, 12):  # predicted as they came, but for the last two
        mean = {10: 11.0, 11: 10.0}.get(index, float(index))
        score = Evaluation(GENOME.key, 1, objectives={"a": 0.5 + index / 100})
        tell(board, index, score, prediction=Prediction(mean, 1.0, 0.1))
    n = 11
    assert notes.values["guide/rank_correlation"] == pytest.approx(1 - 6 * 2 / (n * (n * n - 1)))
    board.close()
    (axes,) = notes.figures["guide/predicted_and_measured"].axes
    drawn = [tuple(point) for point in axes.collections[0].get_offsets()]
    assert [x for x, _ in drawn] == [*range(1, 10), 11, 10]
    assert [y for _, y in drawn] == sorted(y for _, y in drawn)
    assert notes.parts[module.FUNNEL[0]].values["funnel"] == 12 + 7
    assert "| structure | no input | 7 |" in notes.texts["rejections"]


def test_proposals_are_counted_by_how_far_they_came_and_seconds_by_where_they_went(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    board = SearchBoard(notes, config.load_search(TINY).model_copy(deep=True))
    board.baseline("bn-relu", Evaluation(GENOME.key, 1, seconds=10.0, objectives={"a": 0.5}))
    out = (Proposal(GENOME, None, "random"), Rejection("numerics", "output is not finite"))
    tell(
        board,
        0,
        Evaluation(GENOME.key, 1, seconds=1.0, rejection=Rejection("quality", "diverged")),
        screened_out=(out,),
    )
    tell(
        board,
        1,
        Evaluation(GENOME.key, 1, seconds=2.0, rejection=Rejection("rungs", "behind")),
        screened_out=(out, out),
    )
    tell(board, 2, Evaluation(GENOME.key, 1, seconds=4.0, objectives={"a": 0.25}))
    funnel = [notes.parts[name].values["funnel"] for name in module.FUNNEL]
    assert funnel == [6, 3, 2, 1]  # proposed, past the screens, past the quality gate, scored
    rejections = {tag: count for tag, count in notes.values.items() if tag.startswith("rejections/")}
    assert rejections == {"rejections/numerics": 3, "rejections/quality": 1, "rejections/rungs": 1}
    seconds = {tag.partition("/")[2]: value for tag, value in notes.values.items() if tag.startswith("core-seconds/")}
    assert seconds == {"baselines": 10, "quality": 1, "rungs": 2, "scored": 4}
    assert notes.parts["core-seconds"].values == {"objective_by_core-seconds/mean": 0.25, "step": 17}
    board.close()
    assert "| numerics | output is not finite | 3 |" in notes.texts["rejections"]


def readable(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def test_the_best_candidates_and_the_baselines_are_runs_with_their_origin_scores_and_losses(tmp_path: Path) -> None:
    """Oracle: TensorBoard's own reader."""
    trace = {"a": ((1, 2.0), (2, 1.0))}
    board = SearchBoard(TensorBoard(tmp_path), config.load_search(TINY))
    board.baseline("bn-relu", Evaluation(GENOME.key, 1, objectives={"a": 0.5}, traces=trace))
    proposals = [Proposal(GENOME, None, "random"), Proposal(GENOME, 0, "node 4: mul(1, 2) -> add(0, 3)")]
    rejected = Evaluation(GENOME.key, 1, rejection=Rejection("quality", "accuracy too low"), traces=trace)
    for index in range(40):
        evaluation = rejected if index % 2 else Evaluation(GENOME.key, 1, objectives={"a": index / 40}, traces=trace)
        board.told(Candidate(index, proposals[index > 0], ""), evaluation, recorded=False)
    board.close()
    candidates = sorted(folder.name for folder in (tmp_path / "candidates").iterdir())
    best = [f"{index:04}" for index in range(0, 40, 2)][-sessions.BEST :]
    assert candidates == sorted([*best, "0033", "0035", "0037", "0039"])
    assert len(list(tmp_path.rglob("events.*"))) < 40  # TensorBoard ticks none of more
    run = readable(tmp_path / "candidates" / "0038")
    content = HParamsPluginData.FromString(run.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    hparams = {n: v.number_value or v.string_value for n, v in content.session_start_info.hparams.items()}
    assert hparams.pop("formula") == GENOME.formula()
    assert hparams.pop("size in nodes") == len(GENOME.active_positions)
    # parent 0 is a number
    assert hparams == {"operator": "mul -> add", "rank": 1, "ended at": "scored", "parent": ""}
    assert [(e.step, e.value) for e in run.Scalars("loss/a")] == [(1, 2.0), (2, 1.0)]
    assert [(e.step, e.value) for e in run.Scalars("objective/mean")] == [(38, pytest.approx(0.95))]
    level = readable(tmp_path / "baselines" / "bn-relu")
    assert [(e.step, e.value) for e in level.Scalars("objective/mean")] == [(0, 0.5), (39, 0.5)]


def test_a_resumed_board_shows_nothing_twice(tmp_path: Path) -> None:
    """Oracle: a board that was never closed shows the same steps of every tag."""
    whole, halves = tmp_path / "whole" / "run", tmp_path / "halves" / "run"
    evaluations = random_scores(30)

    def play(folder: Path, first: int, last: int) -> None:
        board = SearchBoard(TensorBoard(folder, purge_step=first or None), config.load_search(TINY))
        board.baseline("bn-relu", scored(0.5, 1.0, 4.0))
        for index, evaluation in enumerate(evaluations[:last]):
            candidate = Candidate(index, Proposal(GENOME, None, "random"), "")
            board.told(candidate, evaluation, recorded=index < first)
        board.close()

    play(whole, 0, 30)
    for first, last in ((0, 13), (13, 13), (13, 30)):  # the second finds nothing to do
        play(halves, first, last)
    for folder in (whole, halves):
        assert len({path.parent for path in folder.rglob("events.*")}) > 20
    for path in {path.parent.relative_to(whole) for path in whole.rglob("events.*")}:
        once, resumed = readable(whole / path), readable(halves / path)
        assert once.Tags()["scalars"] == resumed.Tags()["scalars"]
        for tag in once.Tags()["scalars"]:
            assert [e.step for e in resumed.Scalars(tag)] == [e.step for e in once.Scalars(tag)], (path, tag)
        for tag in once.Tags()["images"]:
            steps = [event.step for event in resumed.Images(tag)]
            assert len(steps) == len(set(steps)), (path, tag)
    assert len(readable(halves).Tensors("configuration/text_summary")) == 1


def test_a_line_of_parents_says_what_every_mutation_changed() -> None:
    texts = ("tanh(x)", "sigmoid(x)", "a = sigmoid(x); mul(x, a)", "a = sigmoid(x); mul(a, x)")
    parents = (None, 0, 1, None)
    told = {
        index: Told(index, Proposal(Genome.from_text(text), parent, "random"), Evaluation("", 1, objectives={"a": 0.5}))
        for index, (text, parent) in enumerate(zip(texts, parents, strict=True))
    }
    line = line_of(2, told)
    assert [each.index for each in line] == [0, 1, 2]
    table = lineage_table(line)
    assert table.column("what changed") == ["random", "`tanh` became `sigmoid`", "added `x *`"]
    assert formula_change("exp(x) + tanh(x)", "exp(x) + abs(tanh(v0) / x)") == "added `abs(`, added `v0) /`"
    assert formula_change("tanh(x)", "tanh(x)") == "the same formula, written with other nodes"


def random_scores(count: int) -> list[Evaluation]:
    """Few values, so many ties, and some rejections."""
    rng, found = random.Random(4), []
    for _ in range(count):
        a, b, latency, margin = (rng.randrange(1, 6) / 5 for _ in range(4))
        extras = {"latency": latency, "stability_margin": margin}
        rejection = Rejection("quality", "test") if rng.random() < 0.2 else None
        scores = {} if rejection else {"objectives": {"a": a, "b": b}, "extras": extras}
        found.append(Evaluation(GENOME.key, 1, rejection=rejection, **scores))
    return found


def test_front_and_bests_are_those_of_everything_scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The oracle sorts everything again; the board never does."""
    drawn: list[set[str]] = []
    monkeypatch.setattr(pictures, "draw_fronts", lambda _, front, **__: drawn.append(front) or {})
    notes, members = Notes(tmp_path), list[Individual]()
    board = SearchBoard(notes, config.load_search(TINY))
    for index, evaluation in enumerate(random_scores(120)):
        board.told(Candidate(index, Proposal(GENOME, None, "random"), ""), evaluation, recorded=False)
        if evaluation.objectives:
            members.append(Individual.of(index, GENOME, evaluation.objectives, FULL_TRAINING, evaluation.extras))
        assert notes.values["objective/a"] == max(i.objectives["a"] for i in members)
        assert notes.values["objective/b"] == max(i.objectives["b"] for i in members)
        assert notes.values["objective/latency"] == min(i.extras["latency"] for i in members)
        assert notes.values["objective/stability_margin"] == max(i.extras["stability_margin"] for i in members)
        if index % module.PICTURES_EVERY == 0:
            assert drawn[-1] == {str(i.index) for i in selection.pareto_front(members)}
    assert len(drawn) > 6


def test_a_long_run_holds_the_curves_of_the_candidates_that_are_shown_and_few_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TRACES", 30)
    board = SearchBoard(Notes(tmp_path), config.load_search(TINY))
    traces = {"a": ((1, 2.0),)}
    means = dict[int, float]()
    for index, found in enumerate(random_scores(90)):
        evaluation = replace(found, traces=traces)
        board.told(Candidate(index, Proposal(GENOME, None, "random"), ""), evaluation, recorded=True)
        if evaluation.mean is not None:
            means[index] = evaluation.mean
    best = sorted(means, key=lambda n: -means[n])[: sessions.BEST]
    assert set(best) <= board._traces.keys()
    assert len(board._traces) <= 30
    assert all(not told.evaluation.traces for told in board._told.values())
    assert board._traced(best[0]).evaluation.traces == traces
