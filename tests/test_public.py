"""The public names against the list that docs and users rely on; every one has a docstring or is data.

The README's Python example is run as it stands there.
"""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import evonas

README = Path(__file__).parents[1] / "README.md"
NAMES = {
    *("CATALOGUE", "Genome", "Node", "SearchSpace", "mutate", "NormActLayer", "lower", "export"),
    *("create_layer", "norm_act", "replace_norms", "save_model", "load_model"),
    *("Network", "export_layer", "export_network"),
    *("NormActSite", "norm_act_sites", "replace_norm_act", "replace_modules", "SurgeryWarning", "recalibrate"),
    *("StopReason", "Trace", "fit", "Task", "Evaluator", "keep_memory"),
    *("Candidate", "Evaluation", "Rejection", "Search", "Screens", "Archive", "InputError", "config"),
    *("Run", "open_run", "run_search"),
    *("Primitive", "PrintedForm", "IndexSet", "Objective", "MeasurementContext", "Protocol", "load_extensions"),
    *("register_primitive", "register_index_set", "register_objective", "register_protocol"),
}


def test_the_package_gives_exactly_the_public_names() -> None:
    assert set(evonas.__all__) == NAMES == set(dir(evonas))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_public_name_and_its_public_members_say_what_they_are(name: str) -> None:
    value = getattr(evonas, name)
    if name == "CATALOGUE":
        return
    assert inspect.getdoc(value)
    for member, function in vars(value).items() if inspect.isclass(value) else ():
        if inspect.isfunction(function) and not member.startswith("_"):
            assert inspect.getdoc(function), f"{name}.{member}"


def test_the_readme_example_runs() -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    example = next(re.finditer(r"```python\n(.*?)```", README.read_text(), re.S))[1]
    space: dict[str, Any] = {}
    exec(compile(example, str(README), "exec"), space)  # our own text
    assert space["layer"].num_features == 64
    layers = [m for m in space["model"].modules() if isinstance(m, evonas.NormActLayer)]
    assert len(layers) == 9  # the pairs of a norm and an activation in ResNet-18
