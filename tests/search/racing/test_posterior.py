"""What is believed of layers that were measured several times.

Oracles: the same model as one multivariate normal distribution, in dense linear algebra with very wide priors in the
place of flat ones; and races whose layers have known levels, for what matters of a search.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from evonas.config import RacingConfig
from evonas.search.racing.posterior import PRIOR, SHARES, Posterior, Reference, posteriors
from evonas.search.racing.race import Race

Array = NDArray[np.float64]
Kind = Callable[[np.random.Generator], Array]  # how the levels of layers are distributed
FLAT = 1e4  # variance of priors that say nothing, of scores around 0


def dense(found: dict[str, float], rounds: dict[str, dict[int, float]], reference: Reference) -> dict[str, Posterior]:
    """The mixture over the grid; levels, shifts and noise are one normal distribution for each share."""
    names = [*found, "reference"]
    scores = [*found.values(), reference.found]
    later = [(i, k, y) for i, name in enumerate(found) for k, y in rounds.get(name, {}).items()]
    later += [(len(found), k, y) for k, y in reference.rounds.items()]
    numbers = sorted({k for _, k, _ in later})
    centre = float(np.median(list(found.values())))
    above = [x - centre for x in found.values() if x > centre]
    variance = float(np.mean(np.square(above)))
    size, shifts = len(names), len(numbers)
    design = np.zeros((size + len(later), size + shifts))  # scores of the search, then those of rounds
    design[:size, :size] = np.eye(size)
    for row, (i, k, _) in enumerate(later):
        design[size + row, i] = design[size + row, size + numbers.index(k)] = 1
    data = np.array([*scores, *(y for *_, y in later)])
    weights, means, spreads = [], [], []
    for share, prior in zip(SHARES, PRIOR, strict=True):
        middle = np.array([centre] * len(found) + [0.0] * (1 + shifts))
        width = np.diag([variance * (1 - share)] * len(found) + [FLAT] * (1 + shifts))
        noise = variance * share * np.eye(len(data))
        covariance, mean = design @ width @ design.T + noise, design @ middle
        gain = width @ design.T @ np.linalg.inv(covariance)
        means.append((middle + gain @ (data - mean))[: len(found)])
        spreads.append(np.diag(width - gain @ design @ width)[: len(found)])
        weights.append(
            prior + normal(data, mean, covariance) - normal(data[:size], mean[:size], covariance[:size, :size])
        )
    weight = np.exp(np.array(weights) - max(weights))
    weight /= weight.sum()
    mean = weight @ np.array(means)
    deviation = np.sqrt(weight @ (np.array(spreads) + (np.array(means) - mean) ** 2))
    return {name: Posterior(mean[i], deviation[i], 1 + len(rounds.get(name, {}))) for i, name in enumerate(found)}


def normal(data: Array, mean: Array, covariance: Array) -> float:
    residual = data - mean
    return float(-(np.linalg.slogdet(covariance)[1] + residual @ np.linalg.solve(covariance, residual)) / 2)


@pytest.mark.parametrize("seed", range(4))
def test_beliefs_are_those_of_one_normal_distribution(seed: int) -> None:
    draw = np.random.default_rng(seed)
    found = {str(i): float(draw.normal()) for i in range(12)}
    rounds = {
        name: {k: float(found[name] + 0.5 + draw.normal(0, 0.5)) for k in range(1, 1 + draw.integers(1, 4))}
        for name in sorted(found, key=found.__getitem__)[-5:]
    }
    reference = Reference(float(draw.normal()), {1: 0.3, 2: -0.2})
    for name, expected in dense(found, rounds, reference).items():
        got = posteriors(found, rounds, reference)[name]
        assert (got.mean, got.sd) == pytest.approx((expected.mean, expected.sd), rel=2e-3, abs=2e-3)
        assert got.measurements == expected.measurements


def test_a_score_that_nothing_is_known_about_is_believed() -> None:
    assert posteriors({}, {}) == {}
    assert posteriors({"a": 0.5}, {}) == {"a": Posterior(0.5, 0.0)}
    assert posteriors({"a": 0.5, "b": 0.5}, {}) == {name: Posterior(0.5, 0.0) for name in "ab"}


def test_before_anything_is_measured_again_scores_move_towards_their_median_and_keep_their_order() -> None:
    found = {"a": 0.1, "b": 0.4, "c": 0.5, "d": 0.6, "e": 0.9}
    beliefs = posteriors(found, {})
    means = [beliefs[name].mean for name in found]
    assert means == sorted(means)
    assert means[2] == pytest.approx(0.5)
    assert (0.9 - means[-1]) / (0.9 - 0.5) == pytest.approx(2 / 7, abs=0.01)  # the mean of Beta(2, 5)
    assert len({belief.sd for belief in beliefs.values()}) == 5  # what share is noise matters more, further out


@cache
def raced(kind: Kind, seed: int, noise: float = 0.02) -> tuple[Race, list[float], Array]:
    """A race of layers with known levels, scores with noise, rounds harder or easier; scores when found, and levels."""
    levels = kind(np.random.default_rng(seed))
    draw = np.random.default_rng((seed, 1))
    shift, middle = draw.normal(0, 0.05, 30), float(np.median(levels))
    race, position, found = Race(RacingConfig(every=4), middle + draw.normal(0, noise)), 0, list[float]()
    while len(found) < len(levels):
        due = race.next(position)
        if due is None:
            found.append(float(levels[len(found)] + draw.normal(0, noise)))
            race.found(len(found) - 1, str(len(found) - 1), found[-1])
        else:
            round_, candidate = due
            race.ask(round_, candidate)
            level = middle if candidate is None else levels[candidate]
            race.tell(round_, candidate, float(level + shift[round_] + draw.normal(0, noise)))
        position += 1
    return race, found, levels


def symmetric(draw: np.random.Generator) -> Array:
    return draw.normal(0.5, 0.03, 160)


def with_failures(draw: np.random.Generator) -> Array:
    return np.where(draw.random(160) < 0.4, draw.uniform(0.1, 0.4, 160), draw.normal(0.5, 0.02, 160))


@pytest.mark.parametrize(("kind", "most"), [(symmetric, 0.25), (with_failures, 0.5)])
def test_the_luck_of_winners_is_taken_back_and_better_layers_come_first(kind: Kind, most: float) -> None:
    lucky, believed, by_score, by_belief = [], [], [], []
    for seed in range(16):
        race, found, levels = raced(kind, seed)
        beliefs, best = race.beliefs(), race.order()[:10]
        winners = np.argsort(found)[::-1][:10]
        lucky.append(np.mean([found[i] - levels[i] for i in winners]))
        believed.append(np.mean([beliefs[i].mean - levels[i] for i in best]))
        by_score.append(levels.max() - levels[winners[0]])
        by_belief.append(levels.max() - levels[best[0]])
    assert np.mean(lucky) > 0.015  # the curse is there
    assert abs(np.mean(believed)) < most * np.mean(lucky)
    assert np.mean(by_belief) < 0.5 * np.mean(by_score)


def test_nine_of_ten_levels_lie_within_the_ninety_per_cent_intervals() -> None:
    inside = []
    for seed in range(16):
        race, _, levels = raced(symmetric, seed)
        beliefs = race.beliefs()
        inside += [abs(beliefs[i].mean - levels[i]) < 1.645 * beliefs[i].sd for i in race.order()[:10]]
    assert 0.84 < np.mean(inside) < 0.96
