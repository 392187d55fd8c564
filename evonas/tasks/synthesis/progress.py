"""What is noted of one training of a generator and a discriminator."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from evonas.tasks.synthesis.distance import DISTANCE
from evonas.tasks.synthesis.ema import Ema
from evonas.tasks.synthesis.watch import Watch

Player = Literal["generator", "discriminator"]
Curve = Sequence[tuple[int, float]]

POINTS = 100  # of a curve of losses


@dataclass(slots=True)
class Progress:
    """The average of the generator, the losses of both players and what the evaluations found.

    Attributes:
        average: of everything that the generator holds; follows after each of its steps.
        every: steps of both players between two evaluations.
        watch: over the evaluations.
        losses: of each player, with the step at which each was taken.
    """

    average: Ema
    every: int
    watch: Watch = field(default_factory=Watch)
    losses: dict[Player, list[tuple[int, Tensor]]] = field(
        default_factory=lambda: {"generator": [], "discriminator": []}
    )

    def step(self, steps: int, player: Player, loss: Tensor, generator: nn.Module) -> None:
        """Take note of a step of a player; after one of the generator, its average follows.

        The average after t steps of the generator keeps the share min(0.9999, (1 + t) / (10 + t)), as in TensorFlow's
        ``ExponentialMovingAverage``. So a short training has an average over a share of its steps, and a long one that
        of BigGAN.

        Args:
            steps: how many were taken by both.
            player: who took the last one.
            loss: its loss.
            generator: as it is now.
        """
        self.losses[player].append((steps, loss))
        if player == "generator":
            taken = len(self.losses["generator"])
            self.average.decay = min(0.9999, (1 + taken) / (10 + taken))
            self.average.update(generator, taken)

    @property
    def steps(self) -> int:
        """How many steps were taken by both."""
        return max((points[-1][0] for points in self.losses.values() if points), default=0)

    def recent_loss(self, player: Player) -> float:
        """The mean loss of a player since the last evaluation; NaN if it took no step."""
        last = self.watch.evaluations[-1][0] if self.watch.evaluations else 0
        values = [loss for step, loss in self.losses[player] if step > last]
        return float(torch.stack(values).mean()) if values else math.nan

    def curves(self) -> dict[str, Curve]:
        """Losses of the players, and the distance and the class score at each evaluation, over steps."""
        evaluations = self.watch.evaluations
        return {
            **{f"{player} loss": _thinned(points) for player, points in self.losses.items()},
            DISTANCE: [(step, found.distance) for step, found in evaluations],
            "class score": [(step, found.classes) for step, found in evaluations],
        }


def _thinned(points: list[tuple[int, Tensor]]) -> Curve:
    """Means over parts of equal length, each at its last step."""
    length = -(-len(points) // POINTS) or 1
    parts = [points[start : start + length] for start in range(0, len(points), length)]
    return [(part[-1][0], float(torch.stack([loss for _, loss in part]).mean())) for part in parts]
