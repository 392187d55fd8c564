"""The result of a matrix: scores, differences and costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evonas.compare.comparison import Comparison, nested
from evonas.compare.trials import Columns

LayerTask = tuple[str, str]  # layer, column


@dataclass(frozen=True, slots=True)
class Matrix:
    """Scores, differences and costs of all cells.

    Attributes:
        title: name of the study, data and budget.
        columns: the configuration of each task, by the task's name.
        comparison: scores, ranks and differences.
        baseline: the name of the layer that colours and differences are held against; None without baselines.
        costs: by layer and column, the fields of ``NetworkCost``.
        unmeasured: why a layer and column has none although costs were asked for.
    """

    title: str
    columns: Columns
    comparison: Comparison
    baseline: str | None
    costs: Mapping[LayerTask, Mapping[str, float]] = field(default_factory=dict)
    unmeasured: Mapping[LayerTask, str] = field(default_factory=dict)

    @property
    def data(self) -> str:
        """The title without the study's name: data and budget."""
        return self.title.partition(": ")[2] or self.title

    def as_json(self) -> dict[str, Any]:
        """Settings of every column, all scores, differences and costs, and why costs are missing."""
        sections = {"data", "training", "layer", "tasks"}
        settings = {name: found.model_dump(mode="json", include=sections) for name, found in self.columns.items()}
        found = {"columns": settings, "baseline": self.baseline}
        found |= {"costs": nested(self.costs), "unmeasured": nested(self.unmeasured)}
        return found | self.comparison.as_json()
