"""Settings of strangers. Oracle: what is let through can be written and read back; all else is one line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evonas import config
from evonas.config import SearchConfig, section
from evonas.errors import InputError
from evonas.studies.hypernet.settings import HypernetStudyConfig
from evonas.studies.stability.study import StabilityStudyConfig

ROOT = Path(__file__).parents[2]
TINY = ROOT / "search_spaces" / "tiny.toml"
KEYS = (
    "seed",
    "name",
    "tasks.0.name",
    "tasks.0.depth.0",
    "tasks.1",
    "baselines.0",
    "training.learning_rates",
    "a.b",
    "",
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("baselines.0.x=1", "baselines.0 is a value, not a section"),
        ("tasks.0.depth.0.x=1", "tasks.0.depth.0 is a value, not a section"),
        ("tasks.٣.name=a", "no item '٣'; accepted: 0 to 1"),
        (f"tasks.{'9' * 5000}.name=a", "no item"),
        (f"{'a.' * 40}b=1", "cannot be read"),
        (f"seed={'9' * 5000}", "accepted: an integer"),
        ("seed=9223372036854775808", "seed: is a number of 64 bits"),
        ("seed=4611686018427387904", "less than 4.61169e+18"),
        ("training.steps=9223372036854775807", "less than or equal to 2.14748e+09"),
        ("training.learning_rate=nan", "training.learning_rate: nan; accepted: a finite number"),
        (f"name={'[' * 100_000}", "name: '[["),
        (f"name={'a' * 300}", "at most 200 characters"),
        ('data.path="a\\u0000b"', "data.path: holds a NUL"),
        ('tasks.0.name="[/x]"', "tasks.0.name: '[/x]'; accepted: a string of the pattern"),
        ("tasks.0.architecture='timm:[/x]'", "tasks.0.architecture"),
        ('tasks=[{task=".:x"}]', "tasks.0.task: '.:x'"),
        ("x\x1b[31m=1", "x\\x1b[31m"),
    ],
)
def test_a_hostile_change_is_one_line(change: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        config.load_search(TINY, [change])
    message = str(error.value)
    assert message.isprintable()
    assert len(message) < 2500
    assert words in message


@given(st.sampled_from(KEYS), st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
def test_any_change_is_taken_or_one_line(key: str, value: str) -> None:
    message = ""
    try:
        found = config.load_search(TINY, [f"{key}={value}"])
        assert section.parse_section(SearchConfig, section.parse_toml(section.dump(found), ""), "") == found
    except InputError as error:
        message = str(error)
    assert message.isprintable()


def test_a_number_that_is_none_in_an_open_table_is_refused() -> None:
    text = 'name = "a"\n[[interventions]]\nname = "b"\nrun = { z_loss = nan }\n'
    with pytest.raises(InputError, match=r"interventions.0.run.z_loss: nan; accepted: a finite number"):
        section.loads_as(StabilityStudyConfig, text)


def test_sizes_beyond_any_network_are_refused() -> None:
    text = 'name = "a"\n[task]\nname = "registration"\nwidth = 9223372036854775807\n'
    with pytest.raises(InputError, match=r"task.width: 9223372036854775807; accepted: less than or equal to"):
        section.loads_as(HypernetStudyConfig, text)


@pytest.mark.parametrize("name", ["preact_resnet", "ResNet (wide), 2x", "seq. 96", "größe", "a/b:c+d"])
def test_tasks_may_be_called_what_people_call_them(name: str) -> None:
    assert config.load_search(TINY, [section.override_text("tasks.0.name", name)]).tasks[0].label == name
