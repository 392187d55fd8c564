"""What is believed of layers that were measured once or several times, under several conditions.

The score of layer i in the search, x_i, and its score in round k of a race, y_ik, are taken as

    x_i = q_i + e_i,    y_ik = q_i + s_k + e_ik,    q_i ~ N(m, t),    e ~ N(0, v)

with a shift s_k that is common to all layers of a round: other networks, other steps, another seed. So q is measured in
units of the search's scores.

- *The prior* is estimated from the search alone (empirical Bayes): m is the median of the x_i, t + v the mean square
  of x_i - m over those above it. Layers that fail make a long tail below, which says nothing about how close the best
  ones are to each other.
- *The noise* is v = u (t + v). The share u has the prior Beta(2, 5), and its posterior is computed on a grid. Its
  likelihood is that of the y given the x, with a flat prior of the shifts (restricted likelihood). Where nothing was
  measured twice, the prior alone says that some 2/7 of the variance is noise.
- *The shifts* are estimated by generalized least squares against what is expected of each layer after x_i, not against
  x_i itself. So the fall of layers that were chosen because their x_i was high is not mistaken for a harder round.
- *A reference* that nobody chose by its score has a flat prior: it says how hard a round is, and is not shrunk.

Which layers are measured again depends on the scores alone, so that the choice changes no likelihood and needs no
correction. Means and deviations are those of the mixture over u. Sources: Efron and Morris 1975, "Data analysis using
Stein's estimator and its generalizations"; Searle, Casella and McCulloch 1992, "Variance Components", chapters 6 and 7.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SHARES = np.linspace(0.02, 0.98, 49)  # of noise in the variance of a score: the grid
PRIOR = np.log(SHARES) + 4 * np.log(1 - SHARES)  # Beta(2, 5), up to a constant


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of a layer, in units of the search's scores.

    Attributes:
        mean: the expected score.
        sd: standard deviation of the belief; it includes what is not known about the noise and the rounds.
        measurements: how often the layer was measured, the search included.
        failed: whether it could not be trained in some round; then the mean is the worst score of the search.
    """

    mean: float
    sd: float
    measurements: int = 1
    failed: bool = False

    def __str__(self) -> str:
        return "not trained to the end again" if self.failed else f"{self.mean:.4f} ± {self.sd:.4f}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A known layer that is measured beside the others.

    Attributes:
        found: its score in the search.
        rounds: its scores, by round.
    """

    found: float
    rounds: Mapping[int, float]


def posteriors(
    found: Mapping[str, float], rounds: Mapping[str, Mapping[int, float]], reference: Reference | None = None
) -> dict[str, Posterior]:
    """What is believed of every layer.

    Args:
        found: the score of each layer in the search.
        rounds: scores of some of them, by round.
        reference: a layer that was not chosen by its score.
    """
    names = list(found)
    x = np.array([found[name] for name in names])
    centre, variance = _population(x)
    if variance == 0.0:  # of one layer, or of several with one score, nothing can be said
        return {name: Posterior(found[name], 0.0, 1 + len(rounds.get(name, {}))) for name in names}
    again = [number for number, name in enumerate(names) if rounds.get(name)]
    rows: list[Mapping[int, float]] = [rounds[names[number]] for number in again]
    if reference is not None and reference.rounds:
        rows.append(reference.rounds)
    known = np.append(x[again], [reference.found] if len(rows) > len(again) and reference else [])
    free = np.arange(len(rows)) >= len(again)
    levels, spreads, weights = [], [], PRIOR.copy()
    for number, share in enumerate(SHARES):
        mean, spread = centre + (1 - share) * (x - centre), np.full(len(x), variance * share * (1 - share))
        if rows:
            noise = variance * share
            start = np.where(free, known, centre + (1 - share) * (known - centre))
            width = np.where(free, noise, variance * share * (1 - share))
            fit = _fit(_matrix(rows), start, width, noise)
            mean[again], spread[again] = fit.mean[~free], fit.variance[~free]
            weights[number] += fit.likelihood
        levels.append(mean)
        spreads.append(spread)
    weight = np.exp(weights - weights.max())
    weight /= weight.sum()
    mean = np.einsum("s,si->i", weight, np.array(levels))
    square = np.einsum("s,si->i", weight, np.array(spreads) + (np.array(levels) - mean) ** 2)
    return {
        name: Posterior(float(mean[i]), float(np.sqrt(square[i])), 1 + len(rounds.get(name, {})))
        for i, name in enumerate(names)
    }


def _population(x: Array) -> tuple[float, float]:
    """Median, and variance of the upper half around it."""
    if not len(x):
        return 0.0, 0.0
    centre = float(np.median(x))
    above = x[x > centre]
    return centre, float(np.mean((above - centre) ** 2)) if len(above) else 0.0


@dataclass(frozen=True, slots=True)
class _Fit:
    mean: Array
    variance: Array
    likelihood: float


def _matrix(rows: list[Mapping[int, float]]) -> Array:
    """Layers by rounds; nan where a layer was not measured."""
    columns = sorted({number for row in rows for number in row})
    return np.array([[row.get(number, np.nan) for number in columns] for row in rows])


def _fit(y: Array, start: Array, width: Array, noise: float) -> _Fit:
    """Levels of layers that were expected at ``start`` with the variances ``width``, after their scores in rounds."""
    there = ~np.isnan(y)
    mask = there.astype(float)
    count = mask.sum(1)
    pull = width / (noise + count * width)  # how far the sum of a layer's residuals moves its level
    precision = (np.diag(mask.sum(0)) - np.einsum("i,ij,ik->jk", pull, mask, mask)) / noise
    covariance = np.linalg.inv(precision)  # of the shifts
    residual = np.where(there, y - start[:, None], 0.0)
    right = (residual.sum(0) - np.einsum("i,ij->j", pull * residual.sum(1), mask)) / noise
    residual = np.where(there, residual - np.einsum("jk,k->j", covariance, right), 0.0)
    total = residual.sum(1)
    square = (float((residual**2).sum()) - float((pull * total**2).sum())) / noise
    logarithms = float((count * np.log(noise) + np.log1p(count * width / noise)).sum())
    likelihood = -(logarithms + float(np.linalg.slogdet(precision)[1]) + square) / 2
    by_shift = np.einsum("ij,jk,ik->i", mask, covariance, mask) * pull**2
    return _Fit(start + pull * total, width * noise / (noise + count * width) + by_shift, likelihood)
