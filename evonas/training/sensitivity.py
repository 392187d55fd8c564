"""Learning-rate sensitivity: how much is lost when the learning rate is not the best one.

It says nothing about how good the best loss is, nor why a loss is high: a learning rate too low to get anywhere in the
steps given counts like one that diverges. So show the losses over learning rates beside it, and train long enough that
the left end is flat.

Source: Wortsman et al. 2023; limits in their appendix B.
"""

import math
from collections.abc import Collection, Mapping
from statistics import fmean

from evonas.errors import InputError

LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
Windows = tuple[tuple[float, float], ...]  # lowest and highest learning rate of each
COUPLED_WINDOWS: Windows = ((1e-4, 1e-1), (3e-4, 3e-1))  # the last one is that of everything else


def lr_sensitivity(losses: Mapping[float, float], initial_loss: float) -> float:
    r"""Mean over learning rates of $\min(l(\eta), l_0) - l^*$, with $l^* = \min_\eta l(\eta)$.

    A loss that is not finite counts as $l_0$. The mean is over the points as they are: give a grid that is uniform in
    log eta, as ``LEARNING_RATES``.

    Where no learning rate ends below $l_0$, $l^*$ is no best loss of anything that learned. By the letter the result
    would be 0, that of a perfectly robust model, so it is NaN instead: undefined in this window.

    Args:
        losses: final validation loss by peak learning rate.
        initial_loss: l_0, the validation loss at initialization.

    Raises:
        InputError: no losses, a learning rate that is not positive, or an initial loss that is not finite.

    Example:
        ``lr_sensitivity({1e-3: 2.0, 1e-2: 1.5, 1e-1: math.nan}, initial_loss=5.5)`` is (0.5 + 0 + 4) / 3 = 1.5
    """
    _check(losses, initial_loss)
    clipped = [initial_loss if diverged(loss, initial_loss) else loss for loss in losses.values()]
    best = min(clipped)
    return fmean(clipped) - best if best < initial_loss else math.nan


def coupled_lr_sensitivity(
    losses: Mapping[float, float],
    initial_loss: float,
    windows: Windows = COUPLED_WINDOWS,
) -> float:
    """The least sensitivity over several windows of learning rates, each with its own best loss.

    The paper's rule for coupled weight decay, whose best learning rate lies lower: a shifted optimum shall not count as
    instability. Windows that are NaN are left out; NaN if all are.

    Args:
        losses: final validation loss by learning rate, over all windows.
        initial_loss: the validation loss at initialization.
        windows: lowest and highest learning rate of each, both among the losses.

    Raises:
        InputError: as ``lr_sensitivity``, or a window whose end has no loss.
    """
    _check(losses, initial_loss)
    found = (lr_sensitivity(_within(losses, *window), initial_loss) for window in windows)
    return min((value for value in found if not math.isnan(value)), default=math.nan)


def reaches_over(rates: Collection[float], windows: Windows = COUPLED_WINDOWS) -> bool:
    """Whether the ends of all windows are among the learning rates."""
    return all(_has(rates, end) for window in windows for end in window)


def stability_margin(losses: Mapping[float, float], initial_loss: float) -> float:
    """The lowest learning rate above the best one that diverges, over the best one.

    inf where none of those given diverges, NaN where no learning rate ends below the initial loss.

    Raises:
        InputError: as ``lr_sensitivity``.
    """
    _check(losses, initial_loss)
    learned = {rate: loss for rate, loss in losses.items() if math.isfinite(loss) and loss < initial_loss}
    if not learned:
        return math.nan
    best = min(learned, key=lambda rate: (learned[rate], rate))
    lost = [rate for rate, loss in losses.items() if rate > best and diverged(loss, initial_loss)]
    return min(lost, default=math.inf) / best


def diverged(final_loss: float, initial_loss: float) -> bool:
    """Whether a training ended worse than it began: its final loss is not finite, or above that at initialization."""
    return not math.isfinite(final_loss) or final_loss > initial_loss


def _has(rates: Collection[float], wanted: float) -> bool:
    return any(math.isclose(rate, wanted) for rate in rates)


def _within(losses: Mapping[float, float], low: float, high: float) -> dict[float, float]:
    inside = {rate: loss for rate, loss in losses.items() if low <= rate <= high or _has((low, high), rate)}
    for end in (low, high):
        if not _has(inside, end):
            rates = ", ".join(f"{rate:g}" for rate in sorted(losses))
            raise InputError("losses", f"none at {end:g}, an end of the window; there are {rates}")
    return inside


def _check(losses: Mapping[float, float], initial_loss: float) -> None:
    if not losses:
        raise InputError("losses", "empty", accepted="a final loss for each learning rate")
    for rate in losses:
        if not (math.isfinite(rate) and rate > 0):
            raise InputError("losses", f"a learning rate of {rate}", accepted="positive numbers")
    if not math.isfinite(initial_loss):
        raise InputError("initial_loss", str(initial_loss), accepted="a finite number")
