"""``[language]`` of a study: a language model to steer, its sentences, and how it is measured."""

from typing import Annotated, Literal

from pydantic import Field

from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section, Share
from evonas.studies.steering.scorers import ScorerConfig
from evonas.studies.steering.sentences import CountedConfig, PromptsConfig, Samples, SentencesConfig


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
    fresh: Count = 0
    """So many other source and target sentences are drawn to compare the distance to the target on: fitted and fresh.
    0: none."""
    shown: Count = 0
    """Continuations of each measurement that are kept. 0: no text is kept."""
