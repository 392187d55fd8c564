"""What a matrix says: scores, differences and costs, as JSON, Markdown and CSV."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evonas.compare.comparison import Comparison, failure_text
from evonas.compare.trials import Columns
from evonas.report.markdown import table_head, table_row

COSTS = {  # by the names of ``Cost``: how tables call them, and how they print
    "training": ("training time", "{:.2f}"),
    "inference": ("inference time", "{:.2f}"),
    "relative_memory": ("memory", "{:.2f}"),
    "parameters": ("parameters", "{:,.0f}"),
}
Place = tuple[str, str]  # layer, column


@dataclass(frozen=True, slots=True)
class Matrix:
    """What was found.

    Attributes:
        title: data and budget in words.
        columns: the configuration of each task, by the task's name.
        comparison: scores, ranks and differences.
        baseline: the name of the layer that colours and differences are held against; None without baselines.
        costs: by layer and column, the fields of ``evonas.compare.costs.Cost``.
        unmeasured: why a layer and column has none although costs were asked for.
    """

    title: str
    columns: Columns
    comparison: Comparison
    baseline: str | None
    costs: Mapping[Place, Mapping[str, float]] = field(default_factory=dict)
    unmeasured: Mapping[Place, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Settings of every column, all scores, differences and costs, and why costs are missing."""
        sections = {"data", "training", "layer", "tasks"}
        settings = {name: found.model_dump(mode="json", include=sections) for name, found in self.columns.items()}
        costs: dict[str, dict[str, Any]] = {}
        for (layer, column), cost in self.costs.items():
            costs.setdefault(layer, {})[column] = dict(cost)
        unmeasured: dict[str, dict[str, str]] = {}
        for (layer, column), reason in self.unmeasured.items():
            unmeasured.setdefault(layer, {})[column] = reason
        found = {"columns": settings, "baseline": self.baseline, "costs": costs, "unmeasured": unmeasured}
        return found | self.comparison.as_json()

    def markdown(self) -> str:
        """Scores, differences and all trials, then the costs."""
        parts = [f"# {self.title}\n", self.comparison.markdown()]
        if self.costs:
            names = [name for name, _ in COSTS.values()]
            what = (
                "relative to the network with `nn.BatchNorm2d` and `nn.ReLU`, or with its own norms of tokens; memory "
                "is what the backward pass needs"
            )
            rows = table_head("layer", "task", *names)
            rows += [table_row(layer, column, *cost_texts(cost)) for (layer, column), cost in self.costs.items()]
            rows += [table_row(layer, column, reason) for (layer, column), reason in self.unmeasured.items()]
            parts.append(f"Costs, {what}.\n\n" + "\n".join(rows) + "\n")
        return "\n".join(parts)

    def csv(self) -> str:
        """One line per trial: layer, task, seed, score, failure, and the costs of its layer and task."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("layer", "task", "seed", "score", "failure", *COSTS))
        for standing in self.comparison.standings:
            name = standing.contender.name
            for task in self.comparison.tasks:
                cost = self.costs.get((name, task), {})
                for seed in self.comparison.seeds:
                    failure = standing.failures.get((task, seed))
                    score = standing.scores.get((task, seed), "")
                    reason = failure_text(failure) if failure else ""
                    writer.writerow((name, task, seed, score, reason, *(cost.get(key, "") for key in COSTS)))
        return buffer.getvalue()


def cost_texts(cost: Mapping[str, float]) -> list[str]:
    """The numbers of a cost as tables show them."""
    return [form.format(cost[key]) for key, (_, form) in COSTS.items()]
