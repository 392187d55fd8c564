"""Build the wheel, install it into an empty environment outside of the clone, and use it there as a new user would.

What is checked, in this order:

- the wheel is built from the clone, and installed with its ``vision`` extra and mypy by pip alone;
- ``evonas search evonorm_s --budget 1m`` runs in an empty folder, from the search file inside the wheel, and goes on
  if that was not enough for a layer;
- its best layer is exported, and the file goes as ``norm_layer`` into timm's ResNet-18, EfficientNet-B0 and
  RegNetX-002 and torchvision's MobileNetV2, each trained for ten steps;
- the same networks are trained with the layer put in by ``evonas.replace_norm_act``;
- ``mypy --strict`` of a ten-line script against the installed package.

    python scripts/check_install.py /tmp/evonas-install        # downloads torch: some 5 GB, a few minutes
"""

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]

USER_SCRIPT = """
import evonas
import torch

genome: evonas.Genome = evonas.CATALOGUE["evonorm-s0"]
layer = evonas.create_layer(genome, 16)
output: torch.Tensor = layer(torch.randn(2, 16, 8, 8))
model = evonas.replace_norm_act(torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU()), "evonorm-s0")
parameters: int = sum(p.numel() for p in model.parameters())
norm: type[torch.nn.Module] = evonas.norm_act("evonorm-s0")
print(genome.formula(), tuple(output.shape), parameters, norm.__name__)
"""

NETWORKS = """
import sys
import timm, torch, torchvision
import evonas

sys.path.insert(0, ".")
from found import Found

MAKERS = {
    "timm resnet18": lambda **kw: timm.create_model("resnet18", num_classes=10, **kw),
    "timm efficientnet_b0": lambda **kw: timm.create_model("efficientnet_b0", num_classes=10, **kw),
    "timm regnetx_002": lambda **kw: timm.create_model("regnetx_002", num_classes=10, **kw),
    "torchvision mobilenet_v2": lambda **kw: torchvision.models.mobilenet_v2(num_classes=10, **kw),
}
torch.manual_seed(1)
images, labels = torch.randn(8, 3, 64, 64), torch.randint(10, (8,))


def train(model):
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), []
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(model.train()(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(torch.isfinite(torch.tensor(losses))), losses
    return f"loss {losses[0]:.3f} -> {losses[-1]:.3f}"


for name, make in MAKERS.items():
    model = make(norm_layer=Found)
    layers = sum(isinstance(m, Found) for m in model.modules())
    assert layers, "the layer is not in the network"
    print(f"{name}, norm_layer=: {layers} layers, {train(model)}", flush=True)
    model = evonas.replace_norm_act(make(), "runs/first#1")
    layers = sum(isinstance(m, evonas.NormActLayer) for m in model.modules())
    assert layers, "the layer is not in the network"
    print(f"{name}, replace_norm_act: {layers} layers, {train(model)}", flush=True)
"""


def _scored(run: Path, environment: dict[str, str]) -> bool:
    """Whether a search has a layer with scores."""
    command = ["evonas", "top", str(run), "--json"]
    entries = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    return any(entry["rank"] for entry in entries)


def main() -> None:
    """Check the installation in a folder that does not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made anew; holds the environment and what the check writes")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir()
    binaries = folder / "env" / "bin"
    # nothing of the clone or of the environment that runs this script may be seen
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "MYPYPATH")}
    environment |= {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}

    def run(*command: str) -> None:
        print("$", *(part if len(part) < 80 else "..." for part in command), flush=True)
        started = time.monotonic()
        subprocess.run(command, cwd=folder, env=environment, check=True)
        print(f"  {time.monotonic() - started:.1f} s", flush=True)

    venv.create(folder / "env", with_pip=True)
    run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("evonas-*.whl")
    run("pip", "install", "--quiet", f"{wheel}[vision]", "mypy")
    run("evonas", "--version")
    run("evonas", "list", "searches")
    run("evonas", "search", "evonorm_s", "--run", "runs/first", "--budget", "1m", "--workers", "2")
    minutes = 1
    while not _scored(folder / "runs" / "first", environment):  # a busy machine needs more than a minute for a layer
        minutes += 2
        run("evonas", "search", "--run", "runs/first", "--resume", "--budget", f"{minutes}m")
    run("evonas", "export", "runs/first#1", "-o", "found.py", "--name", "Found")
    (folder / "networks.py").write_text(NETWORKS, encoding="utf-8")
    run("python", "networks.py")
    (folder / "user.py").write_text(USER_SCRIPT, encoding="utf-8")
    run("python", "user.py")
    run("mypy", "--strict", "user.py")
    print(f"all checks passed with {sys.version.split()[0]}; remove {folder} when done")


if __name__ == "__main__":
    main()
