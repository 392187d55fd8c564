"""Pages of evaluations, studies and certificates: what is collected, and what a browser shows and does with it.

Oracles: scores, curves and names that are written here; kept tables, computed again; ``responses`` for layers.
"""

import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from browser import found_by, needs_chromium
from responses import Setting, response

from evonas.compare.comparison import Contender, compare
from evonas.compare.report import comparison_report
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.interface.result_record import ResultRecord, find_report, read_result
from evonas.interface.run_page import result_page
from evonas.report.page.charts import Intervals, Lines
from evonas.report.page.page import charting_library
from evonas.report.save import write_report
from evonas.search.outcome import Evaluation, Findings, Rejection

KEPT = Path(__file__).parents[2] / "runs" / "kept"
HOSTILE = "</script><img src=x onerror=document.title='stolen'><b>bold</b>"
TASKS = ("plain", f"task {HOSTILE}")
DOT = bytes.fromhex(  # a PNG file of one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6368000000820081dd436af40000000049454e44ae426082"
)
LAYERS = {"bn-relu": CATALOGUE["bn-relu"], HOSTILE: CATALOGUE["evonorm-s0"], "other": Genome.from_text("tanh(x)")}


def score_of(name: str, task: str, seed: int) -> float:
    return 0.5 + 0.01 * list(LAYERS).index(name) * (1 + TASKS.index(task)) + 0.001 * seed * len(name) / 3


def evaluation(name: str, task: str, seed: int) -> Evaluation:
    if (name, task, seed) == ("other", "plain", 3):
        return Evaluation("", seed, rejection=Rejection("training", "diverged", "plain", 7.0, None, HOSTILE))
    curves = {"training loss": ((1, 2.0 + seed), (2, 1.0 + seed))}
    score = score_of(name, task, seed)
    return Evaluation("", seed, objectives={task: score}, findings={task: Findings({"score": score}, curves, {})})


def written(folder: Path, stem: str = "results", **more: Any) -> Path:
    """An evaluation of three layers on two tasks under three seeds; returns its JSON file."""
    contenders = [Contender(name, genome, baseline=name == "bn-relu") for name, genome in LAYERS.items()]
    results = {
        genome.key: {(task, seed): evaluation(name, task, seed) for task in TASKS for seed in (1, 2, 3)}
        for name, genome in LAYERS.items()
    }
    comparison = compare(contenders, TASKS, [1, 2, 3], results)
    data = {"columns": {"plain": {"layer": {"eps": 1e-3}}}, **more, **comparison.as_json()}
    write_report(folder, comparison_report(f"Evaluation {HOSTILE}", comparison, data), stem)
    (folder / "config.toml").write_text(f"name = 'made'\n# {HOSTILE}\n")
    command = "/usr/bin/evonas evaluate 'x * sigmoid(x)' --run=old --steps 5 --resume --run here"
    (folder / "environment.json").write_text(json.dumps({"torch": "2", "command": command}))
    (folder / "dot.png").write_bytes(DOT)
    return folder / f"{stem}.json"


def record(folder: Path) -> ResultRecord:
    report = find_report(folder)
    assert report is not None
    return read_result(folder, report)


def test_an_evaluation_has_its_differences_curves_layers_and_commands(tmp_path: Path) -> None:
    found = read_result(tmp_path, written(tmp_path))
    assert found.noun == "evaluation"
    differences, curves = found.charts
    assert isinstance(differences, Intervals)
    assert isinstance(curves, Lines)
    assert list(differences.sets) == ["bn-relu"]
    bars = {task: {bar.name: bar for bar in bars} for task, bars in differences.sets["bn-relu"].items()}
    assert list(bars) == ["mean over tasks", *TASKS]
    gains = [100 * (score_of("other", "plain", seed) - score_of("bn-relu", "plain", seed)) for seed in (1, 2)]
    assert bars["plain"]["other"].dots == pytest.approx(gains)
    assert bars["plain"]["other"].mean == pytest.approx(fmean(gains))
    assert bars["plain"]["other"].note == "1 trainings failed"
    means = [fmean(100 * (score_of(HOSTILE, t, n) - score_of("bn-relu", t, n)) for t in TASKS) for n in (1, 2, 3)]
    half = 4.302653 * stdev(means) / 3**0.5  # Student's t with two degrees of freedom
    bar = bars["mean over tasks"][HOSTILE]
    assert (bar.low, bar.high) == pytest.approx((fmean(means) - half, fmean(means) + half))
    assert curves.panels["plain"]["bn-relu"] == [(1, 4.0, 3.0, 5.0), (2, 3.0, 2.0, 4.0)]
    assert {layer.name: layer.genome.key for layer in found.layers} == {n: g.key for n, g in LAYERS.items()}
    assert found.eps == 1e-3
    assert found.pictures == {"dot": DOT}
    assert found.as_json()["commands"][1:] == [
        ["go on with it", f"evonas evaluate 'x * sigmoid(x)' --steps 5 --run {tmp_path} --resume"],
        ["do it again", f"evonas evaluate 'x * sigmoid(x)' --steps 5 --run {tmp_path}-again"],
    ]


def test_a_reranking_in_the_folder_of_a_search_is_found(tmp_path: Path) -> None:
    written(tmp_path / "best", "rerank", settings={"layer": {"eps": 1e-6}})
    found = record(tmp_path)
    assert (found.noun, found.eps) == ("reranking", 1e-6)
    assert [command for _, command in found.as_json()["commands"]] == [f"evonas rerank {tmp_path}"]


def test_numbers_of_a_table_stay_numbers_and_texts_texts(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "results.csv").write_text("layer,seed,score,note\na,1,0.123456789012,\nb,2,nan,x\n")
    found = record(tmp_path).runs
    assert found == {"layer": ["a", "b"], "seed": [1.0, 2.0], "score": [0.123456789012, None], "note": ["", "x"]}


def test_columns_that_differ_tell_lines_apart_together() -> None:
    found = record(KEPT / "sparsity-smollm2")
    (name,) = found.axes.line
    assert name == "method, allocation, transform"
    assert {"dense", "teal, uniform", "wina, fisher, transform"} <= set(found.together[name])


@pytest.mark.parametrize("report", sorted(p.parent for n in ("results", "rerank") for p in KEPT.rglob(f"{n}.json")))
def test_kept_results_are_read(report: Path) -> None:
    if report.name == "pretrained":  # which a script wrote
        with pytest.raises(InputError, match="no report of evonas"):
            record(report)
        return
    found = record(report)
    assert any(block[0] == "table" for block in found.text)
    assert found.charts or found.runs
    assert len(found.pictures) == len(list(report.glob("*.png")))
    table = next((file for file in (report / "results.csv",) if file.exists()), None)
    assert {len(values) for values in found.runs.values()} == ({_rows(table)} if table else set())


def _rows(file: Path) -> int:
    with file.open(newline="") as opened:
        return sum(1 for _ in csv.reader(opened)) - 1


def test_a_report_of_another_kind_is_shown_with_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[1]")
    (tmp_path / "results.md").write_text("# Mine\n\nA sentence.\n")
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    found = record(tmp_path)
    assert (found.noun, found.text[1], found.charts) == ("study", ["paragraph", ["A sentence."]], ())
    assert found.runs == {"a": [1.0], "b": [2.0]}


def test_layers_of_the_settings_of_a_study_are_found() -> None:
    layers = {layer.name: layer.genome for layer in record(KEPT / "stability-layers").layers}
    assert layers["dyt"] == CATALOGUE["dyt"]
    assert layers["found-steady"].formula() == "max(x, abs(v0)) / std[gd](x)"
    assert "rmsnorm" not in layers  # whose norm is a setting of the model


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("results.json", "{", "is not JSON"),
        ("results.json", '{"columns": {}, "seeds": [1], "layers": [{"name": 3}]}', "is not what evonas writes"),
        ("results.json", '{"columns": {}, "seeds": [1], "layers": 7}', "is not what evonas writes"),
        ("results.csv", "a,b\n1\n", "rows of several lengths"),
        ("results.csv", 'a,b\n"1', "no table of comma-separated values"),
        ("results.csv", "", "no table of comma-separated values"),
        ("results.md", b"\xff", "is not UTF-8"),
        ("config.toml", "= 3", "is not TOML"),
    ],
)
def test_what_is_damaged_is_one_line(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    written(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as raised:
        record(tmp_path)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_picture_that_is_a_link_or_no_picture_is_left_out(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "secret").write_bytes(DOT)
    (tmp_path / "link.png").symlink_to(tmp_path / "secret")
    (tmp_path / "text.png").write_text("<svg onload=alert(1)>")
    found = record(tmp_path)
    assert (set(found.pictures), set(found.left_out)) == ({"dot"}, {"link", "text"})


LOOK = """
const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent);
const read = (node) => [node.dataset.value, Number(node.dataset.x), Number(node.dataset.exact)];
const values = () => [...document.querySelectorAll("[data-value]")].map(read);
const column = (place) => texts(`#runs .long-row > div:nth-child(${place})`);
const type = (node, text, event) => { node.value = text; node.dispatchEvent(new Event(event)); };
const found = { heading: document.querySelector("h1").textContent, sections: texts("section > h2") };
document.querySelector("#report [data-open]:not([data-open=bn-relu]):not([data-open=other])").click();
found.layer = document.querySelector("#layer h2").textContent;
found.address = location.hash.startsWith("#layer=");
type(document.querySelector("#layer input[type=range][data-knob=v1]"), "0.5", "input");
found.values = values();
found.shown = [document.querySelectorAll("#layer math").length, document.querySelectorAll("#layer .graph rect").length];
const bars = () => [...document.querySelectorAll("#chart-1 .ytick text")].map((node) => node.textContent);
found.bars = bars();
const plot = () => document.querySelector("#chart-1 .chart").data.find((trace) => trace.text);
found.means = plot().x;
type(document.querySelector("#chart-1 select"), "plain", "change");
found.plain = plot().x;
document.querySelector("#chart-1 .chart").emit("plotly_click", { points: [{ customdata: [0, "other"] }] });
found.clicked = document.querySelector("#layer h2").textContent;
found.all = column(4).length;
type(document.querySelector("#runs input[type=search]"), "plain bn-relu", "input");
found.filtered = [document.querySelector("#runs .count").textContent, column(1)];
type(document.querySelector("#runs input[type=search]"), "", "input");
const score = [...document.querySelectorAll("#runs .long-head button")].find((node) => node.textContent === "score");
score.click();
found.sorted = column(4);
found.code = document.querySelector("#configuration pre").textContent;
const count = (selector) => document.querySelectorAll(selector).length;
found.images = [count("img:not([src^='data:image/png'])"), count("main b:not(svg b)")];
found.picture = document.querySelector("#pictures img").naturalWidth;
found.name = document.title;
report(found);
"""


@needs_chromium
def test_a_reader_opens_layers_chooses_differences_filters_and_sorts(tmp_path: Path) -> None:
    folder = tmp_path / "run<img src=x onerror=alert(1)>"
    report = written(folder)
    page = result_page([read_result(folder, report)], charting_library())
    found = found_by(LOOK, page, tmp_path / "page.html")
    assert found["heading"] == f"Evaluation {HOSTILE}"
    assert found["sections"] == [
        *("Differences to baselines", "Training loss", "Report", "Layers", "All runs", "Pictures", "How it was made"),
    ]
    assert found["layer"] == HOSTILE
    assert found["address"]
    assert found["shown"] == [1, 7]
    for name in ("y", "slope"):
        inputs, got = torch.tensor([pair for kind, *pair in found["values"] if kind == name], dtype=torch.float64).T
        expected = response(LAYERS[HOSTILE], inputs, Setting(v1=0.5, eps=1e-3))[name == "slope"]
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)
    names = [HOSTILE, "other"]  # all seeds of the first have scores
    assert found["bars"] == [shortened(name) for name in reversed(names)]
    for task, seeds, key in ((TASKS, (1, 2, 3), "means"), (TASKS[:1], (1, 2, 3), "plain")):
        gains = {
            name: [
                fmean(100 * (score_of(name, each, seed) - score_of("bn-relu", each, seed)) for each in task)
                for seed in (seeds if name == HOSTILE else seeds[:2])
            ]
            for name in names
        }
        assert found[key] == pytest.approx([fmean(gains[name]) for name in reversed(names)])
    assert found["clicked"] == "other"
    assert found["all"] == 18
    assert found["filtered"] == ["3 of 18 runs", ["bn-relu"] * 3]
    scores = sorted((score_of(n, t, s) for n in LAYERS for t in TASKS for s in (1, 2, 3)), reverse=True)
    failed = score_of("other", "plain", 3)
    assert found["sorted"] == [f"{score:.4g}" for score in scores if score != failed] + [""]
    assert f"# {HOSTILE}" in found["code"]
    assert (found["images"], found["picture"], found["name"]) == ([0, 0], 1, f"evonas: {folder.name}")


def shortened(name: str) -> str:
    """As axes show it."""
    return name if len(name) <= 44 else f"{name[:43]}\u2026"


EXPLORE = """
const chart = document.querySelector("#runs .chart");
const lines = () => chart.data.map((trace) => [trace.legendgroup, trace.xaxis, trace.x, trace.y, trace.error_y.array]);
const found = { first: lines(), types: [chart.layout.xaxis.type, chart.layout.yaxis.type] };
const select = document.querySelector("#runs [data-axis=panel]");
found.panels = [...select.options].map((option) => option.value);
select.value = "seed";
select.dispatchEvent(new Event("change"));
found.second = lines().length;
document.querySelector("#runs input[type=checkbox]").click();
found.linear = chart.layout.xaxis.type;
const tabs = [...document.querySelectorAll(".tabs button")];
tabs[1].click();
found.other = document.querySelector("h2.one").textContent;
report(found);
"""


@needs_chromium
def test_runs_of_a_study_are_drawn_as_means_and_deviations(tmp_path: Path) -> None:
    folder = KEPT / "stability-layers"
    page = result_page([record(folder), record(KEPT / "steering-digits")], charting_library())
    found = found_by(EXPLORE, page, tmp_path / "page.html")
    groups: defaultdict[str, defaultdict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (folder / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["final_loss"]:
                groups[row["intervention"]][float(row["learning_rate"])].append(float(row["final_loss"]))
    assert [line[0] for line in found["first"]] == list(groups)
    for name, _, x, y, bars in found["first"]:
        assert x == sorted(groups[name])
        assert y == pytest.approx([fmean(groups[name][rate]) for rate in x])
        assert bars == pytest.approx([stdev(groups[name][rate]) for rate in x])
    assert found["types"] == ["log", "log"]
    assert {"", "intervention", "seed"} <= set(found["panels"])
    assert found["second"] == 3 * len(groups)
    assert found["linear"] == "linear"
    assert found["other"].startswith("steer-digits steering study, ")
