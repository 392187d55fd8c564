"""Steering of a language model: sentences to fit on, continuations that give the score, neutral text for the cost."""

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.steering.fit import POST_NORMS
from evonas.studies.steering.language_settings import LanguageConfig
from evonas.studies.steering.scorers import load_scorer
from evonas.studies.steering.sentences import beginnings, digest, drawn, pool
from evonas.studies.steering.sites import Batch
from evonas.studies.steering.tokens import batched, encode, pad_token, padded, sentence_batches
from evonas.tasks.language.perplexity import UNSCORED, perplexity
from evonas.tasks.language.pretrained import load_language_model
from evonas.training.device import find_device
from evonas.training.modes import seeded

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NEUTRAL_BATCH = 8  # texts; logits of a large vocabulary fill the memory


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
                self._fresh(name, 0)
            self._score = load_scorer(config.scorer.name, config.scorer.label, self._device)
        except InputError as error:
            raise error.at("language") from None
        self._instruction: tuple[list[int], float, int] = ([], 0.0, 0)  # token ids, share of the texts, seed
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

    def fresh(self, task: str, seed: int) -> tuple[Sequence[Batch], Sequence[Batch]] | None:  # noqa: ARG002
        """As many other sentences as the section says."""
        count = self._config.fresh
        if not count:
            return None
        source, target = (self._batches(self._fresh(name, seed), self._config.batch_size) for name in self._pools)
        return source, target

    @contextmanager
    def instructed(self, text: str, share: float, seed: int) -> Iterator[None]:
        """Within it an instruction, and a space, stand before a share of the prompts and of the neutral sentences.

        Raises:
            InputError: the model cannot see it and the texts.
        """
        ids = self._loaded.encode(f"{text.strip()} ").tolist()
        longest = len(ids) + max(self._config.max_tokens, self._longest_prompt() + self._config.decoding.max_new_tokens)
        if self._loaded.positions is not None and longest > self._loaded.positions:
            found = f"{len(ids)} tokens, and texts that fill what the model sees"
            raise InputError("instruction", found, remedy="shorten it, or lower max_tokens")
        before, self._instruction = self._instruction, (ids, share, seed)
        try:
            yield
        finally:
            self._instruction = before

    def _with_instruction(self, rows: list[list[int]], what: str) -> tuple[list[list[int]], list[int]]:
        """Rows of token ids with the instruction behind the first token, and how many tokens of it each then has."""
        ids, share, seed = self._instruction
        order = random.Random(derive_seed(seed, "instructed", what)).sample(range(len(rows)), len(rows))
        chosen = set(order[: round(share * len(rows))])
        begin = self._loaded.bos is not None
        found = [row[:begin] + ids + row[begin:] if place in chosen else row for place, row in enumerate(rows)]
        return found, [len(ids) if place in chosen else 0 for place in range(len(rows))]

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
        cost = perplexity(self.model, self._neutral_batches()).value
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
        if self._config.fresh:
            texts |= {f"fresh {name}": digest(self._fresh(name, seed)) for name in self._pools}
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

    def _fresh(self, name: str, seed: int) -> tuple[str, ...]:
        used = self._without.union(*(self._texts(each, seed) for each in self._pools))
        return drawn(self._pools[name], self._config.fresh, seed, f"fresh {name}", used)

    def _neutral_batches(self) -> list[dict[str, Tensor]]:
        """Sorted, so that there is little padding; an instruction before a sentence is not scored."""
        rows, before = self._with_instruction(self._rows(sorted(self._neutral, key=len)), "neutral")
        begin = int(self._loaded.bos is not None)
        batches = []
        for part, lengths in zip(batched(rows, NEUTRAL_BATCH), batched(before, NEUTRAL_BATCH), strict=True):
            batch = padded(part, pad_token(self._loaded), self._device, left=False)
            if any(lengths):
                labels = batch["input_ids"].clone()
                for row, length in enumerate(lengths):
                    labels[row, : begin + length if length else 0] = UNSCORED
                batch["labels"] = labels
            batches.append(batch)
        return batches

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        return encode(self._loaded.tokenizer, texts, self._config.max_tokens, first=self._loaded.bos)

    def _longest_prompt(self) -> int:
        return max(map(len, self._rows(self._prompts)))

    def _batches(self, texts: Sequence[str], size: int) -> list[dict[str, Tensor]]:
        return sentence_batches(self._loaded, texts, self._config.max_tokens, size, self._device)

    @torch.no_grad()
    def _continuations(self, seed: int) -> list[str]:
        """What the model, as it is, says after each prompt; the prompts are not part of it."""
        model: Any = self.model
        settings, found = self._generation(), []
        rows, _ = self._with_instruction(self._rows(self._prompts), "prompts")
        rows = rows * self._config.decoding.repeats
        for number, part in enumerate(batched(rows, self._config.batch_size)):
            batch = padded(part, pad_token(self._loaded), self._device, left=True)
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
            pad_token_id=pad_token(self._loaded),
            eos_token_id=own.eos_token_id,
            bos_token_id=self._loaded.bos,
            **sampling,
        )


def _distinct(texts: Sequence[str]) -> float:
    pairs = [list(pairwise(words)) for words in (text.split() for text in texts)]
    total = sum(map(len, pairs))
    return sum(len(set(found)) for found in pairs) / total if total else 1.0
