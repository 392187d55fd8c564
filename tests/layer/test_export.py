"""Exported files against lowered layers.

Oracle: ``lower`` with the same state. All files run in one other Python process that cannot import evonas, and must
give bit for bit the same outputs and running values, in evaluation and in training.
"""

import ast
import importlib.metadata
import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from oracles import MAP_LAYERS, viable_genomes
from torch import Tensor

from evonas.errors import InputError
from evonas.graph import functions
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.graph.variation import mutate
from evonas.layer.export import export, source_of
from evonas.layer.lower import lower

C, GROUPS = 12, 8  # 8 groups do not divide 12 channels: 6 do
X = torch.randn(3, C, 5, 4, generator=torch.Generator().manual_seed(0))

RUN_WITHOUT_EVONAS = """
import importlib.util, sys, torch

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "evonas":
            raise ImportError("exported files must not need evonas")

sys.meta_path.insert(0, Block())
torch.set_num_threads(1)
source, target = sys.argv[1:]
results = {}
for name, case in torch.load(source, weights_only=True).items():
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), case["file"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    layer = getattr(module, case["class"])(case["x"].shape[1])
    results[name] = {"initial": {key: value.clone() for key, value in layer.state_dict().items()}}
    layer.load_state_dict(case["state"])
    results[name]["evaluation"] = layer.eval()(case["x"]).detach()
    results[name]["training"] = layer.train()(case["x"]).detach()
    results[name]["state"] = layer.state_dict()
    affine = getattr(module, case["class"])(case["x"].shape[1], act=False)
    results[name]["affine"] = affine.state_dict()
    results[name]["unchanged"] = affine(case["x"]).detach()
assert "evonas" not in sys.modules
torch.save(results, target)
"""


def mutants() -> list[Genome]:
    """Known layers after five mutations: several operations on several moments."""
    space, rng, found = SearchSpace(), random.Random(3), []
    for genome in (CATALOGUE["evonorm-b0"], CATALOGUE["bn-silu"], CATALOGUE["gn-relu"]):
        genome = space.padded(genome)
        for _ in range(5):
            genome, _said = mutate(genome, space, rng)
        found.append(genome)
    return found


PARTIAL = [
    Genome.from_text(text)
    for text in (
        "a = rms[chw](x); mul(a, v0)",
        "a = rms[chw](x); b = mean[bhw](a); mul(x, b)",
        "div(v1, zero)",
        "std[bhw](v1)",
    )
]
GENOMES = MAP_LAYERS | {genome.key: genome for genome in [*viable_genomes(12, seed=4), *mutants(), *PARTIAL]}


def moved(genome: Genome) -> torch.nn.Module:
    """A lowered layer whose parameters and running values are off their initial ones."""
    layer, generator = lower(genome, C, layout="bchw", groups=GROUPS), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in layer.state_dict().values():
            value.add_(0.3 * torch.rand(value.shape, generator=generator))
    return layer


def mapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The documented mapping from a lowered layer's keys to an exported one's."""
    return {key.removeprefix("body."): value.clone() for key, value in state.items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What the exported files computed, from one process for all."""
    folder = tmp_path_factory.mktemp("exported")
    cases = {}
    for name, genome in GENOMES.items():
        title = name if name in CATALOGUE else ""
        file = export(genome, folder / f"{name}.py", name=title, layout="bchw", groups=GROUPS)
        state = mapped(moved(genome).state_dict())
        cases[name] = {"file": str(file), "class": class_name(file.read_text()), "state": state, "x": X}
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-I", "-c", RUN_WITHOUT_EVONAS, str(folder / "cases.pt"), str(folder / "results.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "results.pt", weights_only=True)


def class_name(source: str) -> str:
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)][-1]


def docstring(source: str) -> str:
    return ast.get_docstring(ast.parse(source)) or ""


@pytest.mark.parametrize("name", GENOMES)
def test_an_exported_layer_computes_what_the_lowered_one_does(name: str, results: dict[str, dict]) -> None:
    layer = moved(GENOMES[name])
    assert torch.equal(results[name]["evaluation"], layer.eval()(X))
    assert torch.equal(results[name]["training"], layer.train()(X))
    state = mapped(layer.state_dict())
    assert results[name]["state"].keys() == state.keys()
    assert all(torch.equal(results[name]["state"][key], value) for key, value in state.items())


@pytest.mark.parametrize("name", GENOMES)
def test_an_exported_layer_starts_like_the_lowered_one(name: str, results: dict[str, dict]) -> None:
    state = mapped(lower(GENOMES[name], C, layout="bchw", groups=GROUPS).state_dict())
    assert results[name]["initial"].keys() == state.keys()
    assert all(torch.equal(results[name]["initial"][key], value) for key, value in state.items())


@pytest.mark.parametrize("name", GENOMES)
def test_an_exported_layer_without_activation_is_affine_alone(name: str, results: dict[str, dict]) -> None:
    assert set(results[name]["affine"]) == {"weight", "bias"}
    assert torch.equal(results[name]["unchanged"], X)


@pytest.mark.parametrize("name", GENOMES)
def test_the_docstring_says_what_the_layer_is(name: str) -> None:
    genome = GENOMES[name]
    text = docstring(
        source_of(genome, name="my-layer", layout="bchw", provenance="run digits, rank 1, accuracy 0.91 and 0.88")
    )
    assert text.startswith("MyLayer, ")
    one_line = " ".join(text.split())
    for part in (
        f"y = {genome.formula()}, then y * weight + bias per channel",
        genome.key,
        "named 'my-layer'",
        "Provenance: run digits, rank 1, accuracy 0.91 and 0.88",
        f"evonas {importlib.metadata.version('evonas')}",
        "layer = MyLayer(64)",
        "key.removeprefix('body.')",
    ):
        assert part in one_line


@pytest.mark.parametrize("name", GENOMES)
def test_the_text_in_the_docstring_reads_back(name: str) -> None:
    block = next(b for b in docstring(source_of(GENOMES[name], layout="bchw")).split("\n\n") if "Text:" in b)
    text = block.partition("Text:")[2].partition("Key:")[0]
    assert Genome.from_text(text) == GENOMES[name].active()


@pytest.mark.parametrize(
    ("name", "helpers"),
    [
        (
            "bn-relu",
            "Variance MeanSquare widen elements mean mean_square variance batch_moment per_channel narrow affine "
            "BatchMoment",
        ),
        ("frn-tlu", "MeanSquare Maximum maximum reciprocal widen elements mean_square rms per_channel narrow affine"),
        (
            "evonorm-b0",
            "Variance MeanSquare Maximum Quotient quotient maximum widen elements mean mean_square variance std "
            "batch_moment per_channel narrow affine BatchMoment",
        ),
        (
            "evonorm-s0",
            "Variance widen elements variance std split_groups merge_groups per_channel narrow affine fit_groups",
        ),
    ],
)
def test_only_the_helpers_that_are_needed_are_copied(name: str, helpers: str) -> None:
    body = ast.parse(source_of(CATALOGUE[name], name=name, layout="bchw")).body
    definitions = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    with_classes = ["joined", "applied"]
    for helper in helpers.split():
        with_classes += [helper, f"Direct{helper}"] if f"Direct{helper}" in vars(functions) else [helper]
    assert definitions[:-1] == with_classes
    imports = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module for node in body if isinstance(node, ast.ImportFrom) and node.module}
    assert imports == {"sys", "torch", "typing"}


def test_every_node_is_one_readable_line() -> None:
    source = source_of(CATALOGUE["evonorm-b0"])
    forward = source.partition("        v1")[2].partition("        weight =")[0]
    assert [line.strip() for line in ("v1" + forward).splitlines()] == [
        "v1 = per_channel(self.v1)  # [1, c, 1, 1]",
        "a = self.std_bhw_0(x)  # [1, c, 1, 1]",
        "b = x * narrow(v1, x)",
        "c = std(x, (2, 3), self.eps)  # [b, c, 1, 1]",
        "d = b + narrow(c, x)",
        "e = maximum(d, narrow(a, x))",
        "y = quotient(x, e)",
    ]


def test_arguments_that_do_nothing_say_so() -> None:
    assert "groups: no effect" in source_of(CATALOGUE["bn-relu"])
    assert "momentum: no effect" in source_of(CATALOGUE["evonorm-s0"])
    assert "no effect" not in source_of(Genome.from_text("a = std[bhw](x); b = std[ghw](x); add(a, b)"))


def test_settings_become_the_defaults_of_the_class() -> None:
    source = source_of(CATALOGUE["evonorm-s0"], groups=8, eps=1e-3, momentum=0.25)
    assert "groups: int = 8," in source
    assert "eps: float = 0.001," in source
    assert "momentum: float = 0.25," in source


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("evonorm-s0", "EvonormS0"),
        ("my layer/v2.1", "MyLayerV21"),
        ("GELUish", "GELUish"),
        ("3-fold", "Layer3Fold"),
        ("none", "LayerNone"),
        ("tensor", "LayerTensor"),
        ("batch-moment", "LayerBatchMoment"),
        ("", "Layer_57530fcb"),
        ("---", "Layer_57530fcb"),
        ("Ω", "Layer_57530fcb"),
    ],
)
def test_names_become_class_names(name: str, expected: str) -> None:
    assert class_name(source_of(CATALOGUE["evonorm-s0"], name=name)) == expected


@pytest.mark.parametrize("words", ['says """ and """"', "ends in \\", r"C:\new\table", "two\nlines", "naïve Ω"])
def test_names_and_provenance_may_hold_anything(words: str) -> None:
    text = docstring(source_of(CATALOGUE["evonorm-s0"], name=words, provenance=words))
    assert f"Provenance: {' '.join(words.split())}" in text


def test_lines_are_no_longer_than_those_of_the_package(tmp_path: Path) -> None:
    words = "an objective and what it was measured with " * 9
    for name, genome in GENOMES.items():
        source = source_of(genome, name=name, layout="bchw", provenance=words)
        assert max(map(len, source.splitlines())) <= 120
        (tmp_path / f"{name}.py").write_text(source)
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    command = [sys.executable, "-m", "ruff", "format", "--check", "--isolated", "--line-length", "120", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_file_is_written_into_new_folders_and_over_old_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "layer.py"
    assert export(CATALOGUE["evonorm-s0"], str(path)) == path
    assert path.read_text() == source_of(CATALOGUE["evonorm-s0"])
    export(CATALOGUE["bn-relu"], path)
    assert path.read_text() == source_of(CATALOGUE["bn-relu"])
    assert [p.name for p in path.parent.iterdir()] == ["layer.py"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "layer.py"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"layer\.py: cannot be written \(No space left on device\)"):
        export(CATALOGUE["evonorm-s0"], path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["layer.py"]


def test_paths_that_cannot_hold_the_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "file").touch()
    for path, names in (
        (tmp_path / "layer.txt", ["layer.txt", "'.txt'", "ends in .py"]),
        (tmp_path / "layer", ["layer", "ends in .py"]),
        (tmp_path / "folder.py", ["folder.py", "is a folder"]),
        (tmp_path / "file" / "layer.py", ["layer.py", "cannot be written"]),
    ):
        with pytest.raises(InputError) as error:
            export(CATALOGUE["evonorm-s0"], path)
        assert all(name in str(error.value) for name in names)
        assert len(str(error.value).splitlines()) == 1


def test_less_than_one_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"groups: 0; accepted: 1 or more"):
        export(CATALOGUE["evonorm-s0"], tmp_path / "layer.py", groups=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["a\0b", "\ud800", "\x1b]0;t\x07", '"""\n\nimport os\n"""', "\\", "\u202e", "'''", "a\nb"]
)
def test_names_and_origins_of_strangers_are_letters_of_the_docstring(text: str, tmp_path: Path) -> None:
    genome = CATALOGUE["evonorm-s0"]
    path = export(genome, tmp_path / "layer.py", name=text, provenance=text)
    source = path.read_text(encoding="utf-8")
    assert all(character.isprintable() or character == "\n" for character in source)
    (first, *body) = ast.parse(source).body
    assert isinstance(first, ast.Expr)
    assert all(isinstance(part, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef) for part in body[:-1])
    plain = ast.parse(source_of(genome, name="a", provenance="b")).body
    made, expected = (
        next(part for part in reversed(parts) if isinstance(part, ast.ClassDef)) for parts in (body, plain)
    )
    made.name = expected.name
    assert ast.dump(made) == ast.dump(expected)


@pytest.mark.parametrize(("setting", "value"), [("eps", float("inf")), ("momentum", float("nan")), ("groups", 0)])
def test_settings_that_are_no_numbers_of_a_module_are_refused(setting: str, value: float) -> None:
    with pytest.raises(InputError, match=setting):
        source_of("evonorm-s0", **{setting: value})


def test_a_path_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    for name in ("a" * 300, "a\0b"):
        with pytest.raises(InputError, match="cannot be written"):
            export("evonorm-s0", tmp_path / f"{name}.py")
    assert list(tmp_path.iterdir()) == []
