"""How well a layer trains at small batches, where statistics over the batch are noisy.

The training has as many steps as ``[training]`` says, and its schedule. Its learning rate follows the usual rules:
with SGD it is in proportion to the batch size (Goyal et al. 2017, arXiv 1706.02677), with AdamW to its square root
(Malladi et al. 2022, arXiv 2205.10287). So from batches of 64, SGD goes on at 1/16 of the rate and AdamW at 1/4.
"""

import math

from evonas.search.training import Training
from evonas.training.fit import StopReason

SMALL_BATCH = 4


def small_batch_score(trained: Training) -> float:
    """The task's metric after a training at batch size 4.

    It is 0 where that training diverges, as this is no reason to reject a layer, and NaN for a task that has only one
    batch size.

    Args:
        trained: says which layer, task, seed and settings.
    """
    if trained.task.resized is None:
        return math.nan
    settings = trained.settings
    ratio = SMALL_BATCH / settings.batch_size
    rate = settings.learning_rate * (math.sqrt(ratio) if settings.optimizer == "adamw" else ratio)
    training = Training(
        trained.task.resized(SMALL_BATCH),
        trained.genome,
        settings.at_rate(rate).model_copy(update={"batch_size": SMALL_BATCH}),
        trained.layer,
        trained.seed,
        trained.on_step,
    )
    training.advance(settings.steps)
    if training.stop is not StopReason.COMPLETED:
        return 0.0
    try:
        return training.score()
    except ValueError:  # no finite number
        return 0.0
