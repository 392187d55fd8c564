"""What a guide knows of layers and makes of results. Oracles: what the catalogue's layers are known to do, definitions
written out, and fits of the surrogate to a law that is made up."""

import random
from dataclasses import replace
from math import log

import numpy as np
import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.search.guide.features import LIMIT, feature_names, features
from evonas.search.guide.fidelity import Fidelity
from evonas.search.guide.levels import NOWHERE, Level, level_of, rarity
from evonas.search.guide.pool import Pool
from evonas.search.guide.surrogate import Surrogate
from evonas.search.individual import FULL_TRAINING
from evonas.search.outcome import Candidate, Evaluation, Prediction, Proposal, Rejection
from evonas.search.protocols import Screens, silent

EPS = 1e-5


def described(text: str) -> dict[str, float]:
    genome = CATALOGUE[text] if text in CATALOGUE else Genome.from_formula(text)
    return dict(zip(feature_names(), features([genome], EPS)[0].tolist(), strict=True))


def test_features_have_names_of_their_own() -> None:
    assert len(set(feature_names())) == len(feature_names()) == features([CATALOGUE["bn-relu"]], EPS).shape[1]


def test_features_say_what_known_layers_do() -> None:
    batch, group, plain = described("bn-relu"), described("gn-relu"), described("max(x, 0)")
    for normalized in (batch, group):  # the whole input scaled or shifted changes nothing, up to eps
        for name in ("degree when larger", "change when larger", "change when shifted"):
            assert normalized[name] == pytest.approx(0, abs=1e-3)
        assert normalized["degree when smaller"] == pytest.approx(0, abs=1e-3)
        assert normalized["gradient, large"] == pytest.approx(normalized["gradient, base"] - 1, abs=1e-3)
    assert plain["degree when larger"] == pytest.approx(1)
    # what batch statistics mix and what they do not
    assert batch["change in other samples"] > 0.1
    assert group["change in other samples"] == plain["change in other samples"] == 0
    assert batch["degree in a scaled channel"] == pytest.approx(0, abs=1e-3)
    assert batch["change beside a scaled channel"] == 0
    assert group["change beside a scaled channel"] > 0.1
    assert group["degree in a scaled sample"] == pytest.approx(0, abs=1e-3)
    assert plain["degree in a scaled sample"] == pytest.approx(1)
    assert plain["change in other pixels"] == 0 < group["change in other pixels"]
    # means of the gradient that a normalization takes away: those over its index set
    assert batch["gradient along channels"] == pytest.approx(0, abs=1e-5)
    assert group["gradient along samples"] == pytest.approx(0, abs=1e-5)
    # the response of max(x, 0) is flat on the left half of its curve, and straight on the right
    assert plain["flat share of the curve"] == 0.5
    assert plain["slope of the curve below zero"] == 0
    assert plain["slope of the curve above zero"] == pytest.approx(1 / 6)
    assert plain["bend of the curve at zero"] == pytest.approx(1 / 6)
    assert plain["share of zeros"] == plain["share without gradient"] == pytest.approx(0.5, abs=0.1)
    assert plain["correlation with max(x, 0)"] == pytest.approx(1)
    assert plain["gradient of v0"] == plain["gradient of v1"] == 0 < batch["gradient of v1"]


@pytest.mark.parametrize(("text", "even", "odd"), [("abs(x)", 1, 0), ("tanh(x)", 0, 1)])
def test_even_and_odd_functions(text: str, even: float, odd: float) -> None:
    found = described(text)
    assert (found["even part"], found["odd part"]) == pytest.approx((even, odd), abs=1e-9)


def test_features_are_of_the_function_however_it_is_written() -> None:
    one, other = features([Genome.from_formula(text) for text in ("tanh(x) * x", "x * tanh(x) + 0")], EPS)
    same = np.array([name != "size" for name in feature_names()])
    np.testing.assert_allclose(one[same], other[same], rtol=1e-9)


@pytest.mark.parametrize("layout", ["bchw", "btd"])
def test_features_of_any_layer_are_finite_and_do_not_depend_on_its_company(layout: str) -> None:
    space, rng = SearchSpace(layout=layout, causal=False), random.Random(0)
    genomes = [space.sample(rng) for _ in range(300)]
    genomes += [Genome.from_formula(text) for text in ("exp(exp(exp(x)))", "x - x", "0 / 0", "log(0) / x")]
    found = features(genomes, EPS)
    assert np.abs(found).max() <= LIMIT
    np.testing.assert_array_equal(np.concatenate([features([genome], EPS) for genome in genomes]), found)


def evaluated(key: str, **how: object) -> Evaluation:
    return replace(Evaluation(key, 1, rejection=Rejection("quality", "diverged")), **how)  # type: ignore[arg-type]


def test_a_level_is_the_furthest_mark_of_all_tasks_and_the_mean_score_there() -> None:
    rungs = {"a": ((5, 0.2), (10, 0.4)), "b": ((5, 0.4),)}
    stopped = evaluated("k", rungs=rungs)
    assert level_of(stopped) == Level(5, pytest.approx(0.3))
    assert level_of(evaluated("k", objectives={"a": 0.1, "b": 0.2}, rejection=None)) == Level(
        FULL_TRAINING, pytest.approx(0.15)
    )
    assert level_of(evaluated("k")) == NOWHERE
    assert NOWHERE < Level(5, 0.9) < Level(10, 0.1) < Level(10, 0.2) < Level(FULL_TRAINING, 0.0)


def test_rarity_is_the_logarithm_of_the_share_that_is_better() -> None:
    levels = [Level(5, 0.1), NOWHERE, Level(5, 0.3), NOWHERE]
    # half of the ties and of oneself count: better are 1.5, 3, 0.5 and 3 of 4
    assert rarity(levels) == pytest.approx([-log(share / 4) for share in (1.5, 3, 0.5, 3)])


def layers(count: int, seed: int = 0) -> list[Genome]:
    space, rng, screens, found = SearchSpace(), random.Random(seed), Screens(), dict[str, Genome]()
    while len(found) < count:
        genome = space.sample(rng)
        if isinstance(verdict := screens(genome), str):
            found.setdefault(verdict, genome)
    return list(found.values())


def law(genome: Genome) -> float:
    """A made-up score: how much of the output is odd, less what other samples change."""
    found = dict(zip(feature_names(), features([genome], EPS)[0], strict=True))
    return float(np.tanh(found["odd part"]) - np.tanh(found["change in other samples"]))


def tell(guide: Surrogate, genomes: list[Genome], first: int = 0) -> None:
    for index, genome in enumerate(genomes, first):
        candidate = Candidate(index, Proposal(genome, None, "random"), genome.key)
        guide.tell(candidate, Evaluation(genome.key, objectives={"a": 2 + law(genome)}))


LAYERS = layers(220)


def test_the_surrogate_learns_a_law_of_the_function() -> None:
    from scipy.stats import spearmanr

    guide = Surrogate(1, EPS, 40)
    tell(guide, LAYERS[:160])
    found = guide.predict(LAYERS[160:])
    assert spearmanr([p.mean for p in found], [law(g) for g in LAYERS[160:]]).statistic > 0.7
    assert all(p.deviation > 0 and p.improvement >= 0 for p in found)


def test_predictions_depend_on_the_results_up_to_the_last_fit_alone() -> None:
    """However often it was asked in between: a resumed search asks for the first time after all the results."""
    often, once = Surrogate(1, EPS, 16), Surrogate(1, EPS, 16)
    with pytest.raises(RuntimeError, match="after 16 results, 0 were told"):
        often.predict(LAYERS[:1])
    for index in range(60):
        tell(often, LAYERS[index : index + 1], index)
        if often.fitted_to:
            often.predict(LAYERS[60:62])
    tell(once, LAYERS[:48])
    expected = once.predict(LAYERS[60:70])
    assert often.predict(LAYERS[60:70]) == expected
    tell(once, LAYERS[48:50], 48)
    assert (once.fitted_to, once.predict(LAYERS[60:70])) == (48, expected)


def test_what_a_race_believes_counts_as_of_the_last_fit() -> None:
    guide, other = Surrogate(1, EPS, 16), Surrogate(1, EPS, 16)
    worst = min(range(32), key=lambda n: law(LAYERS[n]))
    for index, genome in enumerate(LAYERS[:40]):
        own = {n: 2 + law(LAYERS[n]) for n in range(index + 1)}
        for surrogate, believed in ((guide, {**own, worst: 9.0} if index == 31 else {**own, worst: 0.0}), (other, {})):
            candidate = Candidate(index, Proposal(genome, None, "random"), genome.key)
            surrogate.tell(candidate, Evaluation(genome.key, objectives={"a": own[index]}), lambda b=believed: b)
    assert guide.predict([LAYERS[worst]])[0].mean > other.predict([LAYERS[worst]])[0].mean + 1


def test_layers_that_fail_the_probe_count_as_the_worst() -> None:
    odd = [g for g in LAYERS if law(g) > 0.5]
    failed = tuple((Proposal(g, None, "random"), Rejection("propagation", "gradient vanishes")) for g in odd[2:])
    guide, other = Surrogate(1, EPS, 16), Surrogate(1, EPS, 16)
    for surrogate, out in ((guide, failed), (other, ())):
        genomes = [*odd[:2], *(g for g in LAYERS if law(g) <= 0.5)][:16]
        for index, genome in enumerate(genomes):
            candidate = Candidate(index, Proposal(genome, None, "random"), genome.key, out if not index else ())
            surrogate.tell(candidate, Evaluation(genome.key, objectives={"a": 2 + law(genome)}))
    assert np.mean([p.mean for p in guide.predict(odd[2:])]) < np.mean([p.mean for p in other.predict(odd[2:])]) - 0.5


class Told(Surrogate):
    """Expects of each layer what it is told to."""

    def __init__(self, expected: dict[str, float]) -> None:
        super().__init__(1, EPS, 16)
        self.expected = expected

    def predict(self, genomes: object) -> list[Prediction]:
        return [Prediction(1.0, 1.0, self.expected[genome.key]) for genome in genomes]  # type: ignore[attr-defined]


def test_a_pool_gives_the_most_promising_that_passes_the_probe_and_keeps_the_others() -> None:
    a, b, c, d = LAYERS[:4]
    pool = Pool()
    random_ones = [Proposal(genome, None, "random") for genome in (a, b, c)]
    assert [pool.take(p, p.genome.key) for p in random_ones] == [True] * 3
    assert not pool.take(Proposal(d, None, "random"), a.key)  # another way to write a
    assert not pool.take(Proposal(d, None, "random"), Rejection("structure", "no"))
    for child in (c, d):
        assert not pool.take(Proposal(child, 7, "node 5"), silent(7))
    fails = Rejection("propagation", "no")
    chosen = pool.choose(Told({a.key: 0.1, b.key: 0.9, c.key: 0.5}), lambda g: fails if g == b else None)
    assert chosen == (random_ones[2], c.key)
    assert pool.prediction == Prediction(1.0, 1.0, 0.5)
    assert pool.screened_out == (
        (Proposal(d, 7, "node 5"), silent(7)),  # the last one: it has its parent's place
        (random_ones[0], Rejection("guide", "less promising", measured=0.1, limit=0.5)),
        (random_ones[1], fails),
    )
    assert pool.counts == {
        ("equivalence", "same function as another proposal of its pool"): 1,
        ("structure", "no"): 1,
        ("equivalence", silent(7).reason): 1,
    }
    assert pool.proposed == 3 + len(pool.screened_out) - 2 + sum(pool.counts.values())


def test_a_pool_of_which_none_passes_the_probe_gives_none_and_keeps_the_reasons() -> None:
    pool, fails = Pool(), Rejection("propagation", "no")
    proposal = Proposal(LAYERS[0], None, "random")
    pool.take(proposal, "f")
    assert pool.choose(Told({LAYERS[0].key: 1.0}), lambda _: fails) is None
    assert (pool.screened_out, pool.prediction) == (((proposal, fails),), None)


def test_fidelity_ranks_predictions_against_what_layers_came_to() -> None:
    fidelity = Fidelity()
    for index, score in enumerate((0.9, 0.1, 0.5, 0.3, 0.7)):
        prediction = Prediction(10 * score, 1.0, 0.0) if index else None
        candidate = Candidate(index, Proposal(LAYERS[0], None, "random"), "", prediction=prediction)
        fidelity.tell(candidate, Evaluation(LAYERS[0].key, objectives={"a": score}))
    # how many of the five levels are better, and half of itself
    assert fidelity.points == [
        (10 * score, pytest.approx(-log(share / 5)))
        for score, share in ((0.1, 4.5), (0.5, 2.5), (0.3, 3.5), (0.7, 1.5))
    ]
    assert fidelity.correlation is None  # four are too few
    for index in range(5, 15):
        candidate = Candidate(index, Proposal(LAYERS[0], None, "random"), "", prediction=Prediction(-index, 1.0, 0.0))
        fidelity.tell(candidate, Evaluation(LAYERS[0].key, objectives={"a": 0.011 * index}))
    expected, measured = zip(*fidelity.points, strict=True)
    d = [expected_rank - rank for expected_rank, rank in zip(ranks(expected), ranks(measured), strict=True)]
    n = len(d)
    assert fidelity.correlation == pytest.approx(1 - 6 * sum(x * x for x in d) / (n * (n * n - 1)))


def ranks(values: tuple[float, ...]) -> list[int]:
    return [sorted(values).index(value) for value in values]
