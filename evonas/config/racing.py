"""How a search measures its best layers again: ``[racing]`` and its rounds."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from evonas.config.section import Count, Positive, PositiveInt, Section, Share
from evonas.config.task import TaskConfig, TrainingConfig, require_names
from evonas.errors import InputError


class RoundConfig(Section):
    """One of ``[[racing.rounds]]``: conditions that are the same for all layers that are measured in it."""

    steps: PositiveInt | None = None
    """Training steps. Not set: `training.steps`."""
    learning_rate: Positive | None = None
    """The learning rate at its highest. Neither this nor the next set: as in `[training]`."""
    learning_rates: tuple[Positive, ...] | None = None
    """Instead of `learning_rate`: several, of which the best one counts on every task."""
    warmup: Count | None = None
    """Steps at the beginning in which the learning rate rises. Not set: `training.warmup`."""
    tasks: tuple[TaskConfig, ...] = ()
    """Networks to train in, as `[[tasks]]`. Empty: those of the search."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        require_names(self.tasks)
        return self

    @model_validator(mode="after")
    def _one_of_rates(self) -> Self:
        if self.learning_rate is not None and self.learning_rates is not None:
            raise InputError("learning_rate", "learning_rates are given too", accepted="one of the two")
        return self

    def training(self, of_search: TrainingConfig) -> TrainingConfig:
        """How layers are trained in this round.

        Args:
            of_search: how the search trains its candidates.
        """
        changes: dict[str, Any] = self.model_dump(include={"steps", "warmup"}, exclude_none=True)
        if self.learning_rate is not None:
            changes |= {"learning_rate": self.learning_rate, "learning_rates": ()}
        if self.learning_rates is not None:
            changes["learning_rates"] = self.learning_rates
        return of_search.model_copy(update=changes)


class RacingConfig(Section):
    """``[racing]``: the best layers are measured again while the search runs, round by round."""

    every: Count = 0
    """A layer is measured again instead of every such candidate: 6 for every sixth. 0 turns racing off."""
    reduction: Annotated[float, Field(gt=1)] = 2.0
    """Of the layers that finished a round, the best 1 / reduction are measured in the next one."""
    elites: Share = 0.25
    """Share of the scored layers, the best by posterior mean, that are measured in the first round."""
    rounds: tuple[RoundConfig, ...] = ()
    """Conditions of the rounds, in their order; the last ones are repeated under further seeds. Empty: those of the
    search, under other seeds."""

    @property
    def conditions(self) -> tuple[RoundConfig, ...]:
        """The conditions that there are; none without racing."""
        return (self.rounds or (RoundConfig(),)) if self.every else ()

    def number(self, round_: int) -> int:
        """Which of the conditions those of a round are; the first round and the first conditions have the number 1."""
        return min(round_, len(self.conditions))
