"""Layers side by side on the tasks of a TOML file under several seeds, scored on test images.

python scripts/compare_layers.py FILE.toml LAYER... [--seeds 5] [--baseline NAME]... [--out FOLDER] [--json]
Example: python scripts/compare_layers.py search_spaces/held_out.toml 'runs/first#1' evonorm-b0 --workers 2

FILE.toml gives tasks, data, training and one [layer] section for all; its protocols, evolution and [rerank] do not
matter. A LAYER is a catalogue name, RUN#rank, a text form or a .json file. Seeds are those after the file's. FOLDER
keeps every trial: the same command goes on after Ctrl-C, and more seeds or layers reuse what is there. It ends with
results.json, results.md (all numbers), differences.png, config.toml and environment.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from evonas import config, terminal
from evonas.comparison import Comparison, Contender, compare, draw_comparison
from evonas.errors import InputError
from evonas.files import write_text
from evonas.graph.catalogue import CATALOGUE
from evonas.record.archive import Archive
from evonas.record.pictures import to_png
from evonas.record.run import RunFolder, environment, locked
from evonas.report import Layer, find_layer
from evonas.search.interrupt import SearchInterruptedError
from evonas.search.trials import fresh_seeds, run_trials
from evonas.tasks.task import task_names


def main() -> int:
    """Compare; the exit status is 2 for wrong input and 130 for an interrupted comparison, as that of evonas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE.toml")
    parser.add_argument("layers", nargs="+", metavar="LAYER")
    parser.add_argument("--seeds", type=int, default=5, help="how many; default 5")
    parser.add_argument("--baseline", action="append", metavar="NAME", help="catalogue layer; default: the file's")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="set a key of the file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/compare-<name of the file>")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print results.json instead of tables")
    given = parser.parse_args()
    try:
        return _compare(given)
    except InputError as error:
        print(f"compare_layers: {error}", file=sys.stderr)
        return 2
    except (SearchInterruptedError, KeyboardInterrupt):
        print("interrupted; finished trials are recorded, the same command goes on", file=sys.stderr)
        return 130


def _compare(given: argparse.Namespace) -> int:
    changes = [*given.set, 'data.score_on="test"', f"execution.workers={given.workers}"]
    settings = config.load(given.file, changes)
    if given.seeds < 2:
        raise InputError("--seeds", str(given.seeds), accepted="2 or more: one seed has no interval")
    contenders = _contenders(given.layers, given.baseline or settings.baselines)
    folder: Path = given.out or Path("runs") / f"compare-{settings.name}"
    if RunFolder(folder).exists:
        raise InputError("--out", f"{folder} holds a run", accepted="a new folder, or one of an earlier comparison")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "trials.sqlite"
    seeds, tasks = fresh_seeds(settings, given.seeds), task_names(settings.tasks)
    with locked(RunFolder(folder)), Archive.open(file) if file.exists() else Archive.create(file) as archive:
        with terminal.TrialProgress(terminal.console(stderr=True)) as progress:
            results = run_trials(settings, [c.genome for c in contenders], seeds, archive.trials, progress)
        found = compare(contenders, tasks, seeds, results)
        title = f"{settings.name}: {settings.data.name}, test images, {settings.training.steps} steps"
        written = _write(folder, settings, found, title)
    if given.json:
        print(json.dumps(written, indent=2))
        return 0
    console = terminal.console()
    for table in terminal.comparison_tables(found, title=title):
        console.print(table)
    console.print(f"wrote {folder}", highlight=False, soft_wrap=True)
    return 0


def _contenders(layers: Sequence[str], baselines: Sequence[str]) -> list[Contender]:
    for name in baselines:
        if name not in CATALOGUE:
            raise InputError("--baseline", repr(name), accepted=", ".join(CATALOGUE))
    found = [(text, find_layer(text)) for text in dict.fromkeys(layers) if text not in baselines]
    contenders = [Contender(_name(text, layer), layer.genome) for text, layer in found]
    contenders += [Contender(name, CATALOGUE[name], baseline=True) for name in dict.fromkeys(baselines)]
    names = [contender.name for contender in contenders]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                "LAYER", f"two layers are called {name!r}", remedy="give one of them once, or rename a file"
            )
    return contenders


def _name(text: str, layer: Layer) -> str:
    return layer.name or (text if "#" in text else layer.genome.formula())


def _write(folder: Path, settings: config.SearchConfig, found: Comparison, title: str) -> dict[str, object]:
    sections = {"name", "data", "training", "layer", "tasks"}
    results = {"settings": settings.model_dump(mode="json", include=sections), **found.as_json()}
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    write_text(folder / "results.md", f"# {title}\n\n{found.markdown()}")
    write_text(folder / "config.toml", config.dump(settings))
    write_text(folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
    to_png(draw_comparison(found, title=title), folder / "differences.png")
    return results


if __name__ == "__main__":
    raise SystemExit(main())
