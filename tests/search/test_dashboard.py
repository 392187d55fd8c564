"""What the board is given, against best values and means written out by hand, and all scores sorted again."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.report.board import Board
from evonas.search import dashboard as module
from evonas.search import selection
from evonas.search.dashboard import SearchBoard
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.outcome import Candidate, Evaluation, Proposal, Rejection

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
GENOME = CATALOGUE["evonorm-s0"]


class Notes(Board):
    """Keeps what it is shown last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.values: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.figures: dict[str, Figure] = {}

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.values = {**values, "step": step}

    def text(self, tag: str, markdown: str, step: int) -> None:
        self.texts[tag] = f"{markdown}\n{step}"

    def figure(self, tag: str, figure: Figure, step: int) -> None:  # noqa: ARG002
        self.figures[tag] = figure


def scored(mean: float, latency: float, margin: float) -> Evaluation:
    extras = {"latency": latency, "stability_margin": margin}
    return Evaluation(GENOME.key, 1, objectives={"a": mean, "b": mean}, extras=extras)


def test_extras_have_a_best_value_a_mean_a_panel_and_a_column(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    board = SearchBoard(notes, config.load_search(TINY))
    board.baseline("bn-relu", scored(0.5, 1.0, 4.0))
    for index, evaluation in enumerate((scored(0.5, 3.0, 8.0), scored(0.7, 2.0, 1.0), scored(0.6, 4.0, 3.0))):
        board.told(Candidate(index, Proposal(GENOME, None, "random"), ""), evaluation, recorded=False)
    assert notes.values["step"] == 2
    assert notes.values["objective/mean/best"] == 0.7
    assert notes.values["objective/latency/best"] == 2.0
    assert notes.values["objective/latency/mean"] == 3.0
    assert notes.values["objective/stability_margin/best"] == 8.0
    assert notes.values["objective/stability_margin/mean"] == pytest.approx(4.0)
    board.close()
    labels = [axes.get_xlabel() for axes in notes.figures["front"].axes]
    assert [label.split()[0].rstrip(",") for label in labels] == ["a", "latency", "stability_margin"]
    header, _, first, *_ = notes.texts["best_layers"].splitlines()
    assert header == "| candidate | mean | a | b | latency | stability_margin | formula | text |"
    assert first.startswith("| 1 | 0.7000 | 0.7000 | 0.7000 | 2 | 1 | ")


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
    monkeypatch.setattr(module, "draw_front", lambda _, front, **__: drawn.append(front) or Figure())
    sort, sizes = selection.tools.sortNondominated, list[int]()

    def counted(individuals: Sequence[Individual], *arguments: Any, **more: Any) -> Any:
        sizes.append(len(individuals))
        return sort(individuals, *arguments, **more)

    notes, members = Notes(tmp_path), list[Individual]()
    board = SearchBoard(notes, config.load_search(TINY))
    for index, evaluation in enumerate(random_scores(120)):
        with monkeypatch.context() as patch:
            patch.setattr(selection.tools, "sortNondominated", counted)
            board.told(Candidate(index, Proposal(GENOME, None, "random"), ""), evaluation, recorded=False)
        if evaluation.objectives:
            members.append(Individual.of(index, GENOME, evaluation.objectives, FULL_TRAINING, evaluation.extras))
        assert notes.values["objective/a/best"] == max(i.objectives["a"] for i in members)
        assert notes.values["objective/b/best"] == max(i.objectives["b"] for i in members)
        assert notes.values["objective/latency/best"] == min(i.extras["latency"] for i in members)
        assert notes.values["objective/stability_margin/best"] == max(i.extras["stability_margin"] for i in members)
        if index % module.PICTURES_EVERY == 0:
            assert drawn[-1] == {str(i.index) for i in selection.pareto_front(members)}
    assert len(drawn) > 6
    assert max(sizes) < len(members) / 2
