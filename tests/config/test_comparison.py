"""What ``evonas evaluate`` reads of a file.

Oracles: a search read as a search, of which all that is read is equal; refusals in one line that name file or option,
and key.
"""

from pathlib import Path

import pytest

from evonas import config
from evonas.config import SearchConfig, load_comparison, section
from evonas.config.comparison import UNREAD
from evonas.errors import InputError

ROOT = Path(__file__).parents[2]
TINY = ROOT / "search_spaces" / "tiny.toml"
OWN = 'name = "own"\n[training]\nsteps = 7\n[[tasks]]\narchitecture = "preact_resnet"\n'
READ = [name for name in SearchConfig.model_fields if name not in UNREAD]
SETTINGS = {  # of each table that a comparison does not read, something that is not the default
    "space": "causal = false",
    "protocols": "screens = []",
    "rungs": "steps = [2]",
    "objectives": "parameters = true",
    "racing": "every = 5",
    "evolution": "window = 3",
    "budget": "minutes = 1",
    "rerank": "top = 3",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return path


FULL = sorted((ROOT / "studies" / "full").glob("*.toml"))


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_comparison(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").glob("*.toml")), ids=lambda path: path.stem)
def test_of_a_search_all_that_is_trained_is_read_and_the_rest_said(path: Path) -> None:
    search, found = config.load_search(path), load_comparison(path)
    assert {name: getattr(found.config, name) for name in READ} == {name: getattr(search, name) for name in READ}
    plain = SearchConfig(name="a", tasks=search.tasks)
    assert all(getattr(found.config, name) == getattr(plain, name) for name in UNREAD)
    assert found.unread == tuple(
        name for name in SearchConfig.model_fields if name in UNREAD and getattr(search, name) != getattr(plain, name)
    )
    assert found.unread


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_recipes_of_full_size_say_first_what_was_run(path: Path) -> None:
    found = load_comparison(path)
    assert found.config.training.autocast
    assert found.config.execution.device == "cuda"
    head = path.read_text().partition("name =")[0]
    assert "# Not run: " in head
    assert f"--settings {path.relative_to(ROOT)}" in head


@pytest.mark.parametrize("name", ["held_out", "cifar_held_out", "matrix"])
def test_files_of_comparisons_are_read_whole(name: str) -> None:
    path = ROOT / "studies" / f"{name}.toml"
    assert load_comparison(path) == config.ComparisonSettings(config.load_search(path))


def test_what_a_comparison_was_made_with_can_be_given_again(file: Path) -> None:
    made = load_comparison(TINY).config
    file.write_text(section.dump(made))
    assert load_comparison(file) == config.ComparisonSettings(made)


@pytest.mark.parametrize("table", UNREAD)
def test_what_is_not_read_is_refused_unless_the_file_is_a_search(file: Path, table: str) -> None:
    file.write_text(OWN + f"[{table}]\n{SETTINGS[table]}\n")
    if table in {"space", "evolution", "budget"}:
        assert load_comparison(file).unread == (table,)
    else:
        assert refusal(file).startswith(
            f"{file}: {table}: evonas evaluate does not read it; accepted: {', '.join(READ)}"
        )
    file.write_text(OWN)
    override = f"{table}.{SETTINGS[table].replace(' ', '')}"
    for path in (file, TINY, None):
        assert refusal(path, override).startswith(f"--set {override}: evonas evaluate does not read it")


def test_no_cache_is_read(file: Path) -> None:
    file.write_text(OWN + '[execution]\ncache = "scores.sqlite"\nworkers = 2\n')
    assert refusal(file).startswith(f"{file}: execution.cache: evonas evaluate does not read it")
    assert refusal(TINY, "execution.cache=scores.sqlite").startswith("--set execution.cache=scores.sqlite: ")
    file.write_text(file.read_text() + "[budget]\nminutes = 1\n")
    found = load_comparison(file)
    assert found.unread == ("budget", "execution.cache")
    assert (found.config.execution.cache, found.config.execution.workers) == ("", 2)


def test_faults_of_what_is_not_read_are_faults_of_the_file(file: Path) -> None:
    file.write_text(OWN + "[evolution]\nwindw = 3\n")
    assert refusal(file).startswith(f"{file}: evolution.windw: unknown key")
    file.write_text(OWN + "[rungs]\nsteps = [9]\n")
    assert refusal(file).startswith(f"{file}: rungs.steps: [9]; accepted: ascending numbers below training.steps, 7")


def test_a_comparison_may_be_shorter_than_the_rungs_of_the_search(file: Path) -> None:
    file.write_text(OWN + "[rungs]\nsteps = [5]\n[budget]\nminutes = 1\n")
    assert load_comparison(file, ["training.steps=3"]).config.training.steps == 3


def test_without_a_file_there_are_settings_of_desk_size() -> None:
    found = load_comparison(None, ["training.steps=3"])
    assert (found.unread, found.config.training.steps, found.config.layer.groups) == ((), 3, 4)
    assert load_comparison(None).config.training.steps == 100  # what was set before is forgotten
