"""``evonas steer`` with two files of sentences, and interventions in plain models of transformers.

Oracles: maps fitted by hand on the same token ids; what the model gives inside ``Intervention.on``.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sparsity_models import save_llama

import evonas.steering
from evonas.steering import Intervention, fit
from evonas.tasks.language.pretrained import load_language_model
from studies import assert_one_line

Outcome = tuple[int, str, str]
TOXIC = ["the old cat hates dogs", "a red dog hates it", "very old and not new", "cats and dogs and cats", "no"]
CLEAN = ["she likes the house", "a tree runs in it", "he sees a small tree"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "toxic.txt", tmp_path / "clean.txt"
    source.write_text("\n".join([*TOXIC, TOXIC[0], ""]))
    target.write_text("\n\n".join(CLEAN))
    return source, target


def batch(tiny: Path, texts: list[str]) -> dict[str, torch.Tensor]:
    """Token ids after the first token of all texts, padded at the end."""
    tokenizer = load_language_model(str(tiny)).tokenizer
    rows = [[0, *tokenizer(text, add_special_tokens=False)["input_ids"]] for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def test_maps_of_two_files_are_those_fitted_by_hand(
    tiny: Path, texts: tuple[Path, Path], tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    source, target = texts
    options = ("--source", source, "--target", target, "--model", tiny)
    status, out, err = evonas("steer", *options, "--method", "mean-act", "--save", tmp_path / "maps")
    assert (status, err) == (0, "")
    assert f"wrote {tmp_path / 'maps'}" in out
    assert f"evonas generate {tiny} --steer {tmp_path / 'maps'}" in out
    model = load_language_model(str(tiny)).model
    wanted = fit(model, [batch(tiny, TOXIC[:4])], [batch(tiny, CLEAN)], method="mean-act")  # "no" is no sentence
    found = Intervention.load(tmp_path / "maps")
    assert found.sites == wanted.sites
    for one, two in zip(found.maps, wanted.maps, strict=True):
        torch.testing.assert_close(one.bias, two.bias)


def test_lineas_is_the_default_and_its_loss_falls(
    tiny: Path, texts: tuple[Path, Path], tmp_path: Path, evonas: Callable[..., Outcome], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--source", texts[0].name, "--target", texts[1].name, "--model", tiny)
    status, out, _ = evonas("steer", *options, "--sites", "**.o_proj", "--json")
    said = json.loads(out)
    assert (status, said["method"], said["folder"]) == (0, "lineas", "runs/steer-toxic-clean")
    assert said["sites"] == [f"model.layers.{number}.self_attn.o_proj" for number in range(2)]
    assert said["losses"][-1] < said["losses"][0]
    assert sorted(path.name for path in Path("runs/steer-toxic-clean").iterdir()) == [
        "intervention.json",
        "maps.safetensors",
    ]


def test_of_more_sentences_a_quarter_says_when_to_stop(
    tiny: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"the {n} old cats hate" for n in range(16)))
    (tmp_path / "b.txt").write_text("\n".join(f"she likes {n} new trees" for n in range(20)))
    options = ("--source", tmp_path / "a.txt", "--target", tmp_path / "b.txt", "--model", tiny)
    status, out, _ = evonas("steer", *options, "--save", tmp_path / "maps")
    assert status == 0
    found = Intervention.load(tmp_path / "maps")
    best = found.held.index(min(found.held))
    assert best > 0
    assert f"held-out sentences: loss from {found.held[0]:.3g} to {found.held[best]:.3g}, least after {best}" in out


def test_three_lines_steer_a_plain_model_of_transformers(tiny: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    ids = torch.arange(1, 9)[None]
    trained = load_language_model(str(tiny)).model
    fit(trained, [batch(tiny, TOXIC[:4])], [batch(tiny, CLEAN)], method="caa").save(tmp_path / "maps")
    with Intervention.load(tmp_path / "maps").on(trained, 0.7):
        wanted = trained(ids).logits

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    plain = model(ids).logits
    applied = evonas.steering.load(tmp_path / "maps").apply(model, strength=0.7)
    assert torch.equal(model(ids).logits, wanted)
    assert not torch.equal(wanted, plain)
    applied.remove()
    applied.remove()
    assert torch.equal(model(ids).logits, plain)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("STUDY: not given", "--source, --target and --model")),
        (("--source", "SOURCE"), ("--target, --model: not given", "together")),
        (("steer_digits", "--source", "SOURCE"), ("--source: given together with a study",)),
        (
            ("--source", "SOURCE", "--target", "nowhere.txt", "--model", "TINY"),
            ("nowhere.txt: cannot be read (No such file",),
        ),
        (("--source", "SOURCE", "--target", "SHORT", "--model", "TINY"), ("target", "1 sentences of 3 words", "2 or")),
        (("--source", "SOURCE", "--target", "TARGET", "--model", "no/such/model"), ("no/such/model",)),
        (("--source", "SOURCE", "--target", "TARGET", "--model", "TINY", "--method", "caaa"), ("'caaa'", "caa")),
        (("--source", "SOURCE", "--target", "TARGET", "--model", "TINY", "--sites", "**.x"), ("'**.x'", "matches")),
        (("--source", "SOURCE", "--target", "TARGET", "--model", "TINY", "--save", "TINY"), ("holds other files",)),
        (
            ("--source", "SOURCE", "--target", "TARGET", "--model", "TINY", "--run", "x"),
            ("--run: given with --source",),
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    tiny: Path,
    texts: tuple[Path, Path],
    tmp_path: Path,
    evonas: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    short = tmp_path / "short.txt"
    short.write_text("one two three\nfour five\n")
    places = {"SOURCE": texts[0], "TARGET": texts[1], "SHORT": short, "TINY": tiny}
    before = sorted(tmp_path.rglob("*"))
    assert_one_line(evonas("steer", *(places.get(argument, argument) for argument in arguments)), words)
    assert sorted(tmp_path.rglob("*")) == before
