"""What the command line imports, each time in a process of its own: heavy libraries only where a verb needs them."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.main import get_command

from evonas.cli import VERBS, app
from evonas.studies.sparsity.scores import SCORE_METHODS
from evonas.studies.sparsity.study import ALL, SparsityStudyConfig

HEAVY = ("torch", "scipy", "matplotlib", "sklearn", "tensorboard", "networkx", "numpy")
# runs the command line, then says on a last line which of some modules were imported
PROGRAM = """
import atexit, sys
watched = set(sys.argv[1].split(","))
atexit.register(lambda: print("\\nimported:", *sorted(watched & set(sys.modules))))
sys.argv = ["evonas", *sys.argv[2:]]
from evonas.cli import main
main()
"""


def run(*arguments: str, watched: tuple[str, ...] = HEAVY, **environment: str) -> tuple[str, str]:
    """What a command printed, and which of the watched modules it imported."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(watched), *arguments],
        env=os.environ | {"COLUMNS": "100"} | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output, _, imported = ended.stdout.rpartition("\nimported:")
    return output, imported.strip()


VERB_NAMES = sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--help",), "evonas search"),
        (("shwo",), "Did you mean 'show'?"),
        (("--version",), f"evonas {version('evonas')}"),
        ((), "Usage"),
        *(((name, "--help"), f"evonas {name}") for name in VERB_NAMES),
        (("show",), "Missing argument 'LAYER'"),
        (("top", "runs/first", "--cuont", "3"), "Possible options: --count"),
    ],
)
def test_help_and_typos_import_nothing_heavy(arguments: tuple[str, ...], expected: str) -> None:
    output, imported = run(*arguments)
    assert expected in output
    assert not imported


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("list", "searches"), "evonorm_s"),
        (("list", "studies"), "qk_layernorm"),
        (("schema",), "$defs"),
    ],
)
def test_what_is_there_is_named_without_anything_heavy(arguments: tuple[str, ...], expected: str) -> None:
    output, imported = run(*arguments)
    assert expected in output
    assert not imported


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("evonas s", "search"),
        ("evonas show --", "--png"),
        ("evonas --v", "--version"),
        ("evonas search evo", "evonorm_s"),
        ("evonas hypernet mip", "mip_digits"),
        ("evonas evaluate bn-relu --settings held", "held_out"),
        ("evonas list prim", "primitives"),
        ("evonas schema comp", "comparison"),
    ],
)
def test_completion_imports_nothing_heavy(words: str, expected: str) -> None:
    position = str(len(words.split()) - 1)
    output, imported = run(_EVONAS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=position)
    assert expected in output.split()
    assert not imported


def test_the_script_for_a_shell_imports_nothing_heavy() -> None:
    output, imported = run(_EVONAS_COMPLETE="source_bash")
    assert "complete -o default -F _evonas_completion evonas" in output
    assert not imported


def test_showing_a_layer_imports_torch_and_little_more() -> None:
    watched = ("torch", "torch._dynamo", *HEAVY[1:-1], "deap.tools")
    output, imported = run("show", "evonorm-s0", "--quick", watched=watched)
    assert "x * sigmoid(x * v1) / std[ghw](x)" in output
    assert imported == "torch"


def test_every_heading_of_the_help_lists_its_verbs() -> None:
    output, _ = run("--help")
    places = [output.index(f" {heading} ") for heading in VERBS]
    assert places == sorted(places)
    for start, end, verbs in zip(places, [*places[1:], len(output)], VERBS.values(), strict=True):
        assert all(f" {verb.__name__} " in output[start:end] for verb in verbs)


def test_the_defaults_in_the_help_of_sparsify_are_those_of_a_study() -> None:
    parameters = {parameter.name: parameter.help for parameter in get_command(app).commands["sparsify"].params}  # type: ignore[attr-defined]
    options = {"methods": "method", "sparsities": "sparsity", "texts": "text"}
    held = 0
    for key, field in SparsityStudyConfig.model_fields.items():
        told = parameters.get(options.get(key, key))
        if isinstance(field.default, str | int | float | tuple) and not isinstance(field.default, bool) and told:
            default = field.default if isinstance(field.default, tuple) else (field.default,)
            assert told.endswith(f"Default: {', '.join(map(str, default))}."), key
            held += 1
    assert held == 10
    assert all(name in parameters["method"] for name in (*SCORE_METHODS, ALL))
