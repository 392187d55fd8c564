"""Oracle: TensorBoard's own reader of event files, and Pillow for the pictures in them."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from evonas.report.board import Board
from evonas.report.pictures import draw_progress, to_array


@pytest.fixture(scope="module")
def figure() -> Figure:
    return draw_progress([0.2, None, 0.4], baselines={"bn-relu": 0.3}, label="accuracy")


def _read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def test_a_board_accepts_everything(tmp_path: Path, figure: Figure) -> None:
    board = Board(tmp_path / "new" / "run")
    board.scalar("loss", 0.5, 1)
    board.scalar("loss", np.float32(0.5), 2)
    board.scalars({"a": 1.0, "b": 2.0}, 3)
    board.scalars({}, 4)
    board.text("note", "**bold**", 1)
    board.figure("progress", figure, 1)
    board.hparams({"seed": 1, "raw": True, "rate": 0.1, "space": "bchw"}, {"best": 0.7})
    board.flush()
    assert list((tmp_path / "new" / "run").iterdir())


def test_scalars_read_back(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        for step in range(3):
            board.scalar("one", step / 4, step)
            board.scalars({"group/two": step / 2, "group/three": -1.0}, step)
    events = _read(tmp_path)
    assert sorted(events.Tags()["scalars"]) == ["group/three", "group/two", "one"]
    assert [(e.step, e.value) for e in events.Scalars("group/two")] == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_texts_read_back(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        board.text("layer", "`mul(x, v1)` and **µ**", 7)
    (event,) = _read(tmp_path).Tensors("layer/text_summary")
    assert event.step == 7
    assert event.tensor_proto.string_val[0].decode() == "`mul(x, v1)` and **µ**"


def test_pictures_read_back_pixel_by_pixel(tmp_path: Path, figure: Figure) -> None:
    with Board(tmp_path) as board:
        board.figure("search/progress", figure, 5)
    (event,) = _read(tmp_path).Images("search/progress")
    assert event.step == 5
    with Image.open(io.BytesIO(event.encoded_image_string)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), to_array(figure))


def test_hyperparameters_stay_in_the_same_run_with_their_metrics(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        board.hparams({"seed": 3, "space": "bchw"}, {"final/best": 0.75})
    assert all(path.is_file() for path in tmp_path.iterdir())
    events = _read(tmp_path)
    assert set(events.PluginTagToContent("hparams")) >= {"_hparams_/experiment", "_hparams_/session_start_info"}
    assert [e.value for e in events.Scalars("final/best")] == [0.75]


@pytest.mark.parametrize("opened", [0, 9])  # before: files of one second are numbered, and 10 is read before 9
def test_a_resumed_run_replaces_what_was_logged_from_its_first_step_on(
    opened: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(opened))
    with Board(tmp_path) as board:
        for step in range(6):
            board.scalar("loss", 1.0, step)
    with Board(tmp_path, purge_step=3) as board:
        for step in range(3, 5):
            board.scalar("loss", 2.0, step)
    values = [(e.step, e.value) for e in _read(tmp_path).Scalars("loss")]
    assert values == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_flushed_events_are_on_disk_before_the_board_closes(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.scalar("loss", 0.25, 0)
    board.flush()
    assert [e.value for e in _read(tmp_path).Scalars("loss")] == [0.25]
    board.close()


def test_a_board_closes_when_its_block_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with Board(tmp_path) as board:
            board.scalar("loss", 0.5, 0)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [e.value for e in _read(tmp_path).Scalars("loss")] == [0.5]


def test_logging_draws_from_no_random_generator(tmp_path: Path, figure: Figure) -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with Board(tmp_path) as board:
        board.figure("progress", figure, 0)
        board.hparams({"seed": 1}, {"best": 0.5})
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
