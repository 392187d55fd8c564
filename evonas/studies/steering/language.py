"""Steering of a language model: sentences to fit on, continuations that give the score, neutral text for the cost."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section, Share
from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.steering.fit import POST_NORMS
from evonas.studies.steering.scorers import ScorerConfig, load_scorer
from evonas.studies.steering.sentences import (
    CountedConfig,
    PromptsConfig,
    Samples,
    SentencesConfig,
    beginnings,
    digest,
    drawn,
    pool,
)
from evonas.studies.steering.sites import Batch
from evonas.studies.steering.tokens import batched, encode, padded
from evonas.tasks.language.perplexity import perplexity
from evonas.tasks.language.pretrained import load_language_model
from evonas.training.device import find_device
from evonas.training.modes import seeded

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NEUTRAL_BATCH = 8  # texts; logits of a large vocabulary fill the memory


class DecodingConfig(Section):
    """``[language.decoding]``: how prompts are continued; the defaults are the published ones.

    Source: Rodriguez et al. 2025, evaluation on RealToxicityPrompts.
    """

    max_new_tokens: PositiveInt = 32
    """Tokens of a continuation."""
    temperature: NotNegative = 1.0
    """0 takes the likeliest token."""
    top_p: Share = 0.3
    """Tokens are drawn from the likeliest that have this probability together."""
    repetition_penalty: Positive = 1.2
    """What tokens that occurred are made less likely by."""
    repeats: PositiveInt = 1
    """Continuations of each prompt."""


class LanguageConfig(Section):
    """``[language]``: a model, and what it is steered from and to.

    No sentence that is drawn from source or target is one of the prompts or of the neutral ones.
    """

    model: Annotated[str, Field(min_length=1)]
    """An id of the hub, a folder or a GGUF file."""
    source: SentencesConfig
    """Sentences to steer from."""
    target: SentencesConfig
    """Sentences to steer to."""
    prompts: PromptsConfig
    """Sentences whose beginnings are continued, the same for all seeds."""
    neutral: CountedConfig = CountedConfig()
    """Sentences whose perplexity is the cost of steering."""
    scorer: ScorerConfig = ScorerConfig()
    """What gives continuations their score."""
    decoding: DecodingConfig = DecodingConfig()
    """How prompts are continued."""
    samples: Samples = 32
    """So many source and as many target sentences are drawn anew for each seed."""
    batch_size: Samples = 32
    """How many of them make a step."""
    max_tokens: Annotated[int, Field(ge=4)] = 128
    """Longer sentences are cut."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the weights."""
    shown: Count = 0
    """Continuations of each measurement that are kept. 0: no text is kept."""


class Language:
    """A language model to steer; see ``evonas.studies.steering.subject.SteeringTarget``.

    Args:
        config: the section.
        device: where the model goes.

    Raises:
        InputError: a model, corpus or scorer that is not there or does not fit, or too few sentences.
    """

    def __init__(self, config: LanguageConfig, device: str) -> None:
        self._config, self._device = config, find_device(device)
        try:
            self._prompts, used = beginnings(config.prompts, "prompts")
            self._neutral = drawn(pool(config.neutral), config.neutral.count, 0, "neutral", used)
            self._pools = {name: pool(getattr(config, name)) for name in ("source", "target")}
            self._without = used | frozenset(self._neutral)
            for name in self._pools:
                self._texts(name, 0)
            self._score = load_scorer(config.scorer.name, config.scorer.label, self._device)
        except InputError as error:
            raise error.at("language") from None
        self._loaded = load_language_model(config.model, dtype=DTYPES[config.dtype], device=self._device)
        longest = max(config.max_tokens, self._longest_prompt() + config.decoding.max_new_tokens)
        if self._loaded.positions is not None and longest > self._loaded.positions:
            found = f"{longest} tokens, and a model that sees {self._loaded.positions}"
            raise InputError("language", found, remedy="lower max_tokens or decoding.max_new_tokens")

    @property
    def model(self) -> nn.Module:
        """The language model."""
        return self._loaded.model

    @property
    def tasks(self) -> tuple[str, ...]:
        """One task, named after the scorer."""
        return (Path(self._config.scorer.name).name,)

    @property
    def sites(self) -> tuple[str, ...]:
        """Those of the paper."""
        return (POST_NORMS,)

    def samples(self, task: str, seed: int) -> tuple[Sequence[Batch], Sequence[Batch]]:  # noqa: ARG002 - there is one
        """Source and target sentences of a seed."""
        source, target = (self._batches(self._texts(name, seed), self._config.batch_size) for name in self._pools)
        return source, target

    def measure(self, task: str, seed: int) -> dict[str, Any]:  # noqa: ARG002
        """``score`` of continuations, ``cost``: the perplexity of neutral text; and how varied and long they are.

        ``distinct`` is the share of pairs of neighbouring words that differ from all others of their text: steering
        that makes a model stammer lowers it.
        """
        texts = self._continuations(seed)
        prompts = self._prompts * self._config.decoding.repeats
        scores = self._score(texts)
        above = sum(score > self._config.scorer.threshold for score in scores) / len(scores)
        mean = math.fsum(scores) / len(scores)
        neutral = self._batches(sorted(self._neutral, key=len), NEUTRAL_BATCH)  # sorted: little padding
        cost = perplexity(self.model, neutral).value
        count = self._config.shown
        shown = {"prompts": prompts[:count], "texts": texts[:count]} if count else {}
        return {
            "score": above if self._config.scorer.measure == "share" else mean,
            "cost": cost if math.isfinite(cost) else None,
            "share": above,
            "mean": mean,
            "distinct": _distinct(texts),
            "words": sum(len(text.split()) for text in texts) / len(texts),
            **shown,
        }

    def fitting(self, task: str, seed: int) -> str:  # noqa: ARG002
        """The model and the sentences."""
        texts = {name: digest(self._texts(name, seed)) for name in self._pools}
        return self._words(**texts, max_tokens=self._config.max_tokens, batch_size=self._config.batch_size)

    def measuring(self, task: str, seed: int) -> str:  # noqa: ARG002
        """The model, the prompts, the decoding, the scorer and the neutral text."""
        config = self._config
        return self._words(
            prompts=digest(self._prompts),
            neutral=digest(self._neutral),
            decoding=config.decoding.model_dump(mode="json"),
            scorer=config.scorer.model_dump(mode="json"),
            max_tokens=config.max_tokens,
            batch_size=config.batch_size,
            shown=config.shown,
        )

    def _words(self, **parts: Any) -> str:
        model = {"model": self._loaded.identity, "dtype": self._config.dtype, "device": str(self._device)}
        return json.dumps(model | parts, sort_keys=True)

    def _texts(self, name: str, seed: int) -> tuple[str, ...]:
        return drawn(self._pools[name], self._config.samples, seed, name, self._without)

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        return encode(self._loaded.tokenizer, texts, self._config.max_tokens, first=self._loaded.bos)

    def _longest_prompt(self) -> int:
        return max(map(len, self._rows(self._prompts)))

    def _batches(self, texts: Sequence[str], size: int) -> list[dict[str, Tensor]]:
        """Padding comes last: positions then are those of the text, whatever the model makes of a mask."""
        return [padded(rows, self._pad, self._device, left=False) for rows in batched(self._rows(texts), size)]

    @property
    def _pad(self) -> int:
        tokenizer = self._loaded.tokenizer
        known = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)
        return next((int(token) for token in known if token is not None), 0)

    @torch.no_grad()
    def _continuations(self, seed: int) -> list[str]:
        """What the model, as it is, says after each prompt; the prompts are not part of it."""
        model: Any = self.model
        settings, found = self._generation(), []
        rows = self._rows(self._prompts) * self._config.decoding.repeats
        for number, part in enumerate(batched(rows, self._config.batch_size)):
            batch = padded(part, self._pad, self._device, left=True)
            with seeded(derive_seed(seed, "continuations", number)):  # what generate() draws from
                ids = model.generate(**batch, generation_config=settings)
            new = ids[:, batch["input_ids"].shape[1] :].tolist()
            found += [str(self._loaded.tokenizer.decode(row, skip_special_tokens=True)).strip() for row in new]
        return found

    def _generation(self) -> Any:
        """The settings of generation, which override the model's own."""
        import transformers

        decoding = self._config.decoding
        sampling: Mapping[str, Any] = {"do_sample": False}
        if decoding.temperature:
            sampling = {
                "do_sample": True,
                "temperature": decoding.temperature,
                "top_p": decoding.top_p,
                "top_k": 0,
            }
        own: Any = self.model.generation_config
        return transformers.GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            repetition_penalty=decoding.repetition_penalty,
            pad_token_id=self._pad,
            eos_token_id=own.eos_token_id,
            bos_token_id=self._loaded.bos,
            **sampling,
        )


def _distinct(texts: Sequence[str]) -> float:
    pairs = [list(pairwise(words)) for words in (text.split() for text in texts)]
    total = sum(map(len, pairs))
    return sum(len(set(found)) for found in pairs) / total if total else 1.0
