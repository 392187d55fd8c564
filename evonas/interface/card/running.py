"""Runs the commands of a card whose records are missing, the cheapest first, until a budget of time is used up."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from evonas.errors import InputError
from evonas.files import write_text
from evonas.interface.card.card import Card
from evonas.interface.card.records import TIME
from evonas.interface.card.sections import commands
from evonas.reading import parse_json, read_given
from evonas.search.budget import budget_from_text

PATIENCE = 60.0  # seconds that a command has to stop in
STOPPED = 130


@dataclass(frozen=True, slots=True)
class Budget:
    """Time for everything that is missing.

    Attributes:
        seconds: how much; infinite without a limit.
        started: on the monotonic clock.
    """

    seconds: float = math.inf
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def from_text(cls, text: str | None, where: str) -> Self:
        """From a time such as ``30m``; None is no limit.

        Raises:
            InputError: it is no time.
        """
        if text is None:
            return cls()
        minutes = budget_from_text(text, where).minutes
        if not minutes:
            raise InputError(where, text, accepted="a time such as 90s, 30m or 2h")
        return cls(60 * minutes)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.started)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended.

    Attributes:
        record: the kind of record that it makes.
        status: its exit status; 130 where the budget ended it.
        seconds: how long it ran.
    """

    record: str
    status: int
    seconds: float


def measure_missing(
    card: Card,
    folder: Path,
    settings: Sequence[str],
    *,
    budget: Budget,
    workers: int | None,
    on_start: Callable[[Sequence[str]], None],
) -> list[Done]:
    """Run what is missing. A command that is stopped goes on where it was when it is run again.

    Args:
        card: as it stands.
        folder: of the card's own records.
        settings: changes of settings that all commands get.
        budget: time for all of them.
        workers: processes of each; None is what the command takes by itself.
        on_start: called with each command before it begins.

    Raises:
        KeyboardInterrupt: by Ctrl-C, when the command has stopped.
    """
    wanted = {section.kind.record for section in card.sections if section.found is None and section.command}
    done = list[Done]()
    for record, words in commands(card.text, card.layer, card.layout, settings).items():
        if record not in wanted:
            continue
        if budget.left <= 0:
            break
        place = folder / record
        command = [*words, "--run", str(place), *(["--resume"] if place.exists() else [])]
        command += [] if workers is None else ["--workers", str(workers)]
        on_start(["evonas", *command])
        done.append(_run(record, command, place, budget.left))
        if done[-1].status == STOPPED:
            break
    return done


def _run(record: str, command: Sequence[str], place: Path, seconds: float) -> Done:
    started, before = time.monotonic(), _core_seconds()
    process = subprocess.Popen([sys.executable, "-m", "evonas", *command], stdout=subprocess.DEVNULL, env=os.environ)
    try:
        status = process.wait(None if math.isinf(seconds) else seconds)
    except subprocess.TimeoutExpired:
        _stop(process)
        status = STOPPED
    except KeyboardInterrupt:  # of a terminal, which the command gets as well
        _wait(process)
        _add(place, time.monotonic() - started, _core_seconds() - before)
        raise
    wall = time.monotonic() - started
    _add(place, wall, _core_seconds() - before)
    return Done(record, status, wall)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C does."""
    process.send_signal(signal.SIGINT)
    _wait(process)


def _wait(process: "subprocess.Popen[bytes]") -> None:
    """Until it has stopped; a command that does not is ended."""
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _core_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _add(place: Path, wall: float, core: float) -> None:
    """Add to the times that a record has taken so far; a command that was refused has no folder."""
    if not place.is_dir():
        return
    file = place / TIME
    before = parse_json(read_given(file), str(file)) if file.is_file() else {}
    found = {"wall": before.get("wall", 0.0) + wall, "core": before.get("core", 0.0) + core}
    write_text(file, json.dumps({name: round(value, 2) for name, value in found.items()}) + "\n")
