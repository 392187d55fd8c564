"""``evonas generate``.

Oracles: the tokens of transformers' own ``generate``, on the dense model, on the sparse one and inside an
intervention.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sparsity_models import save_llama

from evonas.interface import generating
from evonas.interface.generating import speakers_of
from evonas.sparsity import load, sparsify
from evonas.steering import Intervention, fit
from evonas.studies.sparsity.sites import linear_sites
from evonas.studies.sparsity.speed_table import measure_speeds
from evonas.tasks.language.generation import Sampling, Speaker, prompt_ids, take_turns
from evonas.tasks.language.pretrained import LanguageModel, load_language_model
from studies import assert_one_line

Outcome = tuple[int, str, str]
PROMPT = "The cat sees"
TOKENS = 9


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def sparse(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse model, with a table of speeds, which would take seconds to measure."""
    folder = tmp_path_factory.mktemp("models") / "sparse"
    model = load_language_model(str(tiny)).model
    sparsify(model, method="teal", sparsity=0.6).save(folder)
    shapes = {(site.inputs, site.outputs) for site in linear_sites(load_language_model(str(tiny)).model)}
    measure_speeds(shapes, folder=folder, cold=1)
    return folder


@pytest.fixture(scope="module")
def maps(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "maps"
    g = torch.Generator().manual_seed(0)
    source, target = ({"input_ids": torch.randint(*span, (6, 8), generator=g)} for span in ((1, 99), (99, 200)))
    fit(load_language_model(str(tiny)).model, [source], [target], method="caa").save(folder)
    return folder


def greedy(language: LanguageModel, model: Any) -> list[int]:
    ids = prompt_ids(language, PROMPT, TOKENS)[None]
    settings = {"do_sample": False, "max_new_tokens": TOKENS, "pad_token_id": 0}
    found = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    new: list[int] = found[0, ids.shape[1] :].tolist()
    return new


def test_a_model_alone_says_what_transformers_says(tiny: Path, evonas: Callable[..., Outcome]) -> None:
    language = load_language_model(str(tiny))
    wanted = language.tokenizer.decode(greedy(language, language.model), skip_special_tokens=True)
    status, out, err = evonas("generate", tiny, "--prompt", PROMPT, "--tokens", TOKENS)
    assert status == 0
    assert out.encode("ascii", "backslashreplace").decode().startswith(PROMPT)
    assert [c for c in out.rstrip("\n") if c.isalnum()] == [
        c for c in PROMPT + wanted if c.isalnum() and c.isprintable()
    ]
    assert "plain: " in err
    assert "tokens/s" in err


def test_dense_and_sparse_say_what_each_says_alone(tiny: Path, sparse: Path, evonas: Callable[..., Outcome]) -> None:
    language = load_language_model(str(tiny))
    wanted = [greedy(language, language.model), greedy(language, load(sparse).model)]
    assert wanted[0] != wanted[1]
    status, out, err = evonas("generate", sparse, "--everywhere", "-p", PROMPT, "--tokens", TOKENS, "--json")
    said = json.loads(out)
    assert (status, err) == (0, "")
    assert [text["name"] for text in said["texts"]] == ["dense", "sparse, teal at 60 % in 14 of 14 layers"]
    assert [text["tokens"] for text in said["texts"]] == wanted
    assert all(text["tokens_per_second"] > 0 for text in said["texts"])
    assert [text["text"] for text in said["texts"]] == [
        language.tokenizer.decode(ids, skip_special_tokens=True) for ids in wanted
    ]
    status, out, _ = evonas("generate", sparse, "--everywhere", "-p", PROMPT, "--tokens", TOKENS)
    lines = out.splitlines()
    assert lines[0].startswith("dense: ")
    assert any(
        line.startswith("sparse, teal at 60 % in 14 of 14 layers: ") and line.endswith("times as fast")
        for line in lines
    )
    assert sum(line.startswith(f"    {PROMPT}") for line in lines) == 2


def test_the_sparse_model_runs_the_sparse_kernel_where_it_pays(sparse: Path) -> None:
    found = speakers_of(str(sparse), sparse_when=lambda inputs, _outputs, _sparsity: inputs > 32)
    layers = dict(found.speakers[1].model.named_modules())
    assert layers["model.layers.0.mlp.down_proj"].sparse  # of 48 inputs
    assert type(layers["model.layers.0.mlp.up_proj"]).__name__ == "Linear"
    assert type(dict(found.speakers[0].model.named_modules())["model.layers.0.mlp.down_proj"]).__name__ == "Linear"


def test_speeds_are_measured_once_and_not_at_all_in_a_folder_that_cannot_be_written(
    sparse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = generating.measure_speeds

    def measured(shapes: set[tuple[int, int]], **options: Any) -> Any:
        asked.append(options["folder"])
        return real(shapes, **options | {"folder": sparse})

    monkeypatch.setattr(generating, "measure_speeds", measured)
    before = {file.name: file.stat().st_mtime_ns for file in sparse.iterdir()}
    speakers_of(str(sparse))
    monkeypatch.setattr(generating.os, "access", lambda *_: False)
    speakers_of(str(sparse))
    assert asked == [sparse, None]
    assert before == {file.name: file.stat().st_mtime_ns for file in sparse.iterdir()}


def test_plain_and_steered_text(tiny: Path, maps: Path, evonas: Callable[..., Outcome]) -> None:
    language = load_language_model(str(tiny))
    with Intervention.load(maps).on(language.model, 0.7):
        wanted = greedy(language, language.model)
    plain = greedy(language, language.model)
    assert plain != wanted
    arguments = ("generate", tiny, "--steer", maps, "-p", PROMPT, "--tokens", TOKENS, "--json")
    texts = json.loads(evonas(*arguments, "--strength", 0.7)[1])["texts"]
    assert [text["name"] for text in texts] == ["plain", "steered, caa at strength 0.7"]
    assert [text["tokens"] for text in texts] == [plain, wanted]
    off = json.loads(evonas(*arguments, "--strength", 0)[1])["texts"]
    assert [text["tokens"] for text in off] == [plain, plain]


def test_a_sparse_model_can_be_steered(sparse: Path, maps: Path) -> None:
    found = speakers_of(str(sparse), steer=maps, sparse_when=lambda *_: False)
    sparsity = "sparse, teal at 60 % in 0 of 14 layers"
    names = ["dense", sparsity, f"{sparsity}, steered, caa at strength 1"]
    assert [speaker.name for speaker in found.speakers] == names


def test_what_is_drawn_depends_on_the_seed_alone_and_is_the_same_for_models_that_agree(tiny: Path) -> None:
    language = load_language_model(str(tiny))
    ids = prompt_ids(language, PROMPT, TOKENS)

    def drawn(seed: int, temperature: float = 1.0) -> list[tuple[int, ...]]:
        speakers = [Speaker(name, language.model) for name in ("one", "two")]
        *_, said = take_turns(speakers, ids, Sampling(TOKENS, temperature, seed))
        return [each.ids for each in said.values()]

    first, second = drawn(0)
    assert first == second
    assert drawn(0)[0] == first
    assert drawn(1)[0] != first
    assert drawn(3, temperature=1e-6)[0] == tuple(greedy(language, language.model))


def test_a_text_ends_where_the_model_ends_it(tiny: Path) -> None:
    language = load_language_model(str(tiny))
    model: Any = language.model
    third = greedy(language, model)[2]
    model.generation_config.eos_token_id = [third]
    *_, said = take_turns([Speaker("one", model)], prompt_ids(language, PROMPT, TOKENS), Sampling(TOKENS))
    assert said["one"].ended
    assert list(said["one"].ids) == greedy(language, model)
    assert said["one"].ids[-1] == third


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("MODEL", "-p", "x " * 70), ("prompt: 141 tokens, and 64 new ones", "accepted: 64 together")),
        (("MODEL", "-p", "x", "--strength", 0.5), ("--strength: given without --steer",)),
        (("MODEL", "-p", "x", "--steer", "nowhere"), ("nowhere", "holds no intervention.json")),
        (("MODEL", "-p", "x", "--steer", "MAPS", "--strength", "nan"), ("strength: nan",)),
        (("MODEL", "-p", "x", "--tokens", 5, "--temperature", "inf"), ("temperature: inf",)),
        (("MODEL", "-p", "x", "--device", "abacus"), ("--device", "'abacus'")),
        (("nowhere/at-all/x", "-p", "x"), ("nowhere/at-all/x: no such folder or file",)),
        (("MAPS", "-p", "x"), ("holds no config.json",)),
        (("MODEL", "-p", "x", "--tokens", 5, "--steer", "MAPS", "--strength", 1e38), ("output is not finite",)),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[object, ...],
    words: tuple[str, ...],
    tiny: Path,
    maps: Path,
    evonas: Callable[..., Outcome],
) -> None:
    places = {"MODEL": tiny, "MAPS": maps}
    outcome = evonas("generate", *(places.get(str(argument), argument) for argument in arguments))
    assert_one_line(outcome, words)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "other", hidden_size=16)


def test_maps_of_another_model_are_refused(other: Path, maps: Path, evonas: Callable[..., Any]) -> None:
    assert_one_line(evonas("generate", other, "-p", "x", "--steer", maps), ("16 neurons", "accepted: 32"))


def test_a_prompt_without_tokens_is_refused(tiny: Path) -> None:
    empty = load_language_model(str(tiny))
    empty.tokenizer.bos_token = None
    with pytest.raises(ValueError, match="prompt: is empty"):
        prompt_ids(empty, "", 3)
