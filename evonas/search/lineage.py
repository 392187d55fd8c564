"""Where a layer comes from: the line of its parents, and what every mutation changed in the formula."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from evonas.report.table import Table
from evonas.search.outcome import Evaluation, Proposal

_TOKENS = re.compile(r"\w+(?:\[\w+\])?|\S")  # a name with its index set, or a sign


@dataclass(frozen=True, slots=True)
class Told:
    """A candidate and how it ended, without the proposals that were screened out before it."""

    index: int
    proposal: Proposal
    evaluation: Evaluation


def line_of(index: int, told: Mapping[int, Told]) -> list[Told]:
    """A candidate after its parent, the parent's parent and so on; the oldest comes first."""
    line = [told[index]]
    while (parent := line[0].proposal.parent) is not None and parent in told:
        line.insert(0, told[parent])
    return line


def lineage_table(line: Sequence[Told]) -> Table:
    """A row for each layer of a line: score, formula, and what the step to it changed."""
    formulas = [each.proposal.genome.active().formula() for each in line]
    changes = [line[0].proposal.operator, *map(formula_change, formulas, formulas[1:])]
    return Table.of(
        (
            {
                "candidate": each.index,
                "mean": ended(each.evaluation) if each.evaluation.mean is None else each.evaluation.mean,
                "formula": formula,
                "what changed": change,
            }
            for each, formula, change in zip(line, formulas, changes, strict=True)
        ),
        code=("formula",),
    )


def formula_change(before: str, after: str) -> str:
    """What of a formula became what, e.g. ``tanh became sigmoid``."""
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    found = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "insert":
            found.append(f"added {_code(new[k:m])}")
        elif kind == "delete":
            found.append(f"dropped {_code(old[i:j])}")
        elif kind == "replace":
            found.append(f"{_code(old[i:j])} became {_code(new[k:m])}")
    return ", ".join(found) or "the same formula, written with other nodes"


def ended(evaluation: Evaluation) -> str:
    """The stage that a candidate reached: the one that rejected it, or ``scored``."""
    return evaluation.rejection.stage if evaluation.rejection else "scored"


def _code(tokens: Sequence[str]) -> str:
    text = " ".join(tokens).replace("( ", "(").replace(" )", ")").replace(" ,", ",")
    return f"`{re.sub(r'(?<=[a-z0-9_]|]) [(]', '(', text)}`"
