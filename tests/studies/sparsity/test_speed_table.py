"""Oracles: a table written by hand, and the file that a first measurement leaves for the second."""

import json
from pathlib import Path

import pytest
import torch

from evonas.errors import InputError
from evonas.studies.sparsity import speed_table as sizes
from evonas.studies.sparsity.speed_table import _TIMED_SPARSITIES, SpeedTable, measure_speeds

SHAPES = [(16, 24), (24, 16)]


def test_a_layer_pays_from_the_sparsity_on_at_which_the_ratio_falls_below_the_margin() -> None:
    table = SpeedTable({}, {(8, 4): (1.4, 1.2, 0.8, 0.6, 0.4, 0.3), (4, 8): (2.0,) * len(_TIMED_SPARSITIES)})
    assert [table.pays(8, 4, sparsity) for sparsity in (0.0, 0.3, 0.4, 0.41, 0.65, 0.99)] == [False] * 3 + [True] * 3
    assert not table.pays(4, 8, 0.9)
    assert not table.pays(100, 100, 0.9)  # not measured


def test_what_a_machine_has_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = measure_speeds(SHAPES, folder=tmp_path / "cache", cold=1)
    assert set(table.ratios) == set(SHAPES)
    assert all(ratio > 0 for ratios in table.ratios.values() for ratio in ratios)
    (file,) = (tmp_path / "cache").iterdir()
    kept = json.loads(file.read_text())
    assert kept["machine"] == table.machine
    assert [(row["inputs"], row["outputs"]) for row in kept["rows"]] == SHAPES
    measured: list[object] = []
    monkeypatch.setattr(sizes, "_measure", lambda shape, *_: measured.append(shape) or (1.0,) * len(_TIMED_SPARSITIES))
    assert measure_speeds(SHAPES, folder=tmp_path / "cache") == table
    assert measured == []
    assert set(measure_speeds([*SHAPES, (3, 5)], folder=tmp_path / "cache").ratios) == {*SHAPES, (3, 5)}
    assert measured == [(3, 5)]
    measure_speeds(SHAPES, folder=tmp_path / "cache", dtype=torch.bfloat16)  # another machine, as it were
    assert measured == [(3, 5), *SHAPES]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"levels": [0.0, 0.25, 0.5, 0.65, 0.8, 0.9], "rows": [{"inputs": 3}]}']
)
def test_a_file_that_is_no_table_is_named(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_measure", lambda *_: (1.0,) * len(_TIMED_SPARSITIES))
    measure_speeds(SHAPES, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    with pytest.raises(InputError, match=r"sparse-\w+\.json: is not a table of sizes; delete it"):
        measure_speeds(SHAPES, folder=tmp_path)
