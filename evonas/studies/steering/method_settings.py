"""``[[methods]]`` of a study: how maps are fitted, and at which strengths they are measured."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section, Share
from evonas.errors import InputError
from evonas.studies.steering.fit import CLUSTERS
from evonas.studies.steering.held_out import HeldOutSettings
from evonas.studies.steering.methods import LINEAS, PROMPT

STRENGTHS = (0.25, 0.5, 0.75, 1.0)


class FitConfig(Section):
    """How maps are fitted; keys as of ``evonas.steering.fit``."""

    method: str = LINEAS
    """`lineas`, `linear-act`, `mean-act`, `caa`, `iti-c`, `chars`, `prompt`, or a registered method."""
    sites: tuple[str, ...] = ()
    """Patterns of the modules that are steered. Empty: of language models the norms after attention, of images all
    norms."""
    pool: Literal["mean", "last", "max", "min"] = "mean"
    """How the tokens of a sentence become one vector."""
    steps: PositiveInt = 100
    """Steps of LinEAS."""
    lr: Positive = 0.1
    """Learning rate of LinEAS."""
    reduction: Literal["mean", "sum"] = "mean"
    """Whether LinEAS takes the mean or the sum over neurons."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """What trains LinEAS."""
    sequential: bool = True
    """Whether Linear-AcT and Mean-AcT fit site after site with the earlier ones steered, or all on the untouched model.
    """
    bounded: bool = True
    """Whether Linear-AcT leaves values alone that lie outside of those it was fitted to; false is for inducing a
    property."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the sentences that a training of LinEAS does not see, and that say after which step it ends."""
    folds: Count = 0
    """In place of `held_out`: each sentence is held out once, in so many trainings of LinEAS; then all are fitted."""
    shrink: bool = False
    """Whether the held-out sentences also say how far each neuron moves of what LinEAS fitted."""
    clusters: PositiveInt = CLUSTERS
    """Clusters of CHaRS."""
    instruction: str = ""
    """What `prompt` puts before each text."""


class MethodConfig(FitConfig):
    """One of ``[[methods]]``: a fit for each of its sparsities and ``neurons``, measured at each strength."""

    name: str = Field("", pattern=r"^[A-Za-z0-9._+-]*$")
    """What tables call it. Empty: its method."""
    sparsities: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.0,)
    """Of LinEAS: weights of the published penalty, which also shrinks what it keeps. 0: none."""
    neurons: Annotated[tuple[Share, ...], Field(min_length=1)] = (1.0,)
    """Of LinEAS: shares of the neurons that may be steered, those at which the loss is steepest."""
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)] = STRENGTHS
    """1 applies the map as it was fitted; of ITI-c they are numbers of standard deviations, of `prompt` the share of
    texts that the instruction is put before."""

    @model_validator(mode="after")
    def _sparse(self) -> Self:
        if any(self.sparsities) and self.method != LINEAS:
            raise PydanticCustomError("sparsities", "no sparsities: {method} has none", {"method": self.method})
        if set(self.neurons) != {1.0} and self.method != LINEAS:
            raise PydanticCustomError("neurons", "no neurons: {method} steers all", {"method": self.method})
        if (self.held_out or self.folds or self.shrink) and self.method != LINEAS:
            raise PydanticCustomError("held_out", "nothing held out: {method} has no steps", {"method": self.method})
        HeldOutSettings(self.held_out, self.folds, self.shrink)
        if (self.method == PROMPT) != bool(self.instruction.strip()):
            raise InputError("instruction", repr(self.instruction), accepted=f"some words with method {PROMPT!r} alone")
        if self.method == PROMPT and max(self.strengths) > 1:
            raise InputError("strengths", f"{max(self.strengths):g}", accepted="shares of the texts, up to 1")
        return self

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.name or self.method

    @property
    def fit(self) -> FitConfig:
        """The settings of its fit."""
        return FitConfig(**{key: getattr(self, key) for key in FitConfig.model_fields})
