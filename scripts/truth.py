"""Ground truth for proxies: layers over the whole range of quality, each at the best of three rates, on five networks.

python scripts/truth.py search_spaces/cifar_s.toml --out runs/kept/truth --set data.path=FILE.npz

Layers: those of OUT/layers.json, which says where each comes from and what searches measured of it.

Networks: small ones of five kinds that no search file uses; see ``NETWORKS``. In the first four every norm has an
activation, so the layer alone normalizes and activates. In the blocks of timm's the norms before a sum have none: the
affine takes their place and the ReLU after the sum stays, as surgery leaves such networks.

Rates: every layer is trained on every network for ``--pilot-steps`` at each of ``--rates`` under the first of
``--seeds``, with a schedule of that length. The rate with the best validation accuracy, the lower of equals, is that of
the trainings for ``--steps`` under every seed; the lowest one if all diverged. Only these are scored on test images, by
which nothing is chosen. Everything else (images, optimizer, warm-up, groups) is the search file's.

OUT/trainings.jsonl gets a line per training as it ends, with all it was made from. Started again, the script trains
what is missing. All layers finish on a network before the next one, all networks under a seed before the next one. One
process, one thread; ``seconds`` are those of the processor.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evonas import config
from evonas.config import LayerConfig, SearchConfig, TrainingConfig
from evonas.errors import first_line
from evonas.files import write_text
from evonas.graph.genome import Genome
from evonas.search.training import Training
from evonas.tasks.architectures import unstride
from evonas.tasks.data import LabelledImages, load_images
from evonas.tasks.task import Task, accuracy, classification, initialized
from evonas.training.allocator import keep_memory
from evonas.training.fit import StopReason

Row = dict[str, Any]

MARKS = (25, 50, 75, 100, 200, 300, 400, 600, 800)  # steps at which the likelihood is noted, as searches do at rungs


def conv_norm_act(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, and a site."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution where shapes differ."""
    if (inputs, stride) == (outputs, 1):
        return nn.Identity()
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class PostActivation(nn.Module):
    """Norm and activation after the sum, so that none is without the other."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm_act(inputs, outputs, stride=stride)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = shortcut(inputs, outputs, stride)
        self.norm, self.act = nn.BatchNorm2d(outputs), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] -> [b, outputs, h / stride, w / stride]."""
        return self.act(self.norm(self.second(self.first(x)) + self.shortcut(x)))


class PreActivation(nn.Module):
    """He et al. 2016, arXiv 1603.05027: the sum is left alone."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(inputs), nn.ReLU()
        self.first = conv_norm_act(inputs, outputs, stride=stride)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] -> [b, outputs, h / stride, w / stride]."""
        return self.second(self.first(self.act(self.norm(x)))) + self.shortcut(x)


class Mixing(nn.Module):
    """ConvMixer's block (Trockman & Kolter 2022, arXiv 2201.09792), with norms before activations and ReLU."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.space = conv_norm_act(width, width, kernel, groups=width)
        self.channels = conv_norm_act(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        return self.channels(self.space(x) + x)


def classifier(body: Sequence[nn.Module], features: int, classes: int) -> nn.Module:
    """Logits from the mean over space of what the body gives."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


def chained(make: Callable[[int, int, int], nn.Module], inputs: int, widths: Sequence[int]) -> list[nn.Module]:
    """Blocks of these widths; a block wider than what it reads halves the size."""
    pairs = zip((inputs, *widths), widths, strict=False)
    return [make(before, width, 2 if width > before else 1) for before, width in pairs]


def plain(classes: int, *, stem: int, widths: Sequence[int]) -> nn.Module:
    """Convolutions one after the other."""
    body = chained(lambda inputs, outputs, stride: conv_norm_act(inputs, outputs, stride=stride), stem, widths)
    return classifier([conv_norm_act(3, stem), *body], widths[-1], classes)


def post_activation(classes: int, *, stem: int, widths: Sequence[int]) -> nn.Module:
    """A residual network that normalizes and activates its sums."""
    return classifier([conv_norm_act(3, stem), *chained(PostActivation, stem, widths)], widths[-1], classes)


def pre_activation(classes: int, *, stem: int, widths: Sequence[int]) -> nn.Module:
    """A residual network that normalizes and activates what its branches read."""
    body = [nn.Conv2d(3, stem, 3, padding=1, bias=False), *chained(PreActivation, stem, widths)]
    return classifier([*body, nn.BatchNorm2d(widths[-1]), nn.ReLU()], widths[-1], classes)


def mixer(classes: int, *, patch: int, width: int, blocks: int, kernel: int) -> nn.Module:
    """Patches, then depthwise and 1x1 convolutions at one size."""
    stem = nn.Sequential(nn.Conv2d(3, width, patch, patch, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return classifier([stem, *(Mixing(width, kernel) for _ in range(blocks))], width, classes)


def timm_byobnet(
    classes: int, *, block: str, stem: int, widths: Sequence[int], ratio: float, unstrided: int, size: int
) -> nn.Module:
    """Timm's ByobNet with a block of a kind per width, each halving the size, as its stem does."""
    from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

    blocks = tuple(ByoBlockCfg(type=block, d=1, c=width, s=2, gs=0, br=ratio) for width in widths)
    model = ByobNet(ByoModelCfg(blocks, stem_chs=stem, stem_type="3x3", stem_pool=""), num_classes=classes)
    unstride(model, unstrided, size, 3)
    return model


NETWORKS: Mapping[str, tuple[Callable[..., nn.Module], Row]] = {
    "plain": (plain, {"stem": 8, "widths": [16, 16, 32, 32, 32]}),
    "mixer": (mixer, {"patch": 2, "width": 32, "blocks": 3, "kernel": 3}),
    "post-activation": (post_activation, {"stem": 8, "widths": [16, 32, 32]}),
    "pre-activation": (pre_activation, {"stem": 8, "widths": [16, 32, 32]}),
    "timm-bottleneck": (
        timm_byobnet,
        {"block": "bottle", "stem": 8, "widths": [24, 48], "ratio": 0.5, "unstrided": 1, "size": 16},
    ),
}


class Record:
    """The trainings in a file, by what they were made from."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a killed process may leave half a line
        if whole != text:
            write_text(path, whole)
        rows = map(json.loads, whole.splitlines())
        self._known = {self._key(row["made_from"]): row for row in rows}
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=Path.cwd()
        )
        self._with = {"commit": commit.stdout.strip(), "torch": torch.__version__}

    @staticmethod
    def _key(made_from: Row) -> str:
        return json.dumps(made_from, sort_keys=True)

    def find_or(self, made_from: Row, train: Callable[[], Row]) -> Row:
        """What is recorded of a training, or what it gives now."""
        key = self._key(made_from)
        if key not in self._known:
            self._known[key] = {"made_from": made_from, **train(), **self._with}
            with self._path.open("a") as file:
                file.write(json.dumps(self._known[key]) + "\n")
            show(self._known[key])
        return self._known[key]


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
            "training": training.model_dump(mode="json", exclude={"learning_rates"}),
            "lowering": self.settings.layer.model_dump(mode="json"),
            "data": {"file": images.title, **images.model_dump(mode="json", exclude={"path"})},
            "final": final,
        }
        genome = Genome.from_text(layer["text"])
        test = self.test if final else None
        return self.record.find_or(
            made_from, lambda: train(self.tasks[network], genome, training, self.settings.layer, seed, test)
        )

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
        for mark in (*(mark for mark in MARKS if mark < settings.steps), settings.steps):
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


def make_bench(settings: SearchConfig, record: Path) -> Bench:
    """Images and networks; there are no workers and no GPU."""
    images = load_images(settings.data)
    tested = load_images(settings.data.model_copy(update={"score_on": "test"}))
    like = classification(settings.tasks[0], images, settings.data, settings.training.batch_size, torch.device("cpu"))
    tasks = {
        name: replace(like, name=name, build=partial(initialized, partial(make, images.num_classes, **sizes)))
        for name, (make, sizes) in NETWORKS.items()
    }
    for task in tasks.values():  # what cannot be built shall show before hours of training
        task.build(settings.seed)
    return Bench(settings, tasks, tested.scoring, Record(record))


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a search file: images, optimizer, groups")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", dest="networks", action="append", choices=list(NETWORKS), help="default: all")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    parser.add_argument("--pilot-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of weights and batches")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    settings = config.load_search(given.file, given.overrides)
    layers = json.loads((given.out / "layers.json").read_text())
    bench = make_bench(settings, given.out / "trainings.jsonl")
    for seed in given.seeds:
        for network in given.networks or NETWORKS:
            for layer in layers:
                rate = bench.best_rate(layer, network, given.rates, given.pilot_steps, given.seeds[0])
                bench.result(layer, network, rate, given.steps, seed, final=True)


if __name__ == "__main__":
    main()
