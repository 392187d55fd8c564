"""What options set in a file of settings. Oracle: the TOML reader of Python."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from evonas.cli.app import changes_of

VALUES = st.none() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.lists(st.sampled_from(["seed=3", "data.name=npz"])), st.dictionaries(st.sampled_from("abcd"), VALUES))
def test_options_that_are_given_follow_the_overrides_as_toml(overrides: list[str], options: dict[str, object]) -> None:
    changes = changes_of(overrides, options)  # type: ignore[arg-type]
    assert changes[: len(overrides)] == overrides
    expected = {key: value for key, value in options.items() if value is not None}
    assert tomllib.loads("\n".join(changes[len(overrides) :])) == expected
    assert changes_of(None, dict.fromkeys(options)) == []
