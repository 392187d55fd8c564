"""What one run is: frozen sections with every switch of the paper, and the ladder of model sizes.

Defaults are the paper's but where a desk needs smaller ones: size, context, batch, steps and, with the steps, the
warm-up (5 % of them, as in the paper). Where 0 turns something off it says so.

Source: Wortsman et al. 2023, arXiv 2309.14322, experimental set-up.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config import Fraction, Positive, PositiveInt, Section
from evonas.errors import InputError

NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]

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

    ``norm`` is ``layernorm``, ``rmsnorm``, or the name under which a layer that the caller makes is recorded. A depth
    of 0 is a bigram model. Softcaps c put logits through c * tanh(logits / c); 0 leaves them. ``attention_scale``
    multiplies q.k; 0 means 1 / sqrt(head_size), and 1 / head_size under muParam ``full``. ``qk_kappa`` > 0 scales
    queries and keys to a mean square of kappa instead of normalizing them: the transplant test of the paper.
    ``base_width`` is the width at which muParam changes no learning rate and no head; like the paper's 256 it is the
    smallest of the ladder.
    """

    vocabulary: PositiveInt = 256
    width: PositiveInt = 96
    depth: Count = 3
    head_size: Annotated[int, Field(gt=0, multiple_of=2)] = 16
    context: PositiveInt = 128
    norm: Annotated[str, Field(min_length=1)] = "layernorm"
    norm_eps: Positive = 1e-6
    qk_layernorm: bool = True
    qk_kappa: NotNegative = 0.0
    attention_softcap: NotNegative = 0.0
    output_softcap: NotNegative = 0.0
    attention_scale: NotNegative = 0.0
    mu_param: Literal["off", "simple", "intermediate", "full"] = "off"
    base_width: PositiveInt = 48

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
        InputError: no such size.
    """
    if size not in LADDER:
        raise InputError("size", repr(size), accepted=", ".join(LADDER))
    width, depth = LADDER[size]
    return ModelConfig(width=width, depth=depth, **settings)


class OptimizerConfig(Section):
    """AdamW with its schedule: linear warm-up to ``learning_rate``, then a cosine to ``final_learning_rate``.

    ``decay`` says what the weight decay lambda multiplies: s_t lambda theta (``independent``), or with the learning
    rate, s_t eta lambda theta (``coupled``). Without a ``weight_decay`` lambda is the paper's: 1e-4 or 0.1. Parameters
    whose name matches a pattern of ``undecayed`` have none, e.g. ``**.*norm.*``. ``clip`` bounds the global gradient
    norm and 0 does not. ``rms_scaled`` multiplies the learning rate of each tensor with its RMS.
    """

    learning_rate: Positive = 1e-2
    final_learning_rate: NotNegative = 1e-5
    warmup: Count = 50
    beta1: Momentum = 0.9
    beta2: Momentum = 0.95
    epsilon: Positive = 1e-8
    decay: Literal["independent", "coupled"] = "independent"
    weight_decay: NotNegative | None = None
    undecayed: tuple[str, ...] = ()
    clip: NotNegative = 1.0
    rms_scaled: bool = False

    @model_validator(mode="after")
    def _falling(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            what = "a final_learning_rate up to the learning_rate, {peak}"
            raise PydanticCustomError("final_learning_rate", what, {"peak": self.learning_rate})
        return self

    @property
    def decay_rate(self) -> float:
        """Lambda."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 1e-4 if self.decay == "independent" else 0.1


class RunConfig(Section):
    """One training.

    ``z_loss`` weighs log^2 Z in the loss; ``qk_clip`` is the largest attention logit a head may have after a step; 0
    turns each off. ``validation`` is the number of windows of text that give the validation loss. Probes are read
    every ``probe_every`` steps and at the last one, never if 0. ``dtype`` is that of activations (autocast).
    """

    seed: Count = 1
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    steps: PositiveInt = 1000
    batch_size: PositiveInt = 16
    z_loss: NotNegative = 1e-4
    qk_clip: NotNegative = 0.0
    validation: PositiveInt = 64
    probe_every: Count = 100
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.optimizer.warmup >= self.steps:
            raise PydanticCustomError("warmup", "a warmup below the {steps} steps", {"steps": self.steps})
        if self.qk_clip and (self.model.qk_layernorm or self.model.qk_kappa):
            # rescaled weights would change nothing but the size of their next steps
            raise PydanticCustomError("qk_clip", "qk_clip without qk_layernorm and qk_kappa, which undo it")
        return self


class TextConfig(Section):
    """What is read: the standard library's help ``topics``, a ``file``, or six novels of Jane ``austen``.

    ``path`` is that of the file, or where the novels are if not in the place of the Debian package. The last
    ``validation`` of the text validates; 0 means a tenth, and of the novels the sixth. ``vocabulary`` counts the
    tokens of ``bpe``; ``bytes`` have 256.
    """

    name: Literal["topics", "file", "austen"] = "topics"
    path: str = ""
    tokens: Literal["bytes", "bpe"] = "bytes"
    vocabulary: Annotated[int, Field(ge=256)] = 1024
    validation: Fraction = 0.0
