"""Oracles: files written here by hand, scores computed one by one with transformers, Python's own random."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from evonas.errors import InputError
from evonas.studies.steering.scorers import load_scorer
from evonas.studies.steering.sentences import PromptsConfig, SentencesConfig, beginnings, digest, drawn, pool
from evonas.studies.steering.tokens import batched, encode, padded

RATED = [("one two three", 1.0), ("four five six", 2.0), ("too short", 2.0), ("four five six", 2.0), ("a b c d", 3.0)]


@pytest.fixture
def rated(tmp_path: Path) -> str:
    (tmp_path / "rated.csv").write_text("text,rating\n" + "".join(f"{text},{rating}\n" for text, rating in RATED))
    return str(tmp_path / "rated.csv")


def test_a_pool_is_what_is_rated_within_bounds_each_once(rated: str) -> None:
    def found(**bounds: float) -> tuple[str, ...]:
        return pool(SentencesConfig(name="file", path=rated, rating="rating", **bounds))  # type: ignore[arg-type]

    assert found() == ("one two three", "four five six", "a b c d")
    assert found(least=2.0) == ("four five six", "a b c d")
    assert found(most=1.5) == ("one two three",)
    assert found(least=1.5, most=2.5) == ("four five six",)


def test_a_scorer_may_rate(rated: str, models: Path) -> None:
    judge = str(models / "judge")
    with pytest.raises(InputError, match=r"label: ''; accepted: LABEL_0, LABEL_1$"):
        pool(SentencesConfig(name="file", path=rated, by=judge, least=0.0))


def test_prompts_are_beginnings_of_longer_sentences(rated: str) -> None:
    config = PromptsConfig(name="file", path=rated, count=1, words=3)
    assert beginnings(config, "prompts") == (("a b c",), frozenset({"a b c d"}))
    whole = PromptsConfig(name="file", path=rated, count=3)
    prompts, used = beginnings(whole, "prompts")
    assert set(prompts) == used == {"one two three", "four five six", "a b c d"}
    with pytest.raises(InputError, match=r"^prompts: 1 sentences; accepted: 2 or more"):
        beginnings(config.model_copy(update={"count": 2}), "prompts")


def test_drawing_is_by_seed_and_name_and_leaves_out() -> None:
    texts = [str(number) for number in range(20)]
    one = drawn(texts, 5, 1, "source")
    assert one == drawn(texts, 5, 1, "source")
    assert len(set(one)) == 5
    assert one != drawn(texts, 5, 2, "source")
    assert one != drawn(texts, 5, 1, "target")
    assert set(drawn(texts, 3, 1, "source", without=set(texts[:17]))) == set(texts[17:])
    assert digest(["a", "b"]) != digest(["ab"])


def test_classifiers_give_the_probability_of_their_label(models: Path) -> None:
    import transformers

    texts = ["the cat", "a very big red house", ""]
    scores = load_scorer(str(models / "judge"), "LABEL_1")(texts)
    other = load_scorer(str(models / "judge"), "LABEL_0")(texts)
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(models / "judge").eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(models / "judge")
    for text, score, rest in zip(texts, scores, other, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"] or [0]])
        with torch.no_grad():
            wanted = model(input_ids=ids).logits.softmax(1)[0, 1].item()
        assert score == pytest.approx(wanted, abs=1e-5)
        assert score + rest == pytest.approx(1, abs=1e-5)
    assert load_scorer(str(models / "judge"), "LABEL_1")([]) == []


def test_profanity_is_scored_or_its_install_line_given() -> None:
    if importlib.util.find_spec("profanity_check") is None:
        with pytest.raises(InputError, match=r"pip install --no-deps alt-profanity-check==\d"):
            load_scorer("profanity")
        return
    kind, rude = load_scorer("profanity")(["What a lovely day, thank you", "you are a stupid idiot"])
    assert kind < 0.1 < 0.9 < rude
    assert load_scorer("profanity")([]) == []


def test_sentiment_is_scored_or_its_install_line_given() -> None:
    if importlib.util.find_spec("vaderSentiment") is None:
        with pytest.raises(InputError, match=r"^scorer vader: .* pip install --no-deps vaderSentiment==3\.3\.2$"):
            load_scorer("vader")
        return
    good, bad = load_scorer("vader")(["a lovely day", "a terrible day"])
    assert bad < 0 < good


def test_tokens_are_cut_and_padded_on_either_side(models: Path) -> None:
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(models / "lm")
    rows = encode(tokenizer, ["abc", "a", ""], 3, first=0)
    a, b = tokenizer("ab")["input_ids"]
    assert rows == [[0, a, b], [0, a], [0]]
    assert encode(tokenizer, [""], 3) == [[0]]  # something to call a model with
    right, left = (padded(rows, 7, torch.device("cpu"), left=side) for side in (False, True))
    assert right["input_ids"].tolist() == [[0, a, b], [0, a, 7], [0, 7, 7]]
    assert left["input_ids"].tolist() == [[0, a, b], [7, 0, a], [7, 7, 0]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]
    assert [list(part) for part in batched([1, 2, 3], 2)] == [[1, 2], [3]]
