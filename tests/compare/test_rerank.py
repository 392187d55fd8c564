"""Oracle: layers that arithmetic says are equal."""

from evonas.compare.rerank import distinct
from evonas.config import LayerConfig
from evonas.graph.genome import Genome
from evonas.search.outcome import Evaluation
from evonas.search.ranking import Entry


def test_the_first_of_layers_that_compute_the_same_is_trained_again() -> None:
    texts = ("a = square(x); max(a, v0)", "tanh(x)", "square(x)", "a = neg(x); b = tanh(a); neg(b)", "exp(x)")
    genomes = [Genome.from_text(text) for text in texts]
    entries = [Entry(n, f"#{n}", g, Evaluation(g.key, 1, objectives={"a": 0.5})) for n, g in enumerate(genomes, 1)]
    assert [entry.name for entry in distinct(entries, LayerConfig())] == ["#1", "#2", "#5"]
