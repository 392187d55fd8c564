"""What a study steers: a model, samples to fit maps on, and measurements of what steering did."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import nn

from evonas.studies.steering.sites import Batch


class SteeringTarget(Protocol):
    """A model with one task or more.

    Results are recorded by what they depend on: ``fitting`` and ``measuring`` give that in words, beside the seed.
    """

    @property
    def model(self) -> nn.Module:
        """The model that is steered."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the model is steered to, by name."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Patterns of the modules to steer, for methods that name none."""

    def samples(self, task: str, seed: int) -> tuple[Sequence[Batch], Sequence[Batch]]:
        """Source and target batches."""

    def fresh(self, task: str, seed: int) -> tuple[Sequence[Batch], Sequence[Batch]] | None:
        """Source and target batches of samples that are not fitted with this seed; None if there are none."""

    def instructed(self, text: str, share: float, seed: int) -> AbstractContextManager[None]:
        """Within it an instruction stands before a share of the texts that the model is measured on.

        Raises:
            InputError: the model reads no text.
        """

    def measure(self, task: str, seed: int) -> Mapping[str, Any]:
        """Measure the model as it is now: ``score``, how much of the concept it shows, ``cost``, and further numbers.

        The cost of the untouched model is above 0, and a higher one worse; None is one beyond numbers.
        """

    def fitting(self, task: str, seed: int) -> str:
        """Everything that ``samples`` and the model depend on, as text."""

    def measuring(self, task: str, seed: int) -> str:
        """Everything that ``measure`` depends on apart from the steering, as text."""
