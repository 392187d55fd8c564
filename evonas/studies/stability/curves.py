"""Two ways in which a training curve can go wrong: spikes, which pass, and slow divergence, which does not.

Both look at one number a step: training losses, or for spikes gradient norms as well.
"""

import math
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from evonas.errors import InputError


def spike_steps(values: Sequence[float], *, window: int = 1000, sigmas: float = 7.0) -> tuple[int, ...]:
    """The steps whose value lies ``sigmas`` standard deviations or more from the mean of the ``window`` values before.

    The first ``window`` values are not judged. A value that is not finite is a spike; windows with one find no others.

    Args:
        values: one a step.
        window: values that give mean and standard deviation (over n).
        sigmas: how far away a spike is.

    Raises:
        InputError: a window below 2, or sigmas that are not positive.

    Source: after OLMo 2, arXiv 2501.00656, where 7 deviations and 1000 values are used. That the window ends before the
    value it judges is a choice made here: one that holds its own spike hides it.
    """
    if window < 2 or not sigmas > 0:
        found, accepted = f"{window}, {sigmas}", "a window of 2 or more, and a positive number of deviations"
        raise InputError("window, sigmas", found, accepted=accepted)
    series = np.asarray(values, float)
    if len(series) <= window:
        return ()
    spikes = []
    for step, before in enumerate(sliding_window_view(series, window)[:-1], start=window):
        if not math.isfinite(series[step]):
            spikes.append(step)
        elif np.isfinite(before).all():
            distance = abs(series[step] - before.mean())
            if distance > 0 and distance >= sigmas * before.std():
                spikes.append(step)
    return tuple(spikes)


def diverges_slowly(losses: Sequence[float], *, window: int = 50, rise: float = 0.1) -> bool:
    """Whether a training lost again what it had learned: the loss ends ``rise`` or more above the best it had been.

    Both are medians of ``window`` losses in a row, which spikes do not move: the last such median, and the least one.
    Losses count up to the first that is not finite; what left the numbers within a window did not diverge slowly. Of
    several trainings, ``sum(map(diverges_slowly, curves))`` counts.

    Args:
        losses: training losses.
        window: losses in a median.
        rise: in the unit of the losses, nats.

    Raises:
        InputError: a window below 1.

    Source: a definition of this project; the paper tells slow divergence from spikes, but gives no rule.
    """
    if window < 1:
        raise InputError("window", str(window), accepted="1 or more")
    finite = list(takewhile(math.isfinite, losses))
    if len(finite) < window:
        return False
    medians = np.median(sliding_window_view(np.asarray(finite), window), axis=1)
    return bool(medians[-1] >= medians.min() + rise)
