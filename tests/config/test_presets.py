"""The files that come with evonas, found by their names.

Oracles: the folders of the checkout, the models that the verbs read such files with, and the same files by their paths.
"""

import shutil
from pathlib import Path

import pytest

from evonas import config
from evonas.compare.components.settings import ComponentsConfig
from evonas.config import CertificateConfig, presets
from evonas.config.section import NamedSection, load_as
from evonas.errors import InputError
from evonas.studies.hypernet.settings import HypernetStudyConfig
from evonas.studies.sparsity.study import SparsityStudyConfig
from evonas.studies.stability.study import StabilityStudyConfig
from evonas.studies.steering.study import SteeringStudyConfig

ROOT = Path(__file__).parents[2]
SEARCHES = sorted((ROOT / "search_spaces").glob("*.toml"))
STUDIES = sorted((ROOT / "studies").glob("*.toml"))
MODELS: dict[str, type[NamedSection]] = {
    "certificate": CertificateConfig,
    "components": ComponentsConfig,
    "hypernet": HypernetStudyConfig,
    "stability": StabilityStudyConfig,
    "steering": SteeringStudyConfig,
    "sparsity": SparsityStudyConfig,
}


def test_every_file_of_both_folders_has_one_name() -> None:
    assert [preset.path for preset in presets.presets()] == [*SEARCHES, *STUDIES]
    assert [preset.name for preset in presets.presets()] == [path.stem for path in (*SEARCHES, *STUDIES)]


@pytest.mark.parametrize("preset", presets.presets(), ids=lambda preset: preset.name)
def test_a_name_gives_what_the_path_gives_to_the_verb_of_its_kind(preset: presets.Preset) -> None:
    if preset.kind == "search":
        assert config.load_search(preset.name) == config.load_search(preset.path)
    elif preset.kind == "comparison":
        assert config.load_comparison(preset.name) == config.load_comparison(preset.path)
    else:
        model = MODELS[preset.kind]
        assert load_as(model, preset.name) == load_as(model, preset.path)
        assert model.file_kind == preset.kind


@pytest.mark.parametrize("preset", presets.presets(), ids=lambda preset: preset.name)
def test_the_first_line_of_a_file_is_a_sentence_about_it(preset: presets.Preset) -> None:
    assert preset.path.read_text().startswith(f"# {preset.description}\n")
    assert preset.description[0].isupper()
    assert preset.description[-1] in ".?"
    assert len(preset.description) <= 118


def test_a_search_will_do_for_a_comparison() -> None:
    assert config.load_comparison("tiny") == config.load_comparison(ROOT / "search_spaces" / "tiny.toml")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evonorm-s", ("evonorm-s: no such file", "cifar_b", "transformer", "did you mean 'evonorm_s'?")),
        ("search_spaces/evonorm_z.toml", ("did you mean 'evonorm_",)),
        ("nothing", ("nothing: no such file", "a .toml file", "cifar_b")),
        ("qk_layernorm", ("is a stability study, not a search", "run it with: evonas stability qk_layernorm")),
        ("matrix", ("is a comparison of layers, not a search", "evonas evaluate LAYER... --settings matrix")),
    ],
)
def test_an_unknown_name_is_refused_with_what_may_be_meant(
    name: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        config.load_search(name)
    assert [word for word in words if word not in str(refused.value)] == []


def test_a_study_of_another_kind_is_refused_with_its_command() -> None:
    with pytest.raises(
        InputError, match=r"^mip_digits: is a hypernetwork study, not a stability study; .*hypernet mip"
    ):
        load_as(StabilityStudyConfig, "mip_digits")


def test_files_beside_a_missing_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").touch()
    with pytest.raises(InputError, match=r"mien\.toml: no such file; .* holds mine\.toml$"):
        config.load_search(tmp_path / "mien.toml")


def test_a_file_wins_over_a_name_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evonorm_s").mkdir()
    assert config.load_search("evonorm_s") == config.load_search(ROOT / "search_spaces" / "evonorm_s.toml")
    shutil.copy(ROOT / "search_spaces" / "tiny.toml", "evonorm_b")
    assert config.load_search("evonorm_b").name == "tiny"


def test_errors_in_a_file_name_what_was_typed() -> None:
    with pytest.raises(InputError, match=r"^tiny: evolution\.windov: unknown key"):
        config.load_search("tiny", ["evolution.windov=3"])


def test_an_installed_package_finds_its_own_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("search_spaces", "studies"):
        shutil.copytree(ROOT / folder, tmp_path / "presets" / folder)
    monkeypatch.setattr(presets, "PACKAGED", tmp_path / "presets")
    assert presets.find_file("tiny", "search") == tmp_path / "presets" / "search_spaces" / "tiny.toml"
    assert presets.find_file("matrix", "comparison") == tmp_path / "presets" / "studies" / "matrix.toml"
    assert {preset.path.parents[2] for preset in presets.presets()} == {tmp_path}
