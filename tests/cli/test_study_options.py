"""Every verb for studies x every option that they share.

Oracles: what ``config.toml`` of the folder says of the study that was run; the results of a run without the option; a
count of what is recorded.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command import status_of
from sparsity_models import save_llama
from typer.main import get_command

from evonas.cli import app
from evonas.cli.study_command import PANEL
from studies import count_outcomes

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"
Outcome = tuple[int, str, str]


@dataclass(frozen=True)
class Verb:
    """A small study.

    Attributes:
        arguments: what is typed; MODEL stands for the folder of a language model.
        changes: what makes it small.
        seeds: the key that its seeds are written under in ``config.toml``; empty where it has none.
        doing: what progress says.
    """

    arguments: tuple[str, ...]
    changes: tuple[str, ...]
    seeds: str
    doing: str


VERBS = {
    "stability": Verb(
        (str(STUDIES / "qk_layernorm.toml"),),
        (
            'grid.sizes=["16x1"]',
            "grid.learning_rates=[0.1]",
            "run.steps=3",
            "run.optimizer.warmup=1",
            "run.validation=2",
        ),
        "grid.seeds",
        "training 16x1",
    ),
    "hypernet": Verb(
        (str(STUDIES / "mip_digits.toml"),),
        (
            *("run.steps=2", "run.fixed=1", "grid.learning_rates=[0.1]", "grid.separate=false", "grid.noise=[0]"),
            *('grid.parametrizations=["default","mip"]', 'grid.optimizers=["adam"]', 'grid.activations=["relu"]'),
            'grid.norms=["none"]',
        ),
        "grid.seeds",
        "training default",
    ),
    "sparsify": Verb(
        ("MODEL", "--method", "teal", "--no-speed"),
        ("tokens=64", "calibration_tokens=64", "context=32", "sparsities=[0.5]", 'allocations=["uniform"]'),
        "",
        "scoring (dense)",
    ),
    "steer": Verb(
        (str(STUDIES / "steer_digits.toml"),),
        (
            *("images.generator_steps=2", "images.classifier_steps=2", "images.width=8", "images.images=20"),
            *('images.tasks=["remove"]', "methods.2.steps=1", "methods.2.sparsities=[0.0]"),
            *(f"methods.{number}.strengths=[1.0]" for number in range(3)),
        ),
        "seeds",
        "training the generator of digits and the classifier, once for the whole study",
    ),
    "evaluate": Verb(
        ("gn-relu", "--arch", "preact_resnet", "--no-costs"),
        ("training.steps=2", "training.batch_size=8", "data.train=64", "data.validation=64"),
        "",
        "training on preact_resnet",
    ),
}
each_verb = pytest.mark.parametrize("verb", VERBS)
with_seeds = pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "sparsify"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def typed(model: Path) -> Callable[..., list[object]]:
    """The command of a verb, with one seed."""

    def command(verb: str, *options: object, seeds: int = 1) -> list[object]:
        found = VERBS[verb]
        words = [str(model) if word == "MODEL" else word for word in found.arguments]
        sets = [part for change in found.changes for part in ("--set", change)]
        return [verb, *words, *sets, *(["--seeds", seeds] if verb != "sparsify" else []), *options]

    return command


@pytest.fixture(scope="module")
def runs(typed: Callable[..., list[object]], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The folder of each verb, from a run with one worker; what tests resume there adds nothing."""
    root = tmp_path_factory.mktemp("runs")
    for verb in VERBS:
        assert status_of(*typed(verb, "--run", root / verb)) == 0, verb
    return {verb: root / verb for verb in VERBS}


def settings(run: Path) -> dict[str, Any]:
    return tomllib.loads((run / "config.toml").read_text())


def results(run: Path) -> Any:
    return json.loads((run / "results.json").read_text())


@each_verb
def test_everything_is_written_to_the_folder(verb: str, runs: Mapping[str, Path]) -> None:
    for name in ("results.md", "results.csv", "results.json", "config.toml", "environment.json", "results.sqlite"):
        assert (runs[verb] / name).stat().st_size > 0, name
    assert list(runs[verb].glob("*.png"))
    assert list((runs[verb] / "tb").rglob("events.*"))
    assert count_outcomes(runs[verb] / "results.sqlite") > 0


@each_verb
def test_set_changes_the_study(verb: str, runs: Mapping[str, Path]) -> None:
    first, *_ = VERBS[verb].changes
    key, value = first.split("=")
    found: Any = settings(runs[verb])
    for part in key.split("."):
        found = found[part]
    assert found == tomllib.loads(f"value = {value}")["value"]


@each_verb
def test_the_device_is_chosen_by_default_and_a_wrong_one_is_one_line(
    verb: str, runs: Mapping[str, Path], typed: Callable[..., Any], evonas: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert settings(runs[verb])["execution"]["device"] == "auto"
    status, _, err = evonas(*typed(verb, "--device", "warp", "--run", tmp_path / "run"))
    (line,) = err.splitlines()
    assert (status, "device" in line, "'warp'" in line) == (2, True, True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@each_verb
def test_results_do_not_depend_on_the_number_of_workers(
    verb: str, runs: Mapping[str, Path], typed: Callable[..., Any], evonas: Callable[..., Outcome], tmp_path: Path
) -> None:
    status, _, err = evonas(*typed(verb, "--workers", 2, "--run", tmp_path / "run"))
    assert status == 0, err
    assert VERBS[verb].doing in err
    assert settings(tmp_path / "run")["execution"]["workers"] == 2
    assert results(tmp_path / "run") == results(runs[verb])


@each_verb
def test_json_is_what_the_file_holds_and_a_folder_is_taken_again_with_resume_alone(
    verb: str, runs: Mapping[str, Path], typed: Callable[..., Any], evonas: Callable[..., Outcome]
) -> None:
    run, count = runs[verb], count_outcomes(runs[verb] / "results.sqlite")
    status, out, err = evonas(*typed(verb, "--run", run))
    assert (status, out) == (2, "")
    assert "add --resume" in err
    status, out, err = evonas(*typed(verb, "--run", run, "--resume", "--json"))
    assert status == 0, err
    assert json.loads(out) == results(run)
    assert count_outcomes(run / "results.sqlite") == count


@each_verb
def test_force_keeps_results_of_other_code(
    verb: str,
    runs: Mapping[str, Path],
    typed: Callable[..., Any],
    evonas: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, before = runs[verb], results(runs[verb])
    monkeypatch.setattr("evonas.runs.provenance.code_digest", lambda *_: "0" * 64)
    status, _, err = evonas(*typed(verb, "--run", run, "--resume"))
    assert status == 2
    assert "made from something else: code" in err
    assert "--force" in err
    status, _, err = evonas(*typed(verb, "--run", run, "--resume", "--force"))
    assert status == 0, err
    assert results(run) == before


@with_seeds
def test_seeds_are_a_number_and_more_of_them_add_to_a_folder(
    verb: str, typed: Callable[..., Any], evonas: Callable[..., Outcome], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert evonas(*typed(verb, "--run", run))[0] == 0
    one = count_outcomes(run / "results.sqlite")
    status, _, err = evonas(*typed(verb, "--run", run, "--resume", seeds=2))
    assert status == 0, err
    shared = 1 if verb == "steer" else 0  # its networks serve all seeds
    assert count_outcomes(run / "results.sqlite") - shared == 2 * (one - shared)
    found: Any = settings(run)
    for part in filter(None, VERBS[verb].seeds.split(".")):
        found = found[part]
    assert not VERBS[verb].seeds or found == [1, 2]


@each_verb
def test_help_has_an_example_says_what_is_written_and_lists_the_same_options(verb: str) -> None:
    command = get_command(app).commands[verb]  # type: ignore[attr-defined]
    assert f"evonas {verb} " in command.help.split("Example:")[1]
    assert "results.md, results.csv, results.json" in command.help
    shared = [(each.opts, each.help) for each in command.params if getattr(each, "rich_help_panel", "") == PANEL]
    plain = [each for each in get_command(app).commands["hypernet"].params if each.opts[0].startswith("--")]  # type: ignore[attr-defined]
    wanted = [(each.opts, each.help) for each in plain if verb != "sparsify" or each.opts != ["--seeds"]]
    assert shared == wanted
    assert [opts[0] for opts, _ in shared if opts[0] != "--seeds"] == [
        *("--set", "--workers", "--executor", "--device", "--run", "--resume", "--force", "--trust", "--json")
    ]


def test_a_model_and_a_study_of_it_give_the_same(
    runs: Mapping[str, Path], model: Path, evonas: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Oracle: the run of the model with options."""
    changes = "\n".join(VERBS["sparsify"].changes)
    file = tmp_path / "mine.toml"
    file.write_text(f'name = "mine"\nmodel = "{model}"\nmethods = ["teal"]\nspeed = false\n{changes}\n')
    status, _, err = evonas("sparsify", file, "--run", tmp_path / "run")
    assert status == 0, err
    assert results(tmp_path / "run") == results(runs["sparsify"])
    assert evonas("sparsify", file, "--method", "wina", "--run", tmp_path / "other")[0] == 0
    assert settings(tmp_path / "other")["methods"] == ["wina"]
