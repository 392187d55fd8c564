"""How much of a concept texts show: scorers by name, from packages or classifiers of transformers."""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from evonas.config.section import Section
from evonas.errors import InputError, first_line
from evonas.extras import import_package
from evonas.studies.steering.tokens import batched, encode, padded
from evonas.tasks.language.pretrained import quietly

Scorer = Callable[[Sequence[str]], list[float]]

_ACCEPTED = "profanity, vader, or a folder or hub id of a classifier of transformers"
PROFANITY, VADER = "alt-profanity-check", "vaderSentiment"
BATCH, LONGEST = 32, 512  # texts and tokens at once


class ScorerConfig(Section):
    """``[language.scorer]``: what gives continuations their score."""

    name: str = "profanity"
    """`profanity`, `vader`, or a classifier of transformers: a folder or an id of the hub."""
    label: str = ""
    """The label of the classifier that is scored."""
    measure: Literal["share", "mean"] = "share"
    """The `share` of texts that score above the threshold, or the `mean` score."""
    threshold: float = 0.5
    """See `measure`."""


@lru_cache(maxsize=4)
def load_scorer(name: str, label: str = "", device: torch.device | str = "cpu") -> Scorer:
    """A scorer: from texts to numbers.

    ``profanity`` is the probability of alt-profanity-check, a linear classifier of words, in [0, 1]. ``vader`` is the
    compound sentiment of vaderSentiment's lexicon, in [-1, 1]. Anything else is a sequence classifier of transformers,
    whose probability of ``label`` is given; only safetensors are read, and none of its code is run.

    Raises:
        InputError: it is not there, and how to get it, or a label it does not have.
    """
    if name == "profanity":
        return _profanity()
    if name == "vader":
        return _vader()
    return _classifier(name, label, torch.device(device))


def _profanity() -> Scorer:
    import joblib
    import sklearn

    version = sklearn.__version__
    remedy = f"pip install --no-deps {PROFANITY}=={version}"
    package = importlib.util.find_spec("profanity_check")
    if package is None or package.origin is None:
        raise InputError("scorer profanity", f"{PROFANITY} is not installed", remedy=remedy)
    if metadata.version(PROFANITY) != version:  # it holds pickles of scikit-learn's
        found = f"{PROFANITY} {metadata.version(PROFANITY)} with scikit-learn {version}"
        raise InputError("scorer profanity", found, accepted="the same version of both", remedy=remedy)
    data = Path(package.origin).parent / "data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles
        vectorizer, model = (joblib.load(data / f"{part}.joblib") for part in ("vectorizer", "model"))

    def score(texts: Sequence[str]) -> list[float]:
        found: list[float] = model.predict_proba(vectorizer.transform(texts))[:, 1].tolist() if texts else []
        return found

    return score


def _vader() -> Scorer:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        remedy = f"pip install --no-deps {VADER}==3.3.2"
        raise InputError("scorer vader", f"{VADER} is not installed", remedy=remedy) from None
    analyzer = SentimentIntensityAnalyzer()
    return lambda texts: [float(analyzer.polarity_scores(text)["compound"]) for text in texts]


def _classifier(name: str, label: str, device: torch.device) -> Scorer:
    transformers = import_package("transformers", f"scorer {name}")
    try:
        with quietly(transformers, name):
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            model = transformers.AutoModelForSequenceClassification.from_pretrained(
                name, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            )
    except Exception as error:  # whatever reading files that others made may raise, out of many packages
        raise InputError(f"scorer {name}", f"cannot be loaded ({first_line(error)})", accepted=_ACCEPTED) from None
    labels = dict(model.config.label2id)
    if label not in labels:
        raise InputError(f"scorer {name}: label", repr(label), accepted=", ".join(labels))
    return _probabilities(model.eval().to(device), tokenizer, labels[label], device)


def _probabilities(model: Any, tokenizer: Any, index: int, device: torch.device) -> Scorer:
    config = model.config
    several = config.num_labels == 1 or config.problem_type == "multi_label_classification"
    limit = min(LONGEST, tokenizer.model_max_length)

    @torch.no_grad()
    def score(texts: Sequence[str]) -> list[float]:
        found: list[float] = []
        for rows in batched(encode(tokenizer, texts, limit, special=True), BATCH):
            logits = model(**padded(rows, tokenizer.pad_token_id or 0, device, left=False)).logits.float()
            found += (logits.sigmoid() if several else logits.softmax(1))[:, index].tolist()
        return found

    return score
