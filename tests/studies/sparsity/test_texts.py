"""Oracle: passages searched for in the texts themselves, which here are their own tokens (one for each character)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.sparsity.texts import PASSAGE, calibration_windows, scored_windows, text_name


def encode(text: str) -> Tensor:
    return torch.tensor([ord(letter) for letter in text])


def text_of(rows: Tensor) -> list[str]:
    return ["".join(map(chr, row)) for row in rows.tolist()]


def letters(start: int, count: int) -> str:
    """A text in which no passage comes twice."""
    return "".join(chr(start + number) for number in range(count))


def test_of_the_default_text_no_passage_is_scored_and_calibrates() -> None:
    scored = scored_windows("topics", encode, 128, 4000)
    calibration = calibration_windows("topics", encode, 128, 1000, [scored])
    assert scored.rows.shape == (31, 128)
    assert calibration.rows.shape == (7, 128)
    whole = "\n".join(text_of(scored.rows))
    for window in text_of(calibration.rows):
        assert not any(window[start : start + PASSAGE] in whole for start in range(128 - PASSAGE + 1))


def test_a_file_is_scored_as_a_whole_in_windows_spread_over_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(letters(5000, 101))
    found = scored_windows(str(tmp_path / "a.txt"), encode, 10, 50)
    assert found.name == text_name(str(tmp_path / "a.txt")) == "a.txt"
    assert found.rows[:, 0].tolist() == [5000, 5020, 5040, 5060, 5080]
    assert scored_windows(str(tmp_path / "a.txt"), encode, 10, 5).rows.shape == (1, 10)
    assert scored_windows(str(tmp_path / "a.txt"), encode, 10, 9999).rows.shape == (10, 10)


def test_calibration_leaves_out_what_is_scored(tmp_path: Path) -> None:
    """The second half of one text is scored; windows of the other that reach into it do not calibrate."""
    (tmp_path / "scored.txt").write_text(letters(6000, 1000))
    (tmp_path / "other.txt").write_text(letters(5000, 2000))
    scored = scored_windows(str(tmp_path / "scored.txt"), encode, 100, 2000)
    found = calibration_windows(str(tmp_path / "other.txt"), encode, 100, 2000, [scored])
    assert found.rows.max() < 6000 + PASSAGE
    assert found.rows.shape == (10, 100)


def test_what_is_scored_cannot_calibrate(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(letters(5000, 500))
    scored = scored_windows(str(tmp_path / "a.txt"), encode, 100, 9999)
    with pytest.raises(InputError, match=r"calibration a\.txt: all of it is among what is scored; calibrate on"):
        calibration_windows(str(tmp_path / "a.txt"), encode, 100, 100, [scored])


def test_digests_tell_contents_and_shapes_apart(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(letters(5000, 121))
    (tmp_path / "b.txt").write_text(letters(5000, 120) + "x")
    a, b = (str(tmp_path / name) for name in ("a.txt", "b.txt"))
    digests = [scored_windows(*each).digest for each in ((a, encode, 10, 120), (a, encode, 20, 120))]
    assert len(set(digests)) == 2
    assert scored_windows(b, encode, 10, 120).digest == digests[0]  # the last letter is in no window


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "no such file"),
        ("short.txt", b"too short", "9 tokens, and windows of 10; give a longer text, or a smaller context"),
        ("empty.txt", b"", "0 tokens"),
        ("latin.txt", b"\xe9" * 100, "is not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_used_is_one_line(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        scored_windows(str(tmp_path / name), encode, 10, 50)
    assert said in str(caught.value)
    assert name in str(caught.value)


def test_the_novels_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"text austen:.*apt-get download"):
        scored_windows(f"austen:{tmp_path / 'none'}", encode, 10, 50)
