"""``scripts/truth.py`` and its record.

Oracles: the trainings as they were written, everything in each line; hand-made layers; surgery for what stands where.
"""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from command import SCRIPTS

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.surgery.sites import norm_act_sites
from evonas.tasks.task import initialized

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

KEPT = SCRIPTS.parent / "runs" / "kept" / "truth"
Row = dict[str, Any]


@pytest.fixture
def truth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("truth")


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("truth_record")


def trained(seed: int = 1, *, network: str = "plain", diverged: bool = False) -> Row:
    """A training as it was recorded before, everything in one line."""
    training = {"optimizer": "sgd", "batch_size": 64, "steps": 300, "learning_rate": 0.1, "warmup": 100}
    likelihoods = {"25": 0.1, "50": 1 / 3, "75": 0.123456789012345, "100": 0.2, "200": 0.25, "300": 0.3}
    return {
        "made_from": {
            "layer": CATALOGUE["bn-relu"].key,
            "text": CATALOGUE["bn-relu"].to_text(),
            "network": network,
            "settings": {"stem": 8},
            "seed": seed,
            "training": training,
            "lowering": {"groups": 4},
            "data": {"name": "npz"},
            "final": False,
        },
        "validation": None if diverged else 0.446,
        "test": None,
        "error": "diverged within 60 steps" if diverged else None,
        "likelihoods": dict(list(likelihoods.items())[:2]) if diverged else likelihoods,
        "seconds": 3.86,
        "commit": "c" * 40,
        "torch": "2.14.1",
    }


def test_a_line_is_short_and_is_the_training_again(record: ModuleType) -> None:
    for row in (trained(), trained(diverged=True)):
        line, parts = record.split(row)
        assert record.joined(json.loads(json.dumps(line)), parts) == row
        assert len(json.dumps(line, separators=(",", ":"))) < 350


def test_trainings_are_found_again_in_a_file_for_each_network(record: ModuleType, tmp_path: Path) -> None:
    rows = [trained(1), trained(2, diverged=True), trained(1, network="mixer")]
    written = record.Record(tmp_path)
    for row in rows:
        assert written.find(row["made_from"]) is None
        written.add(row)
    assert {p.name: len(p.read_text().splitlines()) for p in (tmp_path / "trainings").iterdir()} == {
        "plain.jsonl": 2,
        "mixer.jsonl": 1,
    }
    again = record.Record(tmp_path)
    assert [again.find(row["made_from"]) for row in rows] == rows
    assert again.find(trained(3)["made_from"]) is None


def test_two_processes_may_record_at_the_same_time(record: ModuleType, tmp_path: Path) -> None:
    """Each has read the folder before the other one wrote."""
    one, other = record.Record(tmp_path), record.Record(tmp_path)
    one.add(trained())
    other.add(trained(network="mixer"))
    assert len(record.Record(tmp_path).rows()) == 2


def test_half_a_line_is_trained_again_and_nothing_else(record: ModuleType, tmp_path: Path) -> None:
    written = record.Record(tmp_path)
    written.add(trained(1))
    written.add(trained(2))
    path = tmp_path / "trainings" / "plain.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    again = record.Record(tmp_path)
    assert path.read_bytes() == whole[:-20]  # reading changes nothing: another process may be writing
    assert again.find(trained(1)["made_from"]) == trained(1)
    assert again.find(trained(2)["made_from"]) is None
    again.add(trained(2))
    assert path.read_bytes() == whole


def test_a_line_without_its_conditions_is_no_silent_loss(record: ModuleType, tmp_path: Path) -> None:
    record.Record(tmp_path).add(trained())
    (tmp_path / "conditions.json").write_text("{}")
    with pytest.raises(ValueError, match=r"conditions\.json lacks"):
        record.Record(tmp_path)


def test_the_record_of_before_is_read_and_put_together_without_loss(record: ModuleType, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    rows = [trained(1), trained(2, diverged=True)]
    (old / "trainings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = record.Record(old)
    assert [before.find(row["made_from"]) for row in rows] == rows
    newer = tmp_path / "newer"
    record.Record(newer).add(trained(5, network="mixer"))
    count, longest = record.put_together([old, newer], tmp_path / "out")
    assert count == 3
    assert longest < 350
    assert not (tmp_path / "out" / "trainings.jsonl").exists()
    assert {record.key_of(row["made_from"]): row for row in record.Record(tmp_path / "out").rows()} == {
        record.key_of(row["made_from"]): row for row in (*rows, trained(5, network="mixer"))
    }


def settings_of(made: Row) -> config.SearchConfig:
    """A search file that says what a training was made from."""
    data = {**made["data"], "path": f"{made['data']['file']}.npz"}
    data.pop("file")
    sections = {"training": made["training"], "layer": made["lowering"], "data": data}
    return config.SearchConfig(name="kept", tasks=({"architecture": "densenet"},), **sections)


def test_nothing_of_the_kept_truth_would_be_trained_again(truth: ModuleType) -> None:
    """Under the settings of a kept training the script finds that training."""
    record = truth.Record(KEPT)
    rows = record.rows()
    assert len(rows) >= 397
    for row in rows:
        made = row["made_from"]
        bench = truth.Bench(settings_of(made), {}, None, record, {})  # has no network: training would be a KeyError
        layer, rate, steps = made["layer"], made["training"]["learning_rate"], made["training"]["steps"]
        named = {"key": layer, "text": made["text"]}
        assert bench.result(named, made["network"], rate, steps, made["seed"], final=made["final"]) == row


def test_a_later_key_counts_only_where_it_is_not_at_its_default(
    truth: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(config.TrainingConfig):
        fresh: int = 7

    first = truth.FIRST_KEYS
    monkeypatch.setattr(truth, "FIRST_KEYS", {**first, Later: first[config.TrainingConfig]})
    assert truth.recorded(Later()) == truth.recorded(config.TrainingConfig())
    assert truth.recorded(Later(fresh=8)) == {**truth.recorded(config.TrainingConfig()), "fresh": 8}


@pytest.mark.parametrize("name", ["plain", "mixer", "post-activation", "pre-activation", "densenet", "grouped"])
def test_every_norm_of_a_network_has_an_activation(name: str, truth: ModuleType) -> None:
    make, sizes = truth.NETWORKS[name]
    network = initialized(lambda: make(10, **sizes), 1)
    sites = norm_act_sites(network)
    assert len(sites) == sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules()) > 4
    assert all(site.act == "ReLU" for site in sites)
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_five_networks_are_the_default(truth: ModuleType) -> None:
    assert truth.DEFAULT == ("plain", "mixer", "post-activation", "pre-activation", "timm-bottleneck")
    assert set(truth.NETWORKS) - set(truth.DEFAULT) == {"densenet", "grouped"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    arrays = {
        f"{kind}_{part}": draw.integers(0, 256, (60, 16, 16, 3), np.uint8) if kind == "x" else np.arange(60) % 3
        for part in ("train", "test")
        for kind in ("x", "y")
    }
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_named_layers_are_judged_and_a_second_call_trains_nothing(
    truth: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judged"
    sizes = ["data.train=32", "data.validation=16", "training.batch_size=8", "training.warmup=0", f"data.path={data}"]
    sizes += ["data.name=npz", "data.size=16"]
    common = [
        "truth.py",
        str(SCRIPTS.parent / "search_spaces" / "tiny.toml"),
        "--out",
        str(out),
        "--network",
        "densenet",
    ]
    common += ["--network", "grouped", "--rates", "0.01", "0.1", "--pilot-steps", "2", "--steps", "3", "--seeds", "1"]
    common += [part for size in sizes for part in ("--set", size)]
    monkeypatch.setattr("sys.argv", [*common, "--layer", "gn-relu", "--layer", "sin(x)"])
    threads = torch.get_num_threads()
    try:
        truth.main()
        layers = json.loads((out / "layers.json").read_text())
        assert [layer["key"] for layer in layers] == [
            CATALOGUE["gn-relu"].key,
            truth.Genome.from_text("sin(x)").key,
        ]
        assert [layer["origin"] for layer in layers] == ["gn-relu", "sin(x)"]
        assert layers[0]["provenance"].startswith("catalogue layer gn-relu")
        assert len(capsys.readouterr().out.splitlines()) == 2 * 2 * 3  # networks, layers, two rates and the final one
        monkeypatch.setattr("sys.argv", common)
        truth.main()
        assert capsys.readouterr().out == ""
        monkeypatch.setattr("sys.argv", [*common, "--layer", "bn-relu"])
        with pytest.raises(SystemExit):
            truth.main()
        assert "there already, and layers are named: bn-relu" in capsys.readouterr().err
    finally:
        torch.set_num_threads(threads)
