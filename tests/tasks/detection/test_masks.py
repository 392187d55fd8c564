"""Oracles: masks drawn pixel by pixel, runs counted by hand, faster-coco-eval's encoder for the compressed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evonas.tasks.detection.masks import expanded, mask_of_polygons, mask_of_runs

tools = pytest.importorskip("faster_coco_eval.core.mask", reason="pip install 'evonas[detection]'")


def test_runs_go_down_the_columns_and_begin_outside() -> None:
    expected = np.array([[0, 1, 1], [0, 1, 0]], bool)  # columns: 00, 11, 10
    assert np.array_equal(mask_of_runs([2, 3, 1], 2, 3), expected)
    assert np.array_equal(mask_of_runs([0, 6], 2, 3), np.ones((2, 3), bool))
    assert not mask_of_runs([6], 2, 3).any()


@pytest.mark.parametrize("lengths", [[], [5], [7], [2, -3, 7], [6, 1]])
def test_runs_must_cover_the_image(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="does not cover 6 pixels"):
        mask_of_runs(lengths, 2, 3)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_compressed_runs_are_those_that_were_compressed(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    text = tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    text = text.decode() if isinstance(text, bytes) else text
    assert np.array_equal(mask_of_runs(expanded(text), height, width), mask)


def test_long_runs_take_several_characters() -> None:
    mask = np.zeros((500, 700), bool)
    mask[100:450, 30:690] = True
    text = tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    text = text.decode() if isinstance(text, bytes) else text
    assert np.array_equal(mask_of_runs(expanded(text), 500, 700), mask)


@pytest.mark.parametrize("text", ["o", "1 2", "\x7f", "é"])
def test_text_that_is_no_compressed_runs_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ends within a number|has the character"):
        expanded(text)


def test_polygons_enclose_what_any_of_them_encloses() -> None:
    expected = np.zeros((12, 20), bool)
    expected[2:6, 3:9], expected[7:10, 12:18] = True, True
    one, two = [3, 2, 9, 2, 9, 6, 3, 6], [12, 7, 18, 7, 18, 10, 12, 10]
    assert np.array_equal(mask_of_polygons([one, two], 12, 20), expected)
    assert np.array_equal(mask_of_polygons([one, [1, 1, 2, 2], two, []], 12, 20), expected)


def test_polygons_without_an_area_enclose_nothing() -> None:
    assert not mask_of_polygons([], 5, 5).any()
    assert not mask_of_polygons([[1, 1, 2, 2]], 5, 5).any()
    assert mask_of_polygons([[1, 1, 2, 2]], 5, 7).shape == (5, 7)


def test_polygons_that_reach_over_the_border_are_cut() -> None:
    assert mask_of_polygons([[-3, -3, 9, -3, 9, 8, -3, 8]], 5, 6).all()


@pytest.mark.parametrize(
    ("polygon", "complaint"),
    [([1, 1, 2, 2, 3], "odd"), ([1, 1, 2, 2, 1e9, 3], "far outside"), ([-100, 1, 2, 2, 4, 3], "far outside")],
)
def test_polygons_that_cannot_be_are_refused(polygon: list[float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        mask_of_polygons([polygon], 5, 6)
