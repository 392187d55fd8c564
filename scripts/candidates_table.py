"""What a search found: how its candidates ended, what that took, and its best layers beside the baselines.

python scripts/candidates_table.py RUN [--csv FILE] [--count 10]
python scripts/candidates_table.py FILE.csv [--count 10]

RUN is the folder of a search. With --csv a line per baseline and candidate is written: the archive without its loss
traces and without the proposals that were screened out, with numbers of at most six significant digits. The second
form reads such a file: that is how searches are kept whose archive is not.
"""

import argparse
import csv
import io
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from evonas.errors import InputError
from evonas.files import write_text
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.report.table import Datum, Table
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.outcome import Evaluation

Row = dict[str, str]
SCORE, EXTRA = "score:", "extra:"  # columns of scores begin with the first, then the task; of other objectives


def main() -> None:
    """Read, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="RUN or FILE.csv")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the candidates there")
    parser.add_argument("--count", type=int, default=10, help="how many of the best layers to print")
    arguments = parser.parse_args()
    try:
        rows = read(arguments.source) if arguments.source.suffix == ".csv" else recorded(RunFolder(arguments.source))
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    if arguments.csv:
        write_text(arguments.csv, as_csv(rows))
    print("\n".join([*outcomes(rows), "", *best(rows, arguments.count)]))


def recorded(run: RunFolder) -> list[Row]:
    """The baselines and candidates of a run."""
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        known = [_row(name, None, CATALOGUE[name], evaluation) for name, evaluation in archive.baselines().items()]
        told = [_row(str(c.index), c.proposal.parent, c.genome.active(), e) for c, e in archive.records()]
    return known + told


def _row(name: str, parent: int | None, genome: Genome, evaluation: Evaluation) -> Row:
    rejection = evaluation.rejection
    row = {
        "candidate": name,
        "parent": "" if parent is None else str(parent),
        "ended": rejection.stage if rejection else "",
        "reason": rejection.reason if rejection else "",
        "task": rejection.task if rejection else "",
        "measured": "" if rejection is None or rejection.measured is None else f"{rejection.measured:.5g}",
        "seconds": f"{evaluation.seconds:.2f}",
        "steps": str(evaluation.steps),
    }
    numbers = {f"{SCORE}{task}": value for task, value in evaluation.objectives.items()}
    numbers |= {f"{EXTRA}{name}": value for name, value in evaluation.extras.items()}
    for task, points in evaluation.rungs.items():
        numbers |= {f"rung {steps}:{task}": score for steps, score in points}
    return row | {key: f"{value:.6g}" for key, value in numbers.items()} | {"layer": genome.to_text()}


def as_csv(rows: Sequence[Row]) -> str:
    """One line per row; what a row lacks is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "layer"))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*columns, "layer"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def read(path: Path) -> list[Row]:
    """What ``as_csv`` wrote.

    Raises:
        InputError: there is no such file, or it has other columns.
    """
    if not path.is_file():
        raise InputError(str(path), "no such file", accepted="a file that --csv wrote")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if missing := {"candidate", "ended", "reason", "seconds", "layer"} - set(reader.fieldnames or ()):
        raise InputError(str(path), f"has no column {min(missing)!r}", accepted="a file that --csv wrote")
    return rows


def outcomes(rows: Sequence[Row]) -> list[str]:
    """How candidates ended, how many, and the seconds of evaluation in all; baselines are not counted."""
    counts, seconds = Counter[str](), defaultdict[str, float](float)
    for row in rows:
        if row["candidate"].isdigit():
            ended = f"{row['ended']}: {row['reason']}" if row["ended"] else "trained in full"
            counts[ended] += 1
            seconds[ended] += float(row["seconds"])
    shown = [(ended, count, seconds[ended]) for ended, count in counts.most_common()]
    shown.append(("all", counts.total(), sum(seconds.values())))
    return (
        Table(("candidates", "number", "seconds"), tuple(shown), forms={"seconds": "{:,.0f}"}).markdown().splitlines()
    )


def best(rows: Sequence[Row], count: int) -> list[str]:
    """The layers with the highest mean score, with the baselines, best first."""
    scored = sorted((row for row in rows if numbers_of(row, SCORE)), key=lambda row: -_mean(row))
    ranks = {row["candidate"]: rank for rank, row in enumerate((r for r in scored if r["candidate"].isdigit()), 1)}
    tasks = list(numbers_of(scored[0], SCORE)) if scored else []
    others = list(dict.fromkeys(name for row in scored for name in numbers_of(row, EXTRA)))
    lines: list[dict[str, Datum]] = []
    for row in scored:
        rank = ranks.get(row["candidate"])
        if rank is not None and rank > count:
            continue
        scores, extras = numbers_of(row, SCORE), numbers_of(row, EXTRA)
        name = row["candidate"] if rank is None else f"#{rank}, candidate {row['candidate']}"
        cells: dict[str, Datum] = {"layer": name, **{task: scores[task] for task in tasks}, "mean": _mean(row)}
        cells |= {other: extras.get(other, "") for other in others}
        lines.append(cells | {"formula": Genome.from_text(row["layer"]).formula()})
    return Table.of(lines, dict.fromkeys(others, "{:.4g}")).markdown().splitlines()


def numbers_of(row: Mapping[str, str], kind: str) -> dict[str, float]:
    """The numbers of a row in the columns that begin with ``kind``, by what follows it; none where it was rejected."""
    return {key.removeprefix(kind): float(value) for key, value in row.items() if key.startswith(kind) and value}


def _mean(row: Row) -> float:
    scores = numbers_of(row, SCORE).values()
    return sum(scores) / len(scores)  # as Evaluation.mean, to the last bit: layers that tie keep their order


if __name__ == "__main__":
    main()
