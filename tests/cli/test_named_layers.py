"""What a run found, by name: ``top``, ``show`` and ``export``.

Oracles: the layers that were given; the ranking and the front worked out from the scores; a process without evonas.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evonas import config
from evonas.config.section import dump
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate, Evaluation, Proposal
from evonas.search.start import create_run
from studies import assert_one_line

TINY = str(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")


Outcome = tuple[int, str, str]


def test_top_prints_the_ranking_as_a_table_and_as_json(finished: Path, evonas: Callable[..., Outcome]) -> None:
    status, out, _ = evonas("top", finished)
    assert status == 0
    assert "gn-relu" in out
    assert "equivalence" in out
    status, out, _ = evonas("top", finished, "--json", "-n", 4)
    entries = json.loads(out)
    assert [e["rank"] for e in entries] == [1, 2, 3, 4, 0]
    assert {"key", "text", "formula", "objectives"} <= set(entries[0])
    assert all(set(e["objectives"]) == {"preact_resnet", "mobilenet_v2"} for e in entries)
    means = [e["mean"] for e in entries[:4]]
    assert means == sorted(means, reverse=True)
    assert Genome.from_text(entries[0]["text"]).key == entries[0]["key"]
    assert [e["nodes"] for e in entries] == [Genome.from_text(e["text"]).graph.number_of_nodes() for e in entries]


def test_a_layer_of_language_models_says_which_text_it_was_trained_on(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    found = RunFolder(run).config()
    spoken = found.model_copy(update={"tasks": (config.TaskConfig(transformer="16x1", context=8),)})
    (run / "config.toml").write_text(dump(spoken))
    status, out, _ = evonas("show", f"{run}#1", "--json")
    assert status == 0
    assert "; topics, " in json.loads(out)[0]["provenance"]


def test_show_takes_every_way_to_name_a_layer(finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    s0 = CATALOGUE["evonorm-s0"]
    file = tmp_path / "layer.json"
    file.write_text(s0.to_json())
    for name in ("evonorm-s0", s0.to_text(), s0.formula(), s0.to_json(), file):
        status, out, _ = evonas("show", name, "--json")
        assert status == 0
        assert [e["key"] for e in json.loads(out)] == [s0.key]
    status, out, _ = evonas("show", f"{finished}#1", "--json")
    first = json.loads(out)[0]
    assert status == 0
    assert first["objectives"]
    assert "rank 1" in first["provenance"]
    assert "digits, " in first["provenance"]
    status, out, _ = evonas("show", "evonorm-s0", "--png", tmp_path / "s0.png")
    assert status == 0
    assert "x * sigmoid(x * v1) / std[ghw](x)" in out
    assert (tmp_path / "s0.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("formula", ["-tanh(x)", "-2 * v1 * x", "-x", "-(x + v0)^2", "-std[hw](x)", "- x * v0"])
def test_a_formula_may_begin_with_a_minus(formula: str, evonas: Callable[..., Outcome]) -> None:
    status, out, err = evonas("show", formula, "--json")
    assert status == 0, err
    assert json.loads(out)[0]["key"] == Genome.from_formula(formula).key
    assert json.loads(out)[0]["name"] == formula


def test_a_formula_is_refused_in_one_line_where_it_goes_wrong(evonas: Callable[..., Outcome]) -> None:
    assert_one_line(evonas("show", "x * sigmod(x)"), ["LAYER: formula", "character 5", "did you mean 'sigmoid'?"])
    assert_one_line(evonas("show", "evonorm_s0"), ["did you mean 'evonorm-s0'?", "RUN#rank", "a formula"])


def test_export_says_the_name_of_the_class_and_takes_one(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    for arguments, name in (
        ((), "EvonormS0"),
        (("--name", "MyLayer"), "MyLayer"),
        (("--name", "Variance"), "LayerVariance"),
    ):
        file = tmp_path / "layer.py"
        status, out, _ = evonas("export", "evonorm-s0", "-o", file, *arguments)
        assert (status, out.split()) == (0, ["wrote", str(file), "with", "the", "class", name])
        assert f"class {name}(nn.Module):" in file.read_text()
    for name in ("1st", "class", "My Layer", ""):
        assert_one_line(
            evonas("export", "evonorm-s0", "-o", tmp_path / "no.py", "--name", name), ["--name", repr(name)]
        )
    assert not (tmp_path / "no.py").exists()


RELATED = ("tanh(x + x)", "sigmoid(x)", "-tanh(x)", "abs(x)", "tanh(x) + tanh(x)", "sigmoid(x) * 3")


@pytest.fixture
def related(tmp_path: Path) -> Path:
    """A run with relatives, each a little worse than the one before."""
    folder = create_run(tmp_path / "related", config.load_search(TINY))
    with Archive.open(folder.archive_file) as archive:
        for index, text in enumerate(RELATED):
            genome = Genome.from_formula(text)
            evaluation = Evaluation(genome.key, 1, objectives={"a": 0.9 - index / 10})
            archive.record(Candidate(index, Proposal(genome, None, "random"), ""), evaluation)
    return folder.path


def rows(out: str) -> list[list[str]]:
    """Names and formulas of the rows of layers."""
    return [[cell.strip() for cell in line.split("│")[1:3]] for line in out.splitlines() if line.startswith("│ #")]


def test_relatives_share_a_row_and_keep_their_ranks(related: Path, evonas: Callable[..., Outcome]) -> None:
    folded = [["#1", "tanh(2 * x) (and 2 relatives)"], ["#2", "sigmoid(x) (and 1 relative)"], ["#4", "abs(x)"]]
    _, out, _ = evonas("top", related)
    assert rows(out) == folded
    assert "--all gives each a row" in out
    assert rows(evonas("top", related, "-n", 2)[1]) == folded[:2]
    _, out, _ = evonas("top", related, "--all")
    assert [name for name, _ in rows(out)] == [f"#{rank}" for rank in range(1, 7)]
    assert "relatives)" not in out
    entries = json.loads(evonas("top", related, "--json")[1])
    groups = [entry["group"] for entry in entries]
    assert [entry["rank"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [groups.index(group) for group in groups] == [0, 1, 0, 3, 0, 1]
    assert json.loads(evonas("show", f"{related}#5", "--json")[1])[0]["key"] == Genome.from_formula(RELATED[4]).key


def test_the_exported_module_runs_without_evonas(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    module = tmp_path / "my_layer.py"
    status, _, _ = evonas("export", f"{finished}#1", "-o", module)
    assert status == 0
    script = (
        "import sys, importlib.util, torch\n"
        f"spec = importlib.util.spec_from_file_location('my_layer', {str(module)!r})\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "layers = [v for v in vars(m).values() if isinstance(v, type) and v.__module__ == 'my_layer']\n"
        "y = layers[-1](8)(torch.randn(2, 8, 5, 4))\n"
        "assert y.shape == (2, 8, 5, 4) and not any(n.startswith('evonas') for n in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_rank_that_is_not_there_is_one_line(finished: Path, evonas: Callable[..., Outcome]) -> None:
    for rank in ("0", "99", "first"):
        assert_one_line(evonas("show", f"{finished}#{rank}"), [repr(rank), "a rank from 1 to"])


@pytest.mark.parametrize("command", ["", "search", "rerank", "top", "show", "export"])
def test_every_help_has_an_example(command: str, evonas: Callable[..., Outcome]) -> None:
    status, out, _ = evonas(*([command] if command else []), "--help")
    assert status == 0
    assert "Example" in out or "evonas search evonorm_s" in out  # the command line itself ends with a first search
    assert os.linesep in out


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A run whose scores and extras are made up; few values, so that layers tie and dominate."""
    folder, rng = create_run(tmp_path / "measured", config.load_search(TINY)), random.Random(2)
    genomes = [Genome.from_text(f"{op}(x)") for op in ("tanh", "exp", "abs", "sqrt", "sigmoid", "square", "neg", "log")]
    with Archive.open(folder.archive_file) as archive:
        for index, genome in enumerate(genomes):
            extras = {"latency": float(rng.randrange(1, 4)), "stability_margin": 2.0 ** rng.randrange(3)}
            objectives = {"a": rng.randrange(4) / 4, "b": rng.randrange(4) / 4}
            evaluation = Evaluation(genome.key, 1, objectives=objectives, extras=extras)
            archive.record(Candidate(index, Proposal(genome, None, "random"), ""), evaluation)
        known = Evaluation(CATALOGUE["gn-relu"].key, 1, objectives={"a": 0.5, "b": 0.5}, extras={"latency": 1.25})
        archive.record_baseline("gn-relu", known)
    return folder.path


def gains(entry: dict[str, Any]) -> list[float]:
    return [*entry["objectives"].values(), -entry["extras"]["latency"], entry["extras"]["stability_margin"]]


def dominated(entry: dict[str, Any], by: dict[str, Any]) -> bool:
    pairs = list(zip(gains(by), gains(entry), strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def test_top_pareto_leaves_what_nobody_dominates_with_its_rank(measured: Path, evonas: Callable[..., Outcome]) -> None:
    *ranked, _ = json.loads(evonas("top", measured, "--json", "-n", 99)[1])
    expected = [entry for entry in ranked if not any(dominated(entry, other) for other in ranked)]
    assert 1 < len(expected) < len(ranked)
    status, out, _ = evonas("top", measured, "--json", "--pareto", "-n", 99)
    *found, baseline = json.loads(out)
    assert status == 0
    assert found == expected
    assert (baseline["name"], baseline["extras"]) == ("gn-relu", {"latency": 1.25})
    assert evonas("show", f"{measured}#{found[-1]['rank']}", "--json")[1].count(found[-1]["key"])


def test_top_shows_extras_as_columns_and_says_what_they_mean(measured: Path, evonas: Callable[..., Outcome]) -> None:
    for arguments in ((), ("--pareto",)):
        status, out, _ = evonas("top", measured, *arguments)
        assert status == 0
        header = next(line for line in out.splitlines() if "formula" in line)
        assert header.index("mean") < header.index("latency") < header.index("stability_margin")
        baseline = next(line for line in out.splitlines() if "gn-relu" in line)
        assert baseline.replace("│", " ").split()[-5:] == ["0.5000", "0.5000", "0.5000", "1.25", "-"]
        assert "latency: forward and backward time / that of BN-ReLU, of tokens LN-GELU, lower is better" in out
        assert "stability_margin: largest learning rate that trains / the default, higher is better" in out


def test_the_front_of_a_run_without_extras_is_that_of_its_accuracies(
    finished: Path, evonas: Callable[..., Outcome]
) -> None:
    *ranked, _ = json.loads(evonas("top", finished, "--json", "-n", 99)[1])
    *found, _ = json.loads(evonas("top", finished, "--json", "--pareto", "-n", 99)[1])
    scores = {entry["name"]: list(entry["objectives"].values()) for entry in ranked}
    beaten = {
        name
        for name, values in scores.items()
        for others in scores.values()
        if values != others and all(x <= y for x, y in zip(values, others, strict=True))
    }
    assert [entry["name"] for entry in found] == [name for name in scores if name not in beaten]
    assert all(entry["extras"] == {} for entry in ranked)
