"""What pages of all kinds show alike: a layer itself, and the environment of a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evonas.graph.genome import Genome
from evonas.report.page.mathml import mathml


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer of a result.

    Attributes:
        name: what tables call it.
        genome: the layer.
        score: its mean score; None if it has none.
        facts: what else is known of it, by name.
        baseline: whether others are compared with it.
        candidate: its number in the search that is reranked.
    """

    name: str
    genome: Genome
    score: float | None = None
    facts: Mapping[str, str] | None = None
    baseline: bool = False
    candidate: int | None = None


def described(genome: Genome, formula: str) -> dict[str, Any]:
    """What a page needs of a layer itself.

    Args:
        genome: its active nodes.
        formula: simplified.
    """
    return {
        "text": genome.to_text(),
        "formula": formula,
        "math": [line.as_json() for line in mathml(genome)],
        "nodes": len(genome.nodes) - 4,
        "key": genome.key,
    }


def recorded_environment(folder: Path) -> dict[str, str]:
    """What ``environment.json`` of a run says; nothing where it cannot be read."""
    try:
        found = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
