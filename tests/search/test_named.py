"""Layers by the names that users give them.

Oracles: the layout that each layer was published for or found in; tanh(x) in plain torch.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from evonas.config import SearchConfig, SpaceConfig, TaskConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.archive import Archive
from evonas.search.named import find_layer
from evonas.search.outcome import Candidate, Evaluation, Proposal
from evonas.search.start import create_run

TANH = Genome.from_text("tanh(x)")
Outcome = tuple[int, str, str]


def loaded(file: Path) -> Callable[..., nn.Module]:
    """The class in an exported file."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (found,) = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == file.stem]
    return found


def run_of(layout: str, path: Path) -> Path:
    """A run whose best and only layer is tanh(x)."""
    run = create_run(path, SearchConfig(name="a", space=SpaceConfig(layout=layout), tasks=(TaskConfig(task="a:b"),)))
    with Archive.open(run.archive_file) as archive:
        archive.record(Candidate(0, Proposal(TANH, None, "random"), ""), Evaluation(TANH.key, 1, objectives={"b": 0.5}))
    return path


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("evonorm-s0", "bchw"),
        ("layernorm", "btd"),
        ("dyt", "btd"),
        ("derf", "btd"),
        ("std[hw](x)", "bchw"),
        ("rms[d](x)", "btd"),
        (CATALOGUE["dyt"].to_text(), "btd"),
        ("tanh(x)", None),
    ],
)
def test_a_name_says_what_a_layer_is_for(text: str, layout: str | None) -> None:
    assert find_layer(text).layout == layout


def test_a_layer_of_a_file_is_for_what_its_moments_say(tmp_path: Path) -> None:
    for name, layout in (("evonorm-b0", "bchw"), ("rmsnorm", "btd")):
        (tmp_path / "layer.json").write_text(CATALOGUE[name].to_json())
        assert find_layer(str(tmp_path / "layer.json")).layout == layout


@pytest.mark.parametrize("layout", ["bchw", "btd"])
def test_a_layer_of_a_run_is_for_what_the_run_searched(
    layout: str, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    run, file = run_of(layout, tmp_path / "run"), tmp_path / "found.py"
    assert find_layer(f"{run}#1").layout == layout
    assert evonas("export", f"{run}#1", "-o", file)[0] == 0
    x = torch.randn(5, 5, 4, 5)  # only the axis of the channels tells images from tokens
    layer = loaded(file)(5)
    nn.init.normal_(layer.weight)
    shape = (5, 1, 1) if layout == "bchw" else (5,)
    torch.testing.assert_close(layer(x), torch.tanh(x) * layer.weight.view(shape))


@pytest.mark.parametrize("name", ["dyt", "derf"])
def test_a_catalogue_layer_without_moments_is_exported_for_tokens(
    name: str, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    assert evonas("export", name, "-o", tmp_path / "layer.py")[0] == 0
    x = torch.randn(64, 5, 64)  # once an image layer that gave [1, 64, 5, 64] without a word
    found = loaded(tmp_path / "layer.py")(64)(x)
    torch.testing.assert_close(found, (torch.tanh if name == "dyt" else torch.erf)(0.5 * x))


def test_a_text_without_moments_needs_a_layout(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    file = tmp_path / "layer.py"
    status, out, err = evonas("export", "tanh(x)", "-o", file)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    for word in ("--layout: not given", "tanh(x) has no moment", "bchw, where channels", "btd, where features"):
        assert word in err
    assert not file.exists()
    for layout, shape in (("bchw", (2, 4, 3, 3)), ("btd", (2, 3, 4))):
        assert evonas("export", "tanh(x)", "--layout", layout, "-o", file)[0] == 0
        x = torch.randn(shape)
        torch.testing.assert_close(loaded(file)(4)(x), torch.tanh(x))


@pytest.mark.parametrize(
    ("layer", "layout", "word"), [("evonorm-s0", "btd", "index sets of bchw"), ("tanh(x)", "bcwh", "'bcwh'")]
)
def test_a_wrong_layout_is_refused_by_the_name_of_its_option(
    layer: str, layout: str, word: str, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    status, _, err = evonas("export", layer, "--layout", layout, "-o", tmp_path / "layer.py")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "--layout: " in err
    assert word in err
    assert not list(tmp_path.iterdir())


def test_what_is_shown_of_a_layer_says_what_it_is_for(evonas: Callable[..., Outcome]) -> None:
    for text, said in (("dyt", "btd"), ("evonorm-s0", "bchw"), ("tanh(x)", "bchw or btd: it has no moments")):
        _, out, _ = evonas("show", text)
        (line,) = [line for line in out.splitlines() if line.startswith("layout")]
        assert line.split(maxsplit=1)[1] == said
