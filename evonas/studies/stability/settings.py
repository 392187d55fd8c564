"""What one run is: frozen sections with every switch of the paper; those of the model: ``evonas.tasks.language``.

Defaults are the paper's but where a desk needs smaller ones: size, context, batch, steps and, with the steps, the
warm-up (5 % of them, as in the paper). Where 0 turns something off it says so.

Source: Wortsman et al. 2023, arXiv 2309.14322, experimental set-up.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section, Seed
from evonas.tasks.language.settings import ModelConfig

Momentum = Annotated[float, Field(ge=0, lt=1)]
Decay = Literal["independent", "coupled"]


class OptimizerConfig(Section):
    """AdamW with its schedule: linear warm-up to ``learning_rate``, then a cosine to ``final_learning_rate``.

    With weight decay lambda a step takes s_t lambda theta off (``independent``), or s_t eta lambda theta (``coupled``).
    Where lambda is not set it is the paper's.
    """

    learning_rate: Positive = 1e-2
    """The learning rate at its highest; a study sets it by its grid."""
    final_learning_rate: NotNegative = 1e-5
    """Learning rate at the last step."""
    warmup: Count = 50
    """Steps at the beginning in which the learning rate rises."""
    beta1: Momentum = 0.9
    """Decay of AdamW's mean of gradients."""
    beta2: Momentum = 0.95
    """Decay of AdamW's mean of squared gradients."""
    epsilon: Positive = 1e-8
    """What AdamW adds to the root."""
    decay: Decay = "independent"
    """What the weight decay is multiplied with: the schedule alone (`independent`), or also the learning rate
    (`coupled`)."""
    weight_decay: NotNegative | None = None
    """Not set: 1e-4 if independent, 0.1 if coupled."""
    undecayed: tuple[str, ...] = ()
    """Patterns of parameters without weight decay, such as `**.*norm.*`."""
    clip: NotNegative = 1.0
    """Bound of the global norm of the gradient. 0: none."""
    rms_scaled: bool = False
    """Whether the learning rate of each tensor is multiplied with its root mean square."""

    @model_validator(mode="after")
    def _falling(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            what = "a final_learning_rate up to the learning_rate, {peak}"
            raise PydanticCustomError("final_learning_rate", what, {"peak": self.learning_rate})
        return self

    @property
    def decay_rate(self) -> float:
        """The weight decay lambda."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 1e-4 if self.decay == "independent" else 0.1


class TrainingRunConfig(Section):
    """One training. A ``layer`` is lowered with ``groups`` and the model's ``norm_eps``."""

    seed: Seed = 1
    """Seed of weights and batches; a study sets it by its grid."""
    model: ModelConfig = ModelConfig()
    """The transformer."""
    layer: str = ""
    """A name, formula, text form or RUN#rank: the layer in the place of all norms but those of queries and keys.
    Empty: `model.norm`."""
    groups: PositiveInt = 4
    """Groups of features of `layer`."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW with its schedule."""
    steps: PositiveInt = 1000
    """Training steps."""
    batch_size: PositiveInt = 16
    """Windows of text in a step."""
    z_loss: NotNegative = 1e-4
    """Weight of log^2 Z in the loss. 0: none."""
    qk_clip: NotNegative = 0.0
    """Largest attention logit that a head may have after a step. 0: no bound."""
    validation: PositiveInt = 64
    """Windows of text that give the validation loss."""
    probe_every: Count = 100
    """Steps between two looks at activations and gradients, beside that at the last step. 0: never."""
    spectral: bool = False
    """Whether stable ranks of weights, spectra of queries and keys, and the alignment of neighbouring blocks are looked
    at as well."""
    device: str = "auto"
    """A study sets it by `execution.device`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of activations (autocast)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.optimizer.warmup >= self.steps:
            raise PydanticCustomError("warmup", "a warmup below the {steps} steps", {"steps": self.steps})
        if self.qk_clip and (self.model.qk_layernorm or self.model.qk_kappa):
            # rescaled weights would change nothing but the size of their next steps
            raise PydanticCustomError("qk_clip", "qk_clip without qk_layernorm and qk_kappa, which undo it")
        return self
