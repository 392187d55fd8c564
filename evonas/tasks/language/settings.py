"""What the language model is: a frozen section with its switches, and the ladder of its sizes.

Source: Wortsman et al. 2023, arXiv 2309.14322, experimental set-up; sizes and context are a desk's.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section, parse_section
from evonas.errors import InputError

# Width and depth by name, which is about the number of parameters N ~ 12 * depth * width^2. Width and depth grow
# together and the head size stays, as in the paper; its own table of sizes is not public, and its ladder (2.4 million
# to 4.8 billion) starts where this one ends.
LADDER = {
    "55k": (48, 2),
    "147k": (64, 3),
    "332k": (96, 3),
    "786k": (128, 4),
    "2.2m": (192, 5),
    "4.7m": (256, 6),
}


class ModelConfig(Section):
    """The proxy: a decoder-only transformer; pre-norm, rotary positions, no biases, GELU in an MLP of 4 * width.

    ``norm`` is ``layernorm``, ``rmsnorm``, or the name under which a layer that the caller makes is recorded. A
    ``qk_kappa`` above 0 is the transplant test of the paper. ``base_width``, like the paper's 256, is the smallest of
    the ladder.
    """

    vocabulary: PositiveInt = 256
    """Number of tokens that there are; a study sets it by its text."""
    width: PositiveInt = 96
    """Features of a token; a study sets it by the size."""
    depth: Count = 3
    """Blocks; 0 is a bigram model. A study sets it by the size."""
    head_size: Annotated[int, Field(gt=0, multiple_of=2)] = 16
    """Features of an attention head."""
    context: PositiveInt = 128
    """Tokens that the model sees."""
    norm: Annotated[str, Field(min_length=1)] = "layernorm"
    """What normalizes: `layernorm`, `rmsnorm`, or the name under which a layer is recorded."""
    norm_eps: Positive = 1e-6
    """Guard inside the roots of norms."""
    qk_layernorm: bool = True
    """Whether queries and keys are normalized."""
    qk_kappa: NotNegative = 0.0
    """Above 0, queries and keys are scaled to this mean square instead of being normalized."""
    attention_softcap: NotNegative = 0.0
    """Puts attention logits through c tanh(logits / c). 0: leaves them as they are."""
    output_softcap: NotNegative = 0.0
    """Puts output logits through c tanh(logits / c). 0: leaves them as they are."""
    attention_scale: NotNegative = 0.0
    """What products of queries and keys are multiplied with. 0: 1 / sqrt(head_size), or 1 / head_size under muParam
    `full`."""
    mu_param: Literal["off", "simple", "intermediate", "full"] = "off"
    """Variant of muParam, which fits learning rates and initial weights to the width."""
    base_width: PositiveInt = 48
    """Width at which muParam changes nothing."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.head_size:
            what = "a width that is a multiple of head_size, {size}"
            raise PydanticCustomError("width", what, {"size": self.head_size})
        if self.qk_kappa and self.qk_layernorm:
            raise PydanticCustomError("qk_kappa", "qk_kappa or qk_layernorm, one of them")
        return self

    @property
    def heads(self) -> int:
        """Attention heads of a block."""
        return self.width // self.head_size

    @property
    def scale(self) -> float:
        """What q.k is multiplied with."""
        return self.attention_scale or self.head_size ** (-1 if self.mu_param == "full" else -0.5)


def sized(size: str, **settings: Any) -> ModelConfig:
    """A model of the ladder; ``settings`` are the other fields of ``ModelConfig``.

    Raises:
        InputError: no such size, or a wrong setting.
    """
    width, depth = width_and_depth(size)
    return parse_section(ModelConfig, {"width": width, "depth": depth, **settings}, f"size {size}")


def width_and_depth(size: str) -> tuple[int, int]:
    """Of a name of the ladder, or of ``WIDTHxDEPTH``.

    Raises:
        InputError: neither.
    """
    if size in LADDER:
        return LADDER[size]
    width, _, depth = size.partition("x")
    if not (width.isdecimal() and depth.isdecimal()):
        raise InputError("size", repr(size), accepted=f"{', '.join(LADDER)}, or WIDTHxDEPTH such as 96x3")
    return int(width), int(depth)
