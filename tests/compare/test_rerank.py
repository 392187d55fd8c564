"""Oracle: layers that arithmetic says are equal."""

from evonas import config
from evonas.compare.rerank import distinct, rerank_settings
from evonas.config import LayerConfig
from evonas.graph.genome import Genome
from evonas.search.outcome import Evaluation
from evonas.search.ranking import Entry


def test_the_first_of_layers_that_compute_the_same_is_trained_again() -> None:
    texts = ("a = square(x); max(a, v0)", "tanh(x)", "square(x)", "a = neg(x); b = tanh(a); neg(b)", "exp(x)")
    genomes = [Genome.from_text(text) for text in texts]
    entries = [Entry(n, f"#{n}", g, Evaluation(g.key, 1, objectives={"a": 0.5})) for n, g in enumerate(genomes, 1)]
    assert [entry.name for entry in distinct(entries, LayerConfig())] == ["#1", "#2", "#5"]


def test_a_reranking_trains_at_rates_of_its_own_or_at_that_of_the_search() -> None:
    search = config.load_search("tiny")
    assert rerank_settings(search).training.rates == (search.training.learning_rate,)
    several = config.load_search("tiny", ["rerank.learning_rates=[0.03, 0.3]", "rerank.steps=7"])
    assert rerank_settings(several).training.rates == (0.03, 0.3)
    assert rerank_settings(several).training.steps == 7
