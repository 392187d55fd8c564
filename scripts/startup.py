"""What starting evonas costs, in processor time, beside `import torch`.

python scripts/startup.py [--json] [--rounds 7] [--only 'evonas --help' ...]

Each command is a process of its own. Its processor time, user and system together with that of its children, is paired
with that of `python -c "import torch"` in the same round, so that a busy machine slows both. Medians over the rounds,
after a first round that is left out since it fills the file cache.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

TORCH = ("-c", "import torch")
COMPLETING = {"_EVONAS_COMPLETE": "complete_bash", "COMP_WORDS": "evonas show --", "COMP_CWORD": "2"}
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {  # by name: arguments of python, and what the time shall keep to
    'python -c "import torch"': (TORCH, ""),
    "evonas --help": (("-m", "evonas", "--help"), "0.5 s"),
    "evonas --version": (("-m", "evonas", "--version"), "0.5 s"),
    "evonas shwo": (("-m", "evonas", "shwo"), "0.5 s"),
    "evonas show --<TAB>": (("-m", "evonas"), "0.5 s"),
    "evonas search --help": (("-m", "evonas", "search", "--help"), "0.5 s"),
    "evonas show evonorm-s0": (("-m", "evonas", "show", "evonorm-s0"), "1.30"),
    'python -c "import evonas"': (("-c", "import evonas"), "1.15"),
    'python -c "import evonas; evonas.lower"': (("-c", "import evonas; evonas.lower"), "1.15"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), help="leave out the others")
    arguments = parser.parse_args()
    first = next(iter(COMMANDS))
    commands = {name: COMMANDS[name] for name in COMMANDS if name in (first, *arguments.only)}
    rounds = [
        {name: processor_time(called, name) for name, (called, _) in commands.items()}
        for _ in range(arguments.rounds + 1)
    ][1:]
    found = {
        name: {
            "seconds": statistics.median(times[name] for times in rounds),
            "ratio": statistics.median(times[name] / times[first] for times in rounds),
        }
        for name in commands
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    table = Table(title=f"processor time, medians of {arguments.rounds} rounds", title_justify="left")
    table.add_column("command", no_wrap=True)
    for column in ("seconds", "of import torch", "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, (_, limit) in commands.items():
        table.add_row(name, f"{found[name]['seconds']:.2f}", f"{found[name]['ratio']:.2f}", limit)
    Console().print(table)


def processor_time(arguments: tuple[str, ...], name: str) -> float:
    """Seconds of user and system time that a Python process takes, children included."""
    environment = os.environ | (COMPLETING if "TAB" in name else {})
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
