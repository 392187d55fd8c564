"""Ground truth for proxies: layers over the whole range of quality, each at the best of three rates, on five networks.

python scripts/truth.py search_spaces/cifar_s.toml --out runs/kept/truth --set data.path=FILE.npz
python scripts/truth.py search_spaces/cifar_s.toml --out judged --layer bn-relu --layer 'runs/x#1' --set data.path=...

Layers: those of OUT/layers.json, which says where each comes from and what searches measured of it. Where there is no
such file, it is written from ``--layer``: names of the catalogue, formulas, or ranks in runs.

Networks: small ones of several kinds; see ``truth_networks.py``. Five are trained unless ``--network`` names others. In
timm-bottleneck the norms before a sum have no activation: the affine takes their place and the ReLU after the sum
stays, as surgery leaves such networks. In all others every norm has an activation, so the layer alone normalizes and
activates.

Rates: every layer is trained on every network for ``--pilot-steps`` at each of ``--rates`` under the first of
``--seeds``, with a schedule of that length. The rate with the best validation accuracy, the lower of equals, is that of
the trainings for ``--steps`` under every seed; the lowest one if all diverged. Only these are scored on test images, by
which nothing is chosen. Everything else (images, optimizer, warm-up, groups) is the search file's.

OUT/trainings gets a line per training as it ends, see ``truth_record.py``. Started again, the script trains what is
missing. All layers finish on a network before the next one, all networks under a seed before the next one. One
process, one thread; ``seconds`` are those of the processor.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from truth_networks import NETWORKS
from truth_record import Record, marks_of

from evonas import config
from evonas.config import DataConfig, LayerConfig, SearchConfig, TrainingConfig
from evonas.errors import InputError, first_line
from evonas.files import write_text
from evonas.graph.genome import Genome
from evonas.search.named import find_layer
from evonas.search.training import Training
from evonas.tasks.data import LabelledImages, load_images
from evonas.tasks.task import Task, accuracy, classification, initialized
from evonas.training.allocator import keep_memory
from evonas.training.fit import StopReason

Row = dict[str, Any]

DEFAULT = tuple(NETWORKS)[:5]  # those of runs/kept/truth
FIRST_KEYS: Mapping[type[BaseModel], str] = {  # what the first trainings were recorded with, whatever its value
    TrainingConfig: "optimizer batch_size steps learning_rate momentum weight_decay schedule warmup",
    LayerConfig: "groups eps momentum",
    DataConfig: "name size train validation crop flip score_on",
}


def recorded(section: BaseModel) -> Row:
    """The keys that were there from the first, and later ones that are not at their defaults: old trainings stay."""
    fields, first = type(section).model_fields, FIRST_KEYS[type(section)].split()
    later = {name for name, field in fields.items() if getattr(section, name) != field.get_default()}
    return section.model_dump(mode="json", include={*first, *later - {"path"}})


def show(row: Row) -> None:
    """A line for people."""
    made = row["made_from"]
    training, how = made["training"], row["error"] or f"validation {row['validation']}, test {row['test']}"
    print(
        f"{made['network']} seed {made['seed']}, {training['steps']} steps at {training['learning_rate']}: {how}, "
        f"{row['seconds']:.1f} s, {made['layer']} {made['text']}",
        flush=True,
    )


@dataclass(frozen=True, slots=True)
class Bench:
    """What trainings have in common."""

    settings: SearchConfig
    tasks: Mapping[str, Task]
    test: LabelledImages
    record: Record
    code: Row

    def result(self, layer: Row, network: str, rate: float, steps: int, seed: int, *, final: bool) -> Row:
        """One training, recorded."""
        training = self.settings.training.at_rate(rate).model_copy(update={"steps": steps})
        images = self.settings.data
        made_from = {
            "layer": layer["key"],
            "text": layer["text"],
            "network": network,
            "settings": NETWORKS[network][1],
            "seed": seed,
            "training": recorded(training),
            "lowering": recorded(self.settings.layer),
            "data": {"file": images.title, **recorded(images)},
            "final": final,
        }
        if known := self.record.find(made_from):
            return known
        genome = Genome.from_text(layer["text"])
        test = self.test if final else None
        found = train(self.tasks[network], genome, training, self.settings.layer, seed, test)
        row = {"made_from": made_from, **found, **self.code}
        self.record.add(row)
        show(row)
        return row

    def best_rate(self, layer: Row, network: str, rates: Sequence[float], steps: int, seed: int) -> float:
        """The rate with the best validation accuracy, the lower of equals; the lowest one if all diverged."""
        found = {rate: self.result(layer, network, rate, steps, seed, final=False) for rate in sorted(rates)}
        return max(found, key=lambda rate: -1.0 if (score := found[rate]["validation"]) is None else score)


def train(
    task: Task,
    genome: Genome,
    settings: TrainingConfig,
    lowering: LayerConfig,
    seed: int,
    test: LabelledImages | None,
) -> Row:
    """Train once and score on validation images, and on test images if there are any."""
    started = time.process_time()
    training = Training(task, genome, settings, lowering, seed)
    row: Row = {"validation": None, "test": None, "error": None}
    try:
        for mark in marks_of(settings.steps):
            training.advance(mark - len(training.losses))
            if training.stop is StopReason.DIVERGED:
                row["error"] = f"diverged within {len(training.losses)} steps"
                break
            training.at_rung(None)
        else:
            row["validation"] = training.score()
            row["test"] = accuracy(test, training.network) if test else None
    except RuntimeError as error:
        row["error"] = first_line(error)
    return {**row, "likelihoods": training.rungs, "seconds": round(time.process_time() - started, 2)}


def make_bench(settings: SearchConfig, out: Path, networks: Sequence[str]) -> Bench:
    """Images and networks; there are no workers and no GPU."""
    images = load_images(settings.data)
    tested = load_images(settings.data.model_copy(update={"score_on": "test"}))
    like = classification(settings.tasks[0], images, settings.data, settings.training.batch_size, torch.device("cpu"))
    tasks = {}
    for name in networks:
        make, sizes = NETWORKS[name]
        tasks[name] = replace(like, name=name, build=partial(initialized, partial(make, images.num_classes, **sizes)))
        tasks[name].build(settings.seed)  # what cannot be built shall show before hours of training
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=Path.cwd())
    code = {"commit": commit.stdout.strip(), "torch": torch.__version__}
    return Bench(settings, tasks, tested.scoring, Record(out), code)


def layers_of(out: Path, named: Sequence[str]) -> list[Row]:
    """The layers of OUT/layers.json, which is written from names where it is not there.

    Raises:
        InputError: there are both the file and names, or neither; or a name is that of no layer.
    """
    path = out / "layers.json"
    if path.exists() == bool(named):
        found = (
            f"there already, and layers are named: {', '.join(named)}" if named else "not there, and no layer is named"
        )
        raise InputError(str(path), found, remedy="name layers with --layer for an OUT that has none yet")
    if not named:
        known: list[Row] = json.loads(path.read_text())
        return known
    found = []
    for name in named:
        layer = find_layer(name)
        genome = layer.genome.active()
        found.append(
            {
                "origin": name,
                "provenance": layer.provenance,
                "key": genome.key,
                "text": genome.to_text(),
                "formula": genome.formula(),
                "batch_statistics": genome.uses_batch_statistics,
                "measured": [],
            }
        )
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a search file: images, optimizer, groups")
    parser.add_argument("--out", type=Path, required=True)
    chosen = f"default: {', '.join(DEFAULT)}"
    parser.add_argument("--network", dest="networks", action="append", choices=list(NETWORKS), help=chosen)
    parser.add_argument("--layer", dest="layers", action="append", default=[], help="a layer, where OUT has none yet")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    parser.add_argument("--pilot-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of weights and batches")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    try:
        settings = config.load_search(given.file, given.overrides)
        layers = layers_of(given.out, given.layers)
    except InputError as error:
        parser.error(str(error))
    networks = given.networks or DEFAULT
    bench = make_bench(settings, given.out, networks)
    for seed in given.seeds:
        for network in networks:
            for layer in layers:
                rate = bench.best_rate(layer, network, given.rates, given.pilot_steps, given.seeds[0])
                bench.result(layer, network, rate, given.steps, seed, final=True)


if __name__ == "__main__":
    main()
