"""Sound inputs that fuzzing begins from: small files of every kind that evonas reads."""

import io
import json
import sqlite3
import struct
import tempfile
import zlib
from contextlib import closing
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from evonas import config
from evonas.config import SearchConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, of_kind
from evonas.interface.saved_models import save_model
from evonas.layer.lower import lower
from evonas.runs.store import Key, Outcome, Store
from evonas.search.archive import Archive
from evonas.search.driver import drive
from evonas.search.execution import EvaluationJob, Known
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.start import create_run
from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.sites import SteeringSite

ROOT = Path(__file__).parents[1]
TINY = ROOT / "search_spaces" / "tiny.toml"
WORDS = (*of_kind("elementwise", "moment"), *INDEX_SETS, *INITIAL_NODES)
TEXTS = [genome.to_text() for genome in CATALOGUE.values()]
FORMULAS = [genome.formula() for genome in CATALOGUE.values()]
CONTEXT, PRINT = "context", "print"


def settings() -> SearchConfig:
    """Those of a tiny search."""
    return config.load_search(TINY, ["budget.evaluations=8", "racing.every=3", "protocols.quality.min_accuracy=0"])


def evaluation(genome: Genome, number: int) -> Evaluation:
    """A sound one, scored or rejected."""
    if number % 3 == 2:
        return Evaluation(genome.key, 1, 4, 0.5, rejection=Rejection("quality", "too low", "densenet", 0.1, 0.2, "why"))
    scores = {"preact_resnet": 0.5 + number / 100, "densenet": 0.25}
    traces = {"densenet": ((1, 2.0), (2, 1.5))}
    return Evaluation(
        genome.key, 1, 8, 1.5, scores, None, traces, traces, {"latency": 1.5}, "compiled", {"densenet": 0.1}
    )


class MadeUp:
    """Evaluates nothing: every third layer is rejected, and the others have made-up scores."""

    eager = False

    def __init__(self) -> None:
        self._count = 0

    def submit(self, job: EvaluationJob) -> Known:
        """See ``Executor``."""
        self._count += 1
        return Known(evaluation(job.genome, self._count))

    def doing(self) -> list[str]:
        """See ``Executor``."""
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """See ``Executor``."""


@cache
def run_folder() -> Path:
    """A run with some candidates, a baseline, a race and an end."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-run-")) / "run"
    found = settings()
    create_run(folder, found)
    with Archive.open(folder / "archive.sqlite") as archive:
        drive(found, archive, MadeUp(), [])
    return folder


def archive_bytes() -> bytes:
    """The archive of the run, in one file."""
    return _in_one_file(run_folder() / "archive.sqlite")


def _in_one_file(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()


def results_bytes() -> bytes:
    """A file of results, which a cache is too, in one file."""
    path = Path(tempfile.mkdtemp(prefix="fuzz-results-")) / "results.sqlite"
    with Store.open(path) as store:
        for number, genome in enumerate(CATALOGUE.values()):
            value = {"evaluation": asdict(evaluation(genome, number)), "stopped": number % 2 == 0}
            key = Key(json.dumps([CONTEXT, genome.key, 8, False]), {"code": "a"}, f"{CONTEXT}/{PRINT}")
            store.record(key, Outcome(value, "", 1.0))
    return _in_one_file(path)


def images_bytes() -> list[bytes]:
    """Files of images."""
    found = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        images, labels = np.zeros((8, 4, 4), np.uint8), np.arange(8)
        save(stream, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
        found.append(stream.getvalue())
    return found


def intervention_files() -> tuple[dict[str, Any], bytes]:
    """What a saved intervention holds: the header, and the tensors."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-maps-"))
    sites = [SteeringSite(name=f"block.{n}", features=3, axis=-1, kind="Linear", writes_residual=False) for n in (0, 1)]
    maps = [AffineMap(torch.ones(3), torch.zeros(3)), AffineMap(torch.ones(3), torch.zeros(3))]
    Intervention(tuple(sites), tuple(maps), "lineas", "Model", (0.5, 0.25)).save(folder)
    return json.loads((folder / "intervention.json").read_text()), (folder / "maps.safetensors").read_bytes()


def model() -> nn.Sequential:
    """A small network."""
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())


@cache
def model_files() -> tuple[dict[str, Any], bytes]:
    """What a saved model holds: its layers, and its weights."""
    folder, made = Path(tempfile.mkdtemp(prefix="fuzz-model-")), model()
    made[1] = lower(CATALOGUE["gn-relu"], 4, groups=2)
    save_model(made, folder)
    return json.loads((folder / "layers.json").read_text()), (folder / "model.safetensors").read_bytes()


SPARSITY = {
    "format": "evonas sparsity 1",
    "model": "Model",
    "method": "teal",
    "selection": "threshold",
    "allocation": "uniform",
    "transform": False,
    "prefill_share": 0.5,
    "prefill_first": 0,
    "seed": 1,
    "layers": {"a.b": {"inputs": 4, "outputs": 4, "sparsity": 0.5, "threshold": 0.25}},
}
COCO = {
    "images": [
        {"id": 1, "file_name": "a.png", "height": 6, "width": 5},
        {"id": 2, "file_name": "b.png", "height": 4, "width": 4},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [[0, 0, 4, 0, 4, 4]], "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 7, "segmentation": {"size": [4, 4], "counts": [4, 8, 4]}, "iscrowd": 1},
        {"id": 3, "image_id": 2, "category_id": 7, "segmentation": {"size": [4, 4], "counts": "484"}, "iscrowd": 1},
    ],
}
PROPOSAL = {"format": "evonas-proposal/1", "layer": TEXTS[0], "from": "me", "note": "a guess"}
RERANKED = {
    "seeds": [2, 3],
    "layers": [
        {"rank": 1, "candidate": 0, "tasks": {"densenet": {"mean": 0.5}}},
        {"rank": 2, "candidate": 1, "tasks": {}},
    ],
}
TRIAL = {
    "steps": 4,
    "objectives": {"densenet": 0.5},
    "rejection": None,
    "rates": {"densenet": 0.1},
    "findings": {
        "densenet": {"figures": {"box": 0.5}, "curves": {"loss": [[1, 0.5]]}, "pictures": {"seen": "iVBORw=="}}
    },
}


def novels_bytes() -> bytes:
    """Two novels, packed as R packs them."""
    header = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">i", 16)
    lines = b"".join(struct.pack(">ii", 9, len(line)) + line for line in (b"It is a truth", b"universally"))
    packed = zlib.compress(header + struct.pack(">i", 2) + lines)
    return (struct.pack(">i", 60) + packed) * 2


IDX = b"\0\0\x08\x03" + struct.pack(">iii", 2, 3, 3) + bytes(18)
IDX_LABELS = b"\0\0\x08\x01" + struct.pack(">i", 2) + bytes(2)
CSV = b'text,rating\n"a, b",0.5\nc,1\n'
JSON_LINES = b'{"text": "a b", "rating": 0.5}\n{"text": "c"}\n'
