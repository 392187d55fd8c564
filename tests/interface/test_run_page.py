"""The page of searches: what it collects, and what a browser shows and does with it.

Oracles: the candidates that were written into an archive by hand, and ``responses`` for numbers that are computed.
"""

import random
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import found_by, needs_chromium
from responses import Setting, response

from evonas import config
from evonas.compare.comparison import Contender, compare
from evonas.compare.report import comparison_report
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.interface.run_page import run_page
from evonas.interface.run_record import RunRecord, read_run
from evonas.interface.run_statistics import funnel, operator_kind
from evonas.report.page.page import charting_library
from evonas.report.save import write_report
from evonas.runs.folder import RunFolder, locked
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate, Evaluation, Origin, Proposal, Rejection, Remeasurement
from evonas.search.start import create_run

SETTINGS = config.load_search(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")
HOSTILE = "</script><img src=x onerror=document.title='stolen'><b>bold</b>"
LAYERS = (  # text, parent, operator, score
    ("sigmoid(x)", None, "random", 0.5),
    ("tanh(x)", 0, "node 4: sigmoid(0) -> tanh(0)", 0.6),
    ("a = rms[chw](x); b = div(x, a); c = mul(b, v1); max(c, v0)", None, "random", 0.7),
    ("a = std[chw](x); b = div(x, a); c = mul(b, v1); max(c, v0)", 2, "node 4: rms[chw](0) -> std[chw](0)", 0.8),
    ("neg(x)", 1, f"proposed by {HOSTILE}", None),
    ("a = std[chw](x); b = div(x, a); c = mul(b, v0); max(c, v0)", 3, "node 6: mul(5, 3) -> mul(5, 2)", 0.4),
)


def evaluation_of(genome: Genome, score: float | None, task: str = "images") -> Evaluation:
    if score is None:
        return Evaluation(genome.key, 1, 10, 2.0, rejection=Rejection("quality", HOSTILE, HOSTILE, inf, 0.2, HOSTILE))
    return Evaluation(genome.key, 1, 20, 4.0, {task: score}, extras={"latency": 2 - score})


def written(folder: Path, *, raced: bool = False, layers: Sequence[tuple[Any, ...]] = LAYERS) -> RunFolder:
    """A search with these layers, a baseline and, if asked for, two measurements behind the layers."""
    run = create_run(folder, SETTINGS)
    with Archive.open(run.archive_file) as archive:
        archive.event("started")
        archive.record_baseline("gn-relu", evaluation_of(CATALOGUE["gn-relu"], 0.65))
        for index, (text, parent, operator, score) in enumerate(layers):
            genome = Genome.from_text(text)
            origin = Origin("me", HOSTILE) if "proposed" in operator else None
            proposal = Proposal(genome, parent, operator, origin)
            out = ((Proposal(CATALOGUE["dyt"], None, "random"), Rejection("numerics", "output is not finite")),)
            archive.record(Candidate(index, proposal, genome.key, out), evaluation_of(genome, score))
        for place, candidate in enumerate((3, 2) if raced else ()):
            genome = Genome.from_text(layers[candidate][0])
            measurement = Remeasurement(len(layers) + place, 1, candidate, genome)
            archive.record_measurement(measurement, evaluation_of(genome, 0.6 + 0.1 * place), "{}")
        archive.event("stopped", "the budget is used up")
    return run


def page_of(*records: RunRecord) -> str:
    return run_page(records, charting_library())


def test_a_record_has_what_was_archived(tmp_path: Path) -> None:
    found = read_run(written(tmp_path / "run", raced=True).path).as_json()
    columns = found["layers"]
    assert columns["text"] == [text for text, *_ in LAYERS]
    assert columns["score"] == [score for *_, score in LAYERS]
    assert columns["parent"] == [parent for _, parent, *_ in LAYERS]
    assert columns["rejection"][4] == ["quality", HOSTILE, HOSTILE, "inf", 0.2, HOSTILE]
    assert columns["origin"][4] == ["me", HOSTILE]
    assert columns["change"][3] == "rms[chw] became std[chw]"
    assert [belief[2] for belief in columns["posterior"] if belief] == [1, 1, 2, 2, 1]
    assert {name for name, belief in zip(columns["id"], columns["posterior"], strict=True) if belief is None} == {"4"}
    threads = SETTINGS.execution.threads
    assert columns["cost"] == [threads * cost for cost in (8, 12, 16, 20, 22, 26)]
    assert found["state"] == "finished"
    assert [row["stage"] for row in found["funnel"]] == ["numerics", "quality", "scored"]
    assert [row["reached"] for row in found["funnel"]] == [12, 6, 5]
    (same,) = [row for row in found["operators"] if row["kind"] == "mutation: other operation"]
    assert (same["tried"], same["scored"], same["better"]) == (2, 2, 2)
    assert same["gain"] == pytest.approx(0.1)
    assert found["leaders"][-1][2] in (2, 3)


def test_a_search_without_candidates_and_one_that_is_running_are_read(tmp_path: Path) -> None:
    run, genome = written(tmp_path / "run", layers=()), Genome.from_text("tanh(x)")
    found = read_run(run.path).as_json()
    assert (found["state"], found["layers"], found["families"]) == ("finished", {}, [])
    assert [row["reached"] for row in found["funnel"]] == [0]
    with locked(run), Archive.open(run.archive_file) as archive:
        archive.record(Candidate(0, Proposal(genome, None, "random"), genome.key), evaluation_of(genome, 0.5))
        found = read_run(run.path).as_json()
    assert (found["state"], found["layers"]["text"]) == ("running", ["tanh(x)"])


def test_the_stages_of_a_funnel_are_in_their_order_and_users_own_before_training() -> None:
    rejections = {("quality", "poor"): 2, ("mine", "ugly"): 3, ("structure", "flat"): 5, ("guide", "worse"): 7}
    rows = funnel(rejections, told=6, scored=4)
    assert [(row["stage"], row["reached"], row["ended"]) for row in rows] == [
        ("structure", 21, 5),
        ("mine", 16, 3),
        ("guide", 13, 7),
        ("quality", 6, 2),
        ("scored", 4, 0),
    ]


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("random", "random"),
        ("initial", "start layer"),
        ("node 5: mul(4, 2) -> mul(4, 3)", "mutation: other input"),
        ("node 5: mul(4, 2) -> mul(4, 2)", "mutation: the same node"),
        ("node 5: rms[hw](4) -> rms[chw](4)", "mutation: other index set"),
        ("node 5: 0.5() -> add(1, 2)", "mutation: other operation"),
        ("node 5 of the donor put after node 0, donor 4", "crossover: put after"),
        ("node 5 of the donor in place of node 9, donor 4", "crossover: in place of"),
        ("proposed by me", "proposed from outside"),
        ("something new", "other"),
    ],
)
def test_operators_are_of_sorts(operator: str, kind: str) -> None:
    assert operator_kind(operator) == kind


LOOK = """
const click = (node) => node.dispatchEvent(new MouseEvent("click", { bubbles: true }));
const ids = (selector, name) => [...document.querySelectorAll(selector)].map((node) => node.dataset[name]);
const type = (node, text, event) => { node.value = text; node.dispatchEvent(new Event(event)); };
const read = (node) => [node.dataset.value, Number(node.dataset.x), Number(node.dataset.exact)];
const values = () => [...document.querySelectorAll("[data-value]")].map(read);
const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent);
const found = { title: document.querySelector("#layer h2").textContent, first: values() };
found.math = document.querySelectorAll("#layer math").length;
found.boxes = document.querySelectorAll("#layer .graph rect").length;
found.lineage = ids("#layer [data-member]", "member");
found.changes = texts("#layer .change");
found.lines = document.querySelectorAll("#progress .scatterlayer .trace").length;
const knob = document.querySelector("#layer input[type=range][data-knob=v1]");
type(knob, "-0.5", "input");
found.moved = values();
found.address = location.hash;
const search = document.querySelector("#layers input");
type(search, "std nowhere", "input");
found.nothing = [document.querySelector("#layers .count").textContent, ids(".long-row", "id")];
type(search, "STD[chw] div", "input");
found.words = ids(".long-row", "id");
type(search, "", "input");
const heads = [...document.querySelectorAll(".long-head button")];
found.sorted = ids(".long-row", "id");
click(heads[0]);
found.downwards = ids(".long-row", "id");
click(heads[0]);
found.upwards = ids(".long-row", "id");
type(document.querySelector("#layers select"), "quality", "change");
found.stage = ids(".long-row", "id");
click(document.querySelector(".long-row"));
found.rejected = document.querySelector("#layer .facts").textContent;
found.reason = document.querySelector("#layer .headline").textContent;
found.images = document.querySelectorAll("img, b").length;
document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
found.closed = [document.querySelector("#layer").hidden, location.hash];
found.name = document.title;
report(found);
"""


def assert_computed(values: list[Any], genome: Genome, setting: Setting) -> None:
    for name in ("y", "slope"):
        pairs = [(x, value) for kind, x, value in values if kind == name]
        assert len(pairs) == 9
        inputs, got = torch.tensor(pairs, dtype=torch.float64).T
        expected = response(genome, inputs, setting)[name == "slope"]
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)


@needs_chromium
def test_a_reader_opens_a_layer_moves_a_slider_filters_and_sorts(tmp_path: Path) -> None:
    record = read_run(written(tmp_path / "run<img src=x onerror=alert(1)>").path)
    found = found_by(LOOK, page_of(record), tmp_path / "page.html", "layer=3&v0=0.3&mu=1&sigma=0.5")
    genome, eps = Genome.from_text(LAYERS[3][0]), SETTINGS.layer.eps
    assert found["title"] == "#3"
    assert_computed(found["first"], genome, Setting(0.3, 1.0, 1.0, 0.5, eps))
    assert_computed(found["moved"], genome, Setting(0.3, -0.5, 1.0, 0.5, eps))
    assert found["address"] == "#layer=3&v0=0.3&v1=-0.5&mu=1&sigma=0.5"
    assert (found["math"], found["boxes"], found["lines"]) == (1, 7, 1)
    assert found["lineage"] == ["2", "3", "5"]
    assert found["changes"] == ["random", "rms[chw] became std[chw]", "v1 became v0"]
    assert found["nothing"] == ["0 of 6 layers", []]
    assert sorted(found["words"]) == ["3", "5"]
    assert found["sorted"] == ["3", "2", "1", "0", "5", "4"]
    assert found["downwards"] == ["5", "4", "3", "2", "1", "0"]
    assert found["upwards"] == ["0", "1", "2", "3", "4", "5"]
    assert found["stage"] == ["4"]
    assert found["closed"] == [True, ""]
    assert found["reason"] == f"quality: {HOSTILE}"
    assert HOSTILE in found["rejected"]
    assert (found["images"], found["name"]) == (0, f"evonas: {SETTINGS.name}")


RERANKED = """
const found = { buttons: [...document.querySelectorAll("#reranking [data-open='#1']")].length };
document.querySelector("#reranking [data-open='#1']").click();
found.title = document.querySelector("#layer h2").textContent;
document.querySelector("#reranking .chart").emit("plotly_click", { points: [{ customdata: [0, "#1"] }] });
found.again = document.querySelector("#layer h2").textContent;
report(found);
"""


@needs_chromium
def test_the_reranking_of_a_search_is_on_its_page_and_opens_its_candidates(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    names = {"#1": Genome.from_text(LAYERS[3][0]), "gn-relu": CATALOGUE["gn-relu"]}
    results = {
        genome.key: {("images", seed): Evaluation("", seed, objectives={"images": 0.1 * seed}) for seed in (5, 6)}
        for genome in names.values()
    }
    contenders = [Contender(name, genome, baseline=name == "gn-relu") for name, genome in names.items()]
    comparison = compare(contenders, ["images"], [5, 6], results)
    data = {"settings": {"layer": {"eps": 1e-5}}, **comparison.as_json()}
    for layer in data["layers"]:
        layer["candidate"] = 3 if layer["name"] == "#1" else None
    write_report(run.best_folder, comparison_report("again", comparison, data), "rerank")
    found = found_by(RERANKED, page_of(read_run(run.path)), tmp_path / "page.html")
    assert found["buttons"] > 1
    assert (found["title"], found["again"]) == ("#3", "#3")


BESIDE = """
const tabs = [...document.querySelectorAll(".tabs button")];
const found = { tabs: tabs.map((tab) => tab.textContent), title: document.querySelector("#layer h2").textContent };
found.again = document.querySelectorAll("#again .scatterlayer .point").length;
document.querySelector("#front .chart").emit("plotly_click", { points: [{ customdata: [0, "3"] }] });
found.point = [document.querySelector("#layer h2").textContent, location.hash];
document.querySelector("#layer [data-open='5']").click();
found.child = [document.querySelector("#layer h2").textContent, location.hash];
tabs[1].dispatchEvent(new MouseEvent("click", { bubbles: true }));
found.empty = document.querySelector("#again").textContent;
found.names = [...document.querySelectorAll("#progress .legendtext")].map((node) => node.textContent);
report(found);
"""


@needs_chromium
def test_several_searches_are_side_by_side(tmp_path: Path) -> None:
    runs = [written(tmp_path / "one", raced=True), written(tmp_path / "two")]
    found = found_by(
        BESIDE, page_of(*(read_run(run.path) for run in runs)), tmp_path / "page.html", "run=2&layer=gn-relu"
    )
    assert found["tabs"] == ["one", "two"]
    assert found["title"] == "gn-relu of two"
    assert found["point"] == ["#3 of one", "#run=1&layer=3"]
    assert found["child"] == ["#5 of one", "#run=1&layer=5"]
    assert found["again"] == 5
    assert "measured none of its layers again" in found["empty"]
    posterior = "one: posterior mean of the best layer, 95 %"
    assert found["names"] == ["one: best so far", posterior, "two: best so far"]


LONG = """
const scroll = document.querySelector(".long-scroll");
const found = { count: document.querySelector("#layers .count").textContent };
found.rows = document.querySelectorAll(".long-row").length;
scroll.scrollTop = 30 * 1500;
scroll.dispatchEvent(new Event("scroll"));
found.ids = [...document.querySelectorAll(".long-row")].map((node) => Number(node.dataset.id));
report(found);
"""


@needs_chromium
@pytest.mark.slow
def test_of_thousands_of_rows_those_in_view_are_elements(tmp_path: Path) -> None:
    rng, ops = random.Random(1), ("tanh", "sigmoid", "neg", "abs")
    text = lambda: f"a = {rng.choice(ops)}(x); b = {rng.choice(ops)}(a); mul(b, v1)"  # noqa: E731
    layers = [(text(), None, "random", 1 - index / 4000) for index in range(3000)]
    found = found_by(LONG, page_of(read_run(written(tmp_path / "run", layers=layers).path)), tmp_path / "page.html")
    assert found["count"] == "3,000 of 3,000 layers"
    assert 10 < found["rows"] < 60
    assert found["ids"] == list(range(found["ids"][0], found["ids"][0] + len(found["ids"])))
    assert found["ids"][0] < 1500 < found["ids"][-1]
