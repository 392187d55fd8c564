"""An instruction before texts as a steering method, CHaRS and held-out LinEAS in a study of a tiny language model.

Oracles: perplexity and continuations with token ids put together by hand; ``distances`` of the saved maps.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from evonas.config.section import load_as
from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.steering import Intervention
from evonas.studies.steering.evaluation import distances
from evonas.studies.steering.language import Language
from evonas.studies.steering.study import SteeringStudyConfig, steering_runs
from evonas.tasks.language.perplexity import perplexity
from evonas.training.modes import seeded
from studies import assert_one_line

TEXT = "Be kind."


@pytest.fixture
def language(file: Path) -> Language:
    study = load_as(SteeringStudyConfig, str(file), [])
    assert study.language is not None
    return Language(study.language.model_copy(update={"shown": 10}), "cpu")


def rows(language: Language, texts: Any) -> list[list[int]]:
    tokenizer = language._loaded.tokenizer
    return [[0, *tokenizer(text, add_special_tokens=False)["input_ids"]][:24] for text in texts]


def instruction(language: Language) -> list[int]:
    found: list[int] = language._loaded.tokenizer(f"{TEXT} ", add_special_tokens=False)["input_ids"]
    return found


def test_the_cost_is_the_perplexity_of_the_texts_given_the_instruction(language: Language) -> None:
    before = instruction(language)
    batches = []
    for row in rows(language, language._neutral):
        ids = torch.tensor([[0, *before, *row[1:]]])
        labels = ids.clone()
        labels[:, : 1 + len(before)] = -100
        batches.append({"input_ids": ids, "labels": labels})
    with language.instructed(TEXT, 1.0, 1):
        given = language.measure("", 1)
    assert given["cost"] == pytest.approx(perplexity(language.model, batches).value, rel=1e-4)
    plain = language.measure("", 1)
    assert plain["cost"] != pytest.approx(given["cost"], rel=1e-4)
    with language.instructed(TEXT, 0.0, 1):
        assert language.measure("", 1) == plain


def test_prompts_are_continued_after_the_instruction(language: Language) -> None:
    with language.instructed(TEXT, 1.0, 1):
        said = language._continuations(1)
    before = instruction(language)
    prompts = [[0, *before, *row[1:]] for row in rows(language, language._prompts)] * 2
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    model: Any = language.model
    with seeded(derive_seed(1, "continuations", 0)):
        found = model.generate(input_ids=ids, attention_mask=mask, generation_config=language._generation())
    decode = language._loaded.tokenizer.decode
    assert said == [str(decode(row[width:], skip_special_tokens=True)).strip() for row in found]


def test_the_strength_is_the_share_of_texts_that_are_instructed(language: Language) -> None:
    texts = rows(language, language._prompts)
    counts = []
    for share in (0.0, 0.4, 1.0):
        with language.instructed(TEXT, share, 1):
            found, before = language._with_instruction(texts, "prompts")
        counts.append(sum(map(bool, before)))
        length = len(instruction(language))
        assert [len(row) for row in found] == [len(row) + each for row, each in zip(texts, before, strict=True)]
        assert set(before) <= {0, length}
    assert counts == [0, 2, 5]


METHODS = """
[[methods]]
method = "prompt"
instruction = "Be kind."
strengths = [0.5, 1.0]

[[methods]]
method = "chars"
clusters = 2
strengths = [1.0]

[[methods]]
name = "cross-fitted"
folds = 2
shrink = true
steps = 3
strengths = [1.0]
"""


def test_a_study_compares_them_and_says_how_far_fresh_sentences_are(
    file: Path, tmp_path: Path, evonas: Callable[..., Any]
) -> None:
    text = file.read_text()
    file.write_text(text[: text.index("[[methods]]")].replace("samples = 4", "samples = 4\nfresh = 3") + METHODS)
    file.write_text(file.read_text().replace("count = 5, words = 2", "count = 3, words = 2"))
    run = tmp_path / "run"
    status, out, err = evonas("steer", file, "--run", run, "--seeds", 1, "--workers", 0)
    assert status == 0, err
    assert "fresh sentences" in out
    groups = {group["method"]: group for group in json.loads((run / "results.json").read_text())["groups"]}
    assert list(groups) == ["none", "prompt", "chars", "cross-fitted"]
    assert [point["strength"] for point in groups["prompt"]["curves"]["1"]] == [0.0, 0.5, 1.0]
    costs = [point["cost"] for point in groups["prompt"]["curves"]["1"]]
    assert len(set(costs)) == 3
    study = load_as(SteeringStudyConfig, str(file), [])
    assert study.language is not None
    language = Language(study.language, "cpu")
    source, target = language.fresh("", 1) or ((), ())
    for name in ("chars", "cross-fitted"):
        method = "chars" if name == "chars" else "lineas"
        (folder,) = (run / "maps").glob(f"{method}-*")
        maps = Intervention.load(folder)
        after, before = (
            fmean(distances(maps, language.model, source, target, strength=s).values()) for s in (1.0, 0.0)
        )
        assert groups[name]["distances"]["1"][1] == pytest.approx(after / before, rel=1e-4)
    assert "distances" not in groups["prompt"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ('method = "prompt"', ("instruction", "''", "some words with method 'prompt'")),
        ('method = "caa"\ninstruction = "Be kind."', ("instruction", "'Be kind.'", "'prompt' alone")),
        ('method = "prompt"\ninstruction = "x"\nstrengths = [2.0]', ("strengths", "2", "shares of the texts, up to 1")),
        ('method = "caa"\nfolds = 3', ("nothing held out: caa has no steps",)),
        ("folds = 1", ("folds", "1", "0, or 2 or more")),
        ("shrink = true", ("shrink", "without held-out samples")),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(
    changes: str, words: tuple[str, ...], file: Path, tmp_path: Path, evonas: Callable[..., Any]
) -> None:
    text = file.read_text()
    file.write_text(text[: text.index("[[methods]]")] + f"[[methods]]\n{changes}\n")
    assert_one_line(evonas("steer", file, "--run", tmp_path / "run"), words)
    assert not (tmp_path / "run").exists()


def test_images_take_no_instruction() -> None:
    methods = [{"method": "prompt", "instruction": "Be kind."}]
    study = SteeringStudyConfig.model_validate({"name": "x", "images": {}, "methods": methods}, strict=False)
    with pytest.raises(InputError, match=r"methods\.0\.method: 'prompt' of images; accepted: of language models alone"):
        steering_runs(study)


def test_an_instruction_that_fills_what_the_model_sees_is_refused(language: Language) -> None:
    with (
        pytest.raises(InputError, match=r"instruction: .* shorten it, or lower max_tokens"),
        language.instructed("word " * 60, 1.0, 1),
    ):
        pass
