"""A network with each of some layers in onnxruntime: how far it is from torch, and how fast beside the one as it comes.

    python scripts/bench_onnx.py onnx.json --network timm:resnet18 --layers evonas-s1 evonorm-s0 evonorm-b0 gn-relu

One thread. Times are medians of rounds in which all files run one after the other; ratios are to the network without
an exchange.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import evonas

LAYERS = ("evonas-s1", "evonas-b1", "evonorm-s0", "evonorm-b0", "gn-relu")


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """A file in onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", default="timm:resnet18")
    parser.add_argument(
        "--layers", nargs="+", default=["evonas-s1", "evonas-b1", "evonorm-s0", "evonorm-b0", "gn-relu"]
    )
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", evonas.SurgeryWarning)
    x = torch.randn(arguments.batch, 3, arguments.size, arguments.size, generator=torch.Generator().manual_seed(1))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for name in ("", *arguments.layers):
            path, program = Path(folder) / f"{name or 'plain'}.onnx", Path(folder) / f"{name or 'plain'}.pt2"
            torch.manual_seed(1)
            network = evonas.Network(arguments.network, name, size=arguments.size)
            nodes = evonas.export_network(network, path).nodes
            torch.manual_seed(1)
            evonas.export_network(network, program)
            sessions[name] = session_of(path)
            with torch.no_grad():
                expected = torch.export.load(program).module()(x).numpy()
            (found,) = sessions[name].run(None, {"x": x.numpy()})
            apart = float(np.abs(found - expected).max() / np.abs(expected).max())
            rows.append({"layer": name or "as it comes", "nodes": nodes, "relative difference": apart})
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for _ in range(arguments.rounds):
            for name, session in sessions.items():
                began = time.perf_counter()
                session.run(None, {"x": x.numpy()})
                times[name].append(time.perf_counter() - began)
    for row, name in zip(rows, sessions, strict=True):
        row["ms"] = round(1000 * statistics.median(times[name]), 1)
        row["ratio"] = round(statistics.median(a / b for a, b in zip(times[name], times[""], strict=True)), 3)
        print(row)
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
