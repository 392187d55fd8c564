"""The card of a layer. Oracles: the files that the commands wrote, and what is not there."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import found_by, needs_chromium
from command import status_of
from responses import Setting, response

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.interface.card import running
from evonas.interface.card.card import Card, make_card
from evonas.interface.card.sections import SECTIONS, commands
from evonas.interface.card.words import markdown
from evonas.interface.card.writing import write_cards
from evonas.report.statistics import Interval
from evonas.search.named import find_layer

Call = Callable[..., tuple[int, str, str]]
LAYER, KEY = "evonorm-s0", CATALOGUE["evonorm-s0"].key
DIGITS = ("--set", "data.train=64", "--set", "data.validation=60")
TASK = 'architecture="preact_resnet", width=0.125, depth=[1], unstrided=1'
TRAINING = "batch_size=16, steps=3, learning_rate=0.1"
COMPONENTS = [
    f"networks=[{{task={{{TASK}}}, training={{{TRAINING}}}}}]",
    'components=["z-loss", "teal", "lineas", "mip"]',
    "seeds=[1, 2]",
    "rates.factors=[1.0, 3.0]",
    "concept={steps=2, strengths=[1.0], samples=8}",
    "hypernetwork={steps=4, check_every=2, learning_rates=[0.001], hidden=[4], batch_size=8}",
    f'layers=["{LAYER}", "bn-relu"]',
]
LADDER = [
    f"tasks=[{{{TASK}}}]",
    "training={batch_size=16, steps=2, learning_rate=0.1}",
    "ladder={steps=[1, 2], pilot_seeds=1, seeds=2}",
]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation, a study of components and a certificate, each as small as it can be."""
    folder = tmp_path_factory.mktemp("records")
    small = [*DIGITS, "--workers", "0"]
    evaluated = ["--settings", "card_images", "--baseline", "bn-relu", "--seeds", "2", "--set", f"tasks=[{{{TASK}}}]"]
    evaluated += ["--set", "training={batch_size=16, steps=3, learning_rate=0.1}"]
    assert status_of("evaluate", LAYER, *evaluated, *small, "--run", folder / "accuracy") == 0
    changes = [word for change in COMPONENTS for word in ("--set", change)]
    assert status_of("components", "components", *changes, *small, "--run", folder / "components") == 0
    ladder = [word for change in LADDER for word in ("--set", change)]
    assert (
        status_of(
            "certify",
            LAYER,
            *ladder,
            *small,
            "--set",
            "data.name='digits'",
            "--set",
            "data.path=''",
            "--set",
            "data.size=0",
            "--run",
            folder / "certificate",
        )
        == 0
    )
    return folder


@pytest.fixture(scope="module")
def card(records: Path) -> Card:
    return make_card(LAYER, records)


def section(card: Card, name: str) -> dict[str, Any]:
    (found,) = (one for one in card.as_json()["sections"] if one["name"] == name)
    return dict(found)


def test_scores_and_differences_are_those_of_the_evaluation(card: Card, records: Path) -> None:
    results = json.loads((records / "accuracy" / "results.json").read_text())
    (entry,) = (one for one in results["layers"] if one["name"] == LAYER)
    (found,) = (one.found for one in card.sections if one.kind.name == "accuracy")
    assert found is not None
    row = dict(zip(found.tables[0].columns, found.tables[0].rows[0], strict=True))
    assert row["network"] == "preact_resnet"
    assert row["this layer"].mean == pytest.approx(entry["tasks"]["preact_resnet"]["mean"])  # type: ignore[union-attr]
    difference = row["minus bn-relu, points"]
    assert isinstance(difference, Interval)
    assert difference.mean == pytest.approx(100 * entry["differences"]["bn-relu"]["tasks"]["preact_resnet"]["mean"])
    costs = section(card, "costs")["tables"][0]
    assert dict(zip(costs["columns"], costs["rows"][0], strict=True))["parameters"] != "-"


def test_effects_of_components_stand_beside_those_of_the_other_layer(card: Card, records: Path) -> None:
    cells = json.loads((records / "components" / "results.json").read_text())["cells"]
    for name, component in (("sparsity", "teal"), ("steering", "lineas"), ("hypernetwork", "mip")):
        (found,) = (one.found for one in card.sections if one.kind.name == name)
        (recorded,) = (one for one in cells if (one["component"], one["layer"]) == (component, LAYER))
        if recorded["effect"] is None:
            assert found is None
            continue
        assert found is not None
        rows = [dict(zip(found.tables[0].columns, row, strict=True)) for row in found.tables[0].rows]
        assert rows[0]["layer"] == "this layer"
        effect = rows[0][component]
        assert isinstance(effect, Interval)
        assert effect.mean == pytest.approx(recorded["effect"]["mean"])
    stability = section(card, "stability")
    assert stability["tables"][0]["columns"][:4] == ["network", "layer", "1x", "3x"]


def test_a_certificate_gives_gains_and_what_may_be_claimed(card: Card) -> None:
    found = section(card, "certificate")
    assert len(found["tables"][0]["rows"]) == 2  # the base point, and the other number of steps
    assert found["notes"]
    assert "evonas certify" in found["recorded"]["command"]


def test_what_is_not_recorded_is_said_to_be_missing_with_a_command_that_is_accepted(
    card: Card, tmp_path: Path, evonas: Call
) -> None:
    assert {one.kind.title for one in card.sections if one.found is None} >= {
        "Instance segmentation",
        "Image synthesis",
    }
    bare = make_card(LAYER, tmp_path / "none")
    assert len(bare.missing) == len(SECTIONS)
    for one in bare.sections:
        program, verb, *rest = shlex.split(one.command)
        assert program == "evonas"
        status, _, told = evonas(verb, *rest, "--set", "nothing=1")
        assert status == 2
        assert "nothing: unknown key; accepted: " in told, told  # all else that it says was understood


def test_layers_for_tokens_have_no_sections_about_maps(tmp_path: Path, evonas: Call) -> None:
    bare = make_card("rmsnorm", tmp_path / "none")
    senseless = {one.kind.name: one.missing for one in bare.sections if not one.command}
    assert senseless.keys() == {"detection", "synthesis"}
    assert all("tokens" in why for why in senseless.values())
    words = commands("rmsnorm", find_layer("rmsnorm"), "btd", ())["certificate"]
    assert "nothing: unknown key; accepted: " in evonas(*words, "--set", "nothing=1")[2]


def test_records_are_found_below_other_folders(card: Card, records: Path, tmp_path: Path) -> None:
    found = make_card(LAYER, tmp_path / "none", [records])
    assert [one.found is None for one in found.sections] == [one.found is None for one in card.sections]
    assert len(make_card("gn-relu", tmp_path / "none", [records]).missing) == len(SECTIONS)
    with pytest.raises(InputError, match="is no folder"):
        make_card(LAYER, records, [tmp_path / "nowhere"])


def test_the_command_writes_cards_as_markdown_and_json(card: Card, records: Path, tmp_path: Path, evonas: Call) -> None:
    text = markdown(card)
    assert all(f"## {kind.title}" in text for kind in SECTIONS)
    assert text.count("Not measured yet") == len(card.missing)
    write_cards([card], tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text()) == [json.loads(json.dumps(card.as_json()))]
    status, out, _ = evonas("card", LAYER, "rmsnorm", "-o", tmp_path / "two.md", "--from", records, "--run", tmp_path)
    assert status == 0
    assert "missing: " in out
    assert (tmp_path / "two.md").read_text().count("\n# ") == 1


@needs_chromium
def test_the_page_shows_every_section_its_numbers_and_the_response_of_the_layer(
    card: Card, records: Path, tmp_path: Path
) -> None:
    write_cards([card, make_card("rmsnorm", tmp_path / "none")], tmp_path / "card.html")
    script = """
    const cards = [...document.querySelectorAll("article.card")].map((card) => ({
      name: card.dataset.card,
      titles: [...card.querySelectorAll("section > h2")].map((node) => node.textContent),
      missing: [...card.querySelectorAll("p.missing")].length,
      cells: [...card.querySelectorAll("td")].map((node) => node.textContent),
      graph: card.querySelectorAll(".graph svg").length,
      formula: card.querySelectorAll(".formula math").length,
    }));
    report(cards);
    """
    page = (tmp_path / "card.html").read_text()
    first, second = found_by(script, page, tmp_path / "shown.html")
    assert (first["name"], second["name"]) == (LAYER, "rmsnorm")
    assert first["titles"][3:] == second["titles"][3:] == [kind.title for kind in SECTIONS]
    assert (first["missing"], second["missing"]) == (len(card.missing), len(SECTIONS))
    assert (first["graph"], first["formula"]) == (1, 1)
    cells = json.loads((records / "components" / "results.json").read_text())["cells"]
    (teal,) = (one["effect"] for one in cells if (one["component"], one["layer"]) == ("teal", LAYER))
    assert any(cell.startswith(f"{teal['mean']:+.3f} [") for cell in first["cells"])
    setting = Setting(v1=1.0)
    found, _ = response(CATALOGUE[LAYER], torch.tensor([1.0, 3.0], dtype=torch.float64), setting)
    ys = [f"{value:.4g}" for value in found.tolist()]
    assert set(ys) <= set(first["cells"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "card.pdf"], "--output: card.pdf"),
        (["--budget", "5m"], "--budget: given without --run-missing"),
        (["--budget", "20", "--run-missing"], "--budget: 20"),
        (["--from", "nowhere"], "nowhere: is no folder"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, told = evonas("card", LAYER, *words)
    assert (status, len(told.splitlines())) == (2, 1)
    assert said in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[1]", '{"cells": 1, "sweeps": []}', '{"columns": {}, "layers": [1]}'])
def test_a_damaged_record_is_one_line(content: str, tmp_path: Path, evonas: Call) -> None:
    for kind in ("accuracy", "components"):
        (tmp_path / KEY / kind).mkdir(parents=True)
        (tmp_path / KEY / kind / "results.json").write_text(content)
    status, _, told = evonas("card", LAYER, "-o", tmp_path / "card.md", "--run", tmp_path)
    if content == "[1]":  # of another kind
        assert status == 0
        return
    assert (status, len(told.splitlines())) == (2, 1)
    assert not (tmp_path / "card.md").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the commands of a card are for a test."""
    found: dict[str, list[str]] = {}
    monkeypatch.setattr(running, "commands", lambda *_: found)
    return found


@pytest.mark.slow
def test_what_is_missing_is_measured_within_the_budget_and_goes_on_later(
    quick: dict[str, list[str]], tmp_path: Path
) -> None:
    changes = [word for change in COMPONENTS for word in ("--set", change)]
    quick["components"] = ["components", "components", *changes, *DIGITS]
    quick["accuracy"] = ["evaluate", LAYER, "--settings", "card_images"]  # minutes
    said: list[list[str]] = []

    def measure(budget: running.Budget) -> list[running.Done]:
        found = make_card(LAYER, tmp_path)
        return running.measure_missing(
            found, tmp_path, (), budget=budget, workers=1, on_start=lambda words: said.append(list(words))
        )

    slow = quick.pop("accuracy")
    assert [(one.record, one.status) for one in measure(running.Budget())] == [("components", 0)]
    quick["accuracy"] = slow
    found = make_card(LAYER, tmp_path)
    assert "Activation sparsity" not in found.missing
    assert "Accuracy" in found.missing
    assert [(one.record, one.status) for one in measure(running.Budget(30))] == [("accuracy", 130)]
    first = json.loads((tmp_path / "accuracy" / "time.json").read_text())
    assert 25 < first["wall"] < 100
    assert first["core"] > 1
    assert (tmp_path / "accuracy" / "results.sqlite").is_file()
    assert "--resume" not in said[-1]
    assert [one.record for one in measure(running.Budget(10))] == ["accuracy"]
    assert "--resume" in said[-1]
    assert json.loads((tmp_path / "accuracy" / "time.json").read_text())["wall"] > first["wall"] + 9
    assert measure(running.Budget(0)) == []
