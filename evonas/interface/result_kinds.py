"""The kinds of reports that pages know: by which keys their JSON is known, and what is drawn of it.

Whoever reads the file of somebody else here gets an error of Python where it does not hold what it should;
``read_result`` makes one line of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evonas.interface.page_data import FoundLayer
from evonas.interface.result_charts import Data, certified_charts, certified_layers, compared_charts, compared_layers
from evonas.interface.study_charts import (
    component_layers,
    hypernet_charts,
    hypernet_layers,
    stability_charts,
    stability_layers,
)
from evonas.report.page.charts import Axes, Chart

RERANKING = "reranking"


@dataclass(frozen=True, slots=True)
class ResultKind:
    """A kind of results.

    Attributes:
        noun: what a page calls it.
        keys: those of the JSON file by which it is known.
        axes: how the chart of its runs begins.
        charts: what is drawn of it otherwise.
        layers: which layers it is about, from the file and the settings.
    """

    noun: str
    keys: frozenset[str]
    axes: Axes
    charts: Callable[[Data], Iterator[Chart]]
    layers: Callable[[Data, Data], Iterator[FoundLayer]]


def kind_of(data: Data) -> ResultKind:
    """The kind of what a file holds; ``OTHER`` if it is none that is known here, such as a study of somebody's own."""
    return next((kind for kind in KINDS if kind.keys <= data.keys()), OTHER)


def _nothing(_data: Data) -> Iterator[Chart]:
    return iter(())


def _no_layers(_data: Data, _settings: Data) -> Iterator[FoundLayer]:
    return iter(())


OTHER = ResultKind("study", frozenset(), Axes("", "", ()), _nothing, _no_layers)
KINDS = (
    ResultKind(
        "certificate",
        frozenset({"certificates"}),
        Axes("size", "score", ("layer",), ("network", "axis"), logx=True),
        certified_charts,
        certified_layers,
    ),
    ResultKind(
        RERANKING,
        frozenset({"settings", "seeds", "layers"}),
        Axes("task", "score", ("layer",)),
        compared_charts,
        compared_layers,
    ),
    ResultKind(
        "evaluation",
        frozenset({"columns", "seeds", "layers"}),
        Axes("task", "score", ("layer",)),
        compared_charts,
        compared_layers,
    ),
    ResultKind(
        "learning-rate study",
        frozenset({"sweeps", "against_first"}),
        Axes("learning_rate", "final_loss", ("intervention",), ("size",), logx=True, logy=True),
        stability_charts,
        stability_layers,
    ),
    ResultKind(
        "hypernetwork study",
        frozenset({"groups", "separate"}),
        Axes(
            "learning_rate",
            "final_loss",
            ("parametrization",),
            ("optimizer", "activation", "norm", "noise"),
            logx=True,
            logy=True,
        ),
        hypernet_charts,
        hypernet_layers,
    ),
    ResultKind(
        "sparsity study",
        frozenset({"settings", "rows"}),
        Axes("sparsity", "ratio", ("method", "allocation", "transform"), ("text",), logy=True),
        _nothing,
        _no_layers,
    ),
    ResultKind(
        "study of components",
        frozenset({"cells", "sweeps"}),
        Axes("component", "effect", ("layer",), ("network",)),
        _nothing,
        component_layers,
    ),
    ResultKind(
        "stability of a model",
        frozenset({"trainings"}),
        Axes("learning rate", "final loss", (), logx=True, logy=True),
        _nothing,
        _no_layers,
    ),
    ResultKind(
        "steering study",
        frozenset({"groups"}),
        Axes("strength", "score", ("method", "sparsity", "neurons"), ("task",)),
        _nothing,
        _no_layers,
    ),
)
