"""What one run is: frozen sections with every switch of the paper; those of the model: ``evonas.tasks.language``.

Defaults are the paper's but where a desk needs smaller ones: size, context, batch, steps and, with the steps, the
warm-up (5 % of them, as in the paper). Where 0 turns something off it says so.

Source: Wortsman et al. 2023, arXiv 2309.14322, experimental set-up.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section
from evonas.tasks.language.settings import ModelConfig

Momentum = Annotated[float, Field(ge=0, lt=1)]
Decay = Literal["independent", "coupled"]


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
    decay: Decay = "independent"
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


class TrainingRunConfig(Section):
    """One training.

    ``z_loss`` weighs log^2 Z in the loss; ``qk_clip`` is the largest attention logit a head may have after a step; 0
    turns each off. ``layer``, a catalogue name or a text form, stands in the place of all norms but those of queries
    and keys, with ``groups`` and the model's ``norm_eps``; without one they are ``model.norm``. ``validation`` is the
    number of windows of text that give the validation loss. Probes are read every ``probe_every`` steps and at the last
    one, never if 0. ``dtype`` is that of activations (autocast).
    """

    seed: Count = 1
    model: ModelConfig = ModelConfig()
    layer: str = ""
    groups: PositiveInt = 4
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
