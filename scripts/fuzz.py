"""Malformed inputs for every parser of evonas: each case is accepted, or refused by an InputError of one line.

python scripts/fuzz.py --cases 10000 --workers 2
python scripts/fuzz.py --cases 300 --parser genome-text --parser npz --seed 7

A failure is any other exception, an error message of several lines or with characters that are not seen, and whatever
must hold of what was accepted and does not: layers that do not read back, exported code with more than functions and a
class, files that are left behind. A hang is a case that takes more than 5 seconds of the processor.

Cases are numbered, and each is drawn from the seed, the parser and its number alone. The smallest failing case of each
kind is written to ``--out``, with what was raised; the exit status is 1 if there is one. ``--json`` gets the numbers.
"""

import argparse
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from fuzz_parsers import Parser, parsers
from rich.console import Console
from rich.table import Table

from evonas.errors import InputError

SECONDS = 5.0  # of the processor that a case may take
WAITING = 60.0  # seconds that a case may take in all, as where it waits for a pipe
MEMORY = 12 * 2**30  # bytes that a case may ask for beside what is in memory already
SHRINKING = 150  # smaller cases that are tried for a failure
LONGEST = 6000  # characters of an error message


class HangError(BaseException):
    """A case took too long; no ``except Exception`` catches it."""


@dataclass
class Tally:
    """How the cases of a parser ended.

    Attributes:
        failures: by kind, the smallest case and what was raised.
    """

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    hung: int = 0
    seconds: float = 0.0
    failures: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Count the cases of another one as well."""
        for name in ("accepted", "refused", "failed", "hung", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, (content, words) in other.failures.items():
            self.keep(kind, content, words)

    def keep(self, kind: str, content: bytes, words: str) -> None:
        """Keep a failing case if it is the smallest of its kind."""
        if kind not in self.failures or len(content) < len(self.failures[kind][0]):
            self.failures[kind] = (content, words)


def outcome_of(parser: Parser, content: bytes) -> tuple[str, str, str]:
    """How a case ends: ``accepted``, ``refused``, ``failed`` or ``hung``; of what kind, and what was raised."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    before = signal.setitimer(signal.ITIMER_REAL, WAITING)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        parser.read(content, folder)
        return "accepted", "", ""
    except InputError as error:
        message = str(error)
        if message.isprintable() and 0 < len(message) <= LONGEST:
            return "refused", "", ""
        return "failed", f"message of {_place(error)}", ascii(message[:LONGEST])
    except HangError as error:
        return "hung", f"hang in {_place(error)}", traceback.format_exc(limit=-4)
    except BaseException as error:  # what is looked for
        return "failed", f"{type(error).__name__} in {_place(error)}", traceback.format_exc()[-LONGEST:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, *before)
        shutil.rmtree(folder, ignore_errors=True)


def _place(error: BaseException) -> str:
    """The last line of evonas that an exception went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}evonas{os.sep}" in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}"


def _hang(_signal: int, _frame: object) -> None:
    raise HangError


def work(name: str, seed: int, numbers: range) -> Tally:
    """Run some cases of a parser."""
    parser, tally = _parsers()[name], Tally()
    started = time.process_time()
    with _limited_memory(), _alarms(), warnings.catch_warnings(action="ignore"):
        for number in numbers:
            content = parser.cases(random.Random(f"{seed}/{name}/{number}"))
            ended, kind, words = outcome_of(parser, content)
            setattr(tally, ended, getattr(tally, ended) + 1)
            if kind:
                first = kind not in tally.failures
                tally.keep(kind, *(_shrunk(parser, content, kind, words) if first else (content, words)))
    tally.seconds = time.process_time() - started
    return tally


_PARSERS: dict[str, Parser] = {}


def _parsers() -> dict[str, Parser]:
    if not _PARSERS:
        _PARSERS.update(parsers())
    return _PARSERS


@contextlib.contextmanager
def _alarms() -> Iterator[None]:
    """A timer that has run out ends a case."""
    before = {number: signal.signal(number, _hang) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    """A case that asks for very much gets a MemoryError, and the machine goes on."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _shrunk(parser: Parser, content: bytes, kind: str, words: str) -> tuple[bytes, str]:
    """A smaller case that fails in the same way, found by taking parts out."""
    if kind.startswith("hang"):
        return content, words
    tries, size = 0, max(len(content) // 2, 1)
    while size and tries < SHRINKING:
        for start in range(0, len(content), size):
            smaller = content[:start] + content[start + size :]
            tries += 1
            _, found, said = outcome_of(parser, smaller)
            if found == kind:
                content, words = smaller, said
                break
            if tries >= SHRINKING:
                break
        else:
            size //= 2
    return content, words


def run(names: list[str], cases: int, seed: int, workers: int) -> dict[str, Tally]:
    """Run so many cases of each parser, in this process or in several; a process that dies is a failure."""
    found = {name: Tally() for name in names}
    if workers == 1:
        for name in names:
            found[name].add(work(name, seed, range(cases)))
        return found
    size = max(cases // (4 * workers), 1)
    for name in names:
        parts = [range(start, min(start + size, cases)) for start in range(0, cases, size)]
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            jobs = [pool.submit(work, name, seed, part) for part in parts]
            for job, part in zip(jobs, parts, strict=True):
                try:
                    found[name].add(job.result())
                except BrokenProcessPool:
                    lost = f"a process died: seed {seed}, parser {name!r}, one of the cases {part}"
                    found[name].add(Tally(failed=1, failures={"death": (b"", lost)}))
    return found


def write_failures(out: Path, found: dict[str, Tally]) -> None:
    """The smallest case of each kind, as it is, and beside it what was raised."""
    for name, tally in found.items():
        for kind, (content, words) in tally.failures.items():
            out.mkdir(parents=True, exist_ok=True)
            stem = re.sub(r"\W+", "-", f"{name} {kind}")[:120]
            (out / f"{stem}.case").write_bytes(content)
            (out / f"{stem}.txt").write_text(f"{name}: {kind}\n\n{words}\n", encoding="utf-8", errors="replace")


def main() -> None:
    """See the module."""
    parse = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parse.add_argument("--cases", type=int, default=1000, help="cases of each parser")
    parse.add_argument("--parser", action="append", help="one of them; may be repeated; by default all")
    parse.add_argument("--seed", type=int, default=1)
    parse.add_argument("--workers", type=int, default=1, help="processes")
    parse.add_argument("--out", type=Path, default=Path("fuzz-failures"), help="where failing cases are written")
    parse.add_argument("--json", type=Path, help="where the numbers are written")
    given = parse.parse_args()
    known = [*_parsers()]
    if unknown := [name for name in given.parser or () if name not in known]:
        parse.error(f"no parser {unknown[0]!r}; there are {', '.join(known)}")
    found = run(given.parser or known, given.cases, given.seed, given.workers)
    table = Table(
        "parser", "cases", "accepted", "refused", "failures", "hangs", "ms a case", title=f"seed {given.seed}"
    )
    for name, tally in found.items():
        numbers = (given.cases, tally.accepted, tally.refused, tally.failed, tally.hung)
        table.add_row(name, *map(str, numbers), f"{1000 * tally.seconds / max(given.cases, 1):.2f}")
    Console(width=120).print(table)
    kinds = Counter({f"{name}: {kind}": 1 for name, tally in found.items() for kind in tally.failures})
    for line in kinds:
        print(line)
    write_failures(given.out, found)
    if given.json:
        keys = ("accepted", "refused", "failed", "hung", "seconds")
        rows = {name: {key: getattr(tally, key) for key in keys} for name, tally in found.items()}
        given.json.write_text(json.dumps({"seed": given.seed, "cases": given.cases, "parsers": rows}, indent=1) + "\n")
    sys.exit(any(tally.failed or tally.hung for tally in found.values()))


if __name__ == "__main__":
    main()
