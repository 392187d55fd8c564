"""``[execution]``: what a verb does not read it refuses, in one line that says what it does read."""

from pathlib import Path

import pytest

from evonas import config
from evonas.config import section
from evonas.config.section import Section
from evonas.errors import InputError
from evonas.studies.hypernet.settings import HypernetStudyConfig as HypernetStudy
from evonas.studies.sparsity.study import SparsityStudyConfig as SparsityStudy
from evonas.studies.stability.study import StabilityStudyConfig as StabilityStudy
from evonas.studies.steering.study import SteeringStudyConfig as SteeringStudy

ROOT = Path(__file__).parents[2]
STUDIES: list[tuple[str, type[Section]]] = [
    ("mip_digits", HypernetStudy),
    ("qk_layernorm", StabilityStudy),
    ("steer_digits", SteeringStudy),
]


@pytest.mark.parametrize(("name", "kind"), STUDIES)
@pytest.mark.parametrize("override", ["execution.compile=always", "execution.cache=scores.sqlite"])
def test_studies_refuse_what_only_searches_read(name: str, kind: type[Section], override: str) -> None:
    file = ROOT / "studies" / f"{name}.toml"
    with pytest.raises(InputError) as caught:
        section.load_as(kind, file, [override])
    key = override.partition("=")[0]
    accepted = "workers, threads, device, timeout_seconds, executor, ray"
    assert str(caught.value) == f"{file}: {key}: unknown key; accepted: {accepted}"
    assert "\n" not in str(caught.value)


def test_searches_read_them() -> None:
    settings = config.load_search(
        ROOT / "search_spaces" / "tiny.toml", ["execution.compile=always", "execution.cache=a.db"]
    )
    assert (settings.execution.compile, settings.execution.cache) == ("always", "a.db")


KEPT = sorted((ROOT / "runs" / "kept").rglob("config.toml"))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_kept_configurations_can_be_run_again(file: Path) -> None:
    """Of one kind or another: a file that is none of them raises what is wrong with it as a search."""
    for kind in (*(kind for _, kind in STUDIES), SparsityStudy, config.SearchConfig):
        try:
            section.load_as(kind, file)
        except InputError as error:
            last = error
        else:
            return
    raise last
