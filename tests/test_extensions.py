"""How modules of users are found. Oracles: modules and packages written here, and what they registered."""

from pathlib import Path

import pytest

from evonas import config
from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.extensions import EXTENSIONS, load_extensions, source_files
from evonas.search.cached import context_of
from evonas.search.objectives import OBJECTIVES

MODULE = """
import evonas


def one(subject):
    return 1.0


evonas.register_objective(evonas.Objective("{name}", 1.0, one, "the number one"))
"""
pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture
def module(tmp_path: Path) -> str:
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE.format(name=name))
    return name


def test_a_module_is_loaded_from_the_path_once(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    load_extensions([module])
    load_extensions([module])
    assert list(EXTENSIONS) == [module]
    assert OBJECTIVES[module].measure(None) == 1.0  # type: ignore[arg-type]
    assert source_files(module) == [tmp_path / f"{module}.py"]


def test_a_module_is_loaded_from_the_current_folder(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=rf"extensions: {module}: cannot be imported .*PYTHONPATH"):
        load_extensions([module])
    assert module not in EXTENSIONS
    monkeypatch.chdir(tmp_path)
    load_extensions([module])
    assert module in OBJECTIVES


def test_an_installed_package_is_found_by_its_entry_point(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[evonas.extensions]\nmine = {module}\n")
    load_extensions()
    assert module not in OBJECTIVES
    monkeypatch.syspath_prepend(tmp_path)
    load_extensions()
    assert module in OBJECTIVES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere_to_be_found\n", ["cannot be imported", "nowhere_to_be_found"]),
        ("1 / 0\n", ["cannot be imported", "ZeroDivisionError: division by zero"]),
        ("def\n", ["cannot be imported", "SyntaxError"]),
        (MODULE.format(name="latency"), ["objective 'latency'", "another objective has this name already"]),
        (MODULE.format(name="mine").replace("1.0, one", "2.0, one"), ["objective 'mine'", "weight 2.0"]),
    ],
)
def test_a_module_that_fails_is_named_with_its_reason(
    module: str, text: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as error:
        load_extensions([module])
    assert all(word in str(error.value) for word in [f"extensions: {module}", *words]), error.value
    assert module not in EXTENSIONS


def search(module: str) -> SearchConfig:
    return config.loads(
        'name = "own"\n[[tasks]]\narchitecture = "preact_resnet"\n',
        [f'extensions=["{module}"]', f'objectives.own=["{module}"]'],
    )


def test_what_a_run_may_share_depends_on_the_text_of_its_extensions(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    before = context_of(search(module))
    file = tmp_path / f"{module}.py"
    file.write_text(file.read_text().replace("return 1.0", "return 2.0"))
    assert context_of(search(module)) != before
    file.write_text(MODULE.format(name=module) + "# a remark\n")
    assert context_of(search(module)) == before


def test_a_package_is_known_by_all_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_package_of_three"
    package.mkdir()
    for name in ("__init__", "one", "other"):
        (package / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    load_extensions(["own_package_of_three.one"])
    assert [file.name for file in source_files("own_package_of_three.one")] == ["__init__.py", "one.py", "other.py"]
