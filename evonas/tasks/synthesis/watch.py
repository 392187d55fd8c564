"""Watches over the training of a generator: whether it collapsed, and which of its states was the best one."""

from dataclasses import dataclass, field
from itertools import pairwise

from torch import nn

from evonas.tasks.synthesis.distance import Quality

PATIENCE = 3  # evaluations
MARGIN = 1.25  # how far above the lowest distance a collapse is
ZERO = 0.01  # a mean loss of the discriminator below this is 0; while it cannot tell images apart, it is 2


@dataclass(slots=True)
class Watch:
    """What the evaluations of one training found.

    A training collapsed if the distance rose in ``PATIENCE`` evaluations in a row, to more than ``MARGIN`` times its
    lowest value, or if the mean loss of the discriminator since the evaluation before is 0: it then has nothing more to
    learn, and its gradient says nothing to the generator.

    Attributes:
        evaluations: the step and the quality of each.
        best: the lowest distance so far, and the generator that had it.
        collapsed: the step of the first evaluation that found a collapse.
    """

    evaluations: list[tuple[int, Quality]] = field(default_factory=list)
    best: tuple[Quality, nn.Module] | None = None
    collapsed: int | None = None

    def see(self, step: int, found: Quality, generator: nn.Module, discriminator_loss: float) -> None:
        """Take note of an evaluation.

        Args:
            step: when it was.
            found: how good the images of ``generator`` are.
            generator: a copy that is not trained on; it is kept while it is the best one.
            discriminator_loss: its mean since the evaluation before; NaN if there is none.
        """
        self.evaluations.append((step, found))
        if self.best is None or found.distance < self.best[0].distance:
            self.best = found, generator
        if self.collapsed is None and (discriminator_loss < ZERO or self._rises()):
            self.collapsed = step

    def _rises(self) -> bool:
        distances = [found.distance for _, found in self.evaluations]
        last = distances[-PATIENCE - 1 :]
        rises = all(before < after for before, after in pairwise(last))
        return len(last) > PATIENCE and rises and last[-1] > MARGIN * min(distances)
