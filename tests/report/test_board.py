"""Oracle: TensorBoard's own reader of event files, and Pillow for the pictures in them."""

import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer import event_file_writer

from evonas.report.board import Columns, TensorBoard
from evonas.report.pictures import draw_progress, to_array


@pytest.fixture(scope="module")
def figure() -> Figure:
    return draw_progress([0.2, None, 0.4], baselines={"bn-relu": 0.3}, label="accuracy")


def _read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def test_a_board_accepts_everything(tmp_path: Path, figure: Figure) -> None:
    board = TensorBoard(tmp_path / "new" / "run")
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
    with TensorBoard(tmp_path) as board:
        for step in range(3):
            board.scalar("one", step / 4, step)
            board.scalars({"group/two": step / 2, "group/three": -1.0}, step)
    events = _read(tmp_path)
    assert sorted(events.Tags()["scalars"]) == ["group/three", "group/two", "one"]
    assert [(e.step, e.value) for e in events.Scalars("group/two")] == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_texts_read_back(tmp_path: Path) -> None:
    with TensorBoard(tmp_path) as board:
        board.text("layer", "`mul(x, v1)` and **µ**", 7)
    (event,) = _read(tmp_path).Tensors("layer/text_summary")
    assert event.step == 7
    assert event.tensor_proto.string_val[0].decode() == "`mul(x, v1)` and **µ**"


def test_pictures_read_back_pixel_by_pixel(tmp_path: Path, figure: Figure) -> None:
    with TensorBoard(tmp_path) as board:
        board.figure("search/progress", figure, 5)
    (event,) = _read(tmp_path).Images("search/progress")
    assert event.step == 5
    with Image.open(io.BytesIO(event.encoded_image_string)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), to_array(figure))


def test_hyperparameters_stay_in_the_same_run_with_their_metrics(tmp_path: Path) -> None:
    with TensorBoard(tmp_path) as board:
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
    with TensorBoard(tmp_path) as board:
        for step in range(6):
            board.scalar("loss", 1.0, step)
    with TensorBoard(tmp_path, purge_step=3) as board:
        for step in range(3, 5):
            board.scalar("loss", 2.0, step)
    values = [(e.step, e.value) for e in _read(tmp_path).Scalars("loss")]
    assert values == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_a_part_is_a_run_of_its_own_below_and_drops_what_the_whole_drops(tmp_path: Path) -> None:
    for purge_step, value in ((None, 1.0), (2, 2.0)):
        with TensorBoard(tmp_path / "run", purge_step=purge_step) as board:
            assert board.resumes == (purge_step is not None)
            with board.part("mean") as part, board.part("cost", own_steps=True) as cost:
                for step in range(purge_step or 0, 3):
                    part.scalar("score", value, step)
                cost.scalar("score", value, 100 + (purge_step or 0))
    assert [(e.step, e.value) for e in _read(tmp_path / "run" / "mean").Scalars("score")] == [(0, 1), (1, 1), (2, 2)]
    assert [(e.step, e.value) for e in _read(tmp_path / "run" / "cost").Scalars("score")] == [(100, 1), (102, 2)]
    with TensorBoard(tmp_path / "run") as board, board.fresh_part("mean") as part:
        part.scalar("score", 3.0, 0)
    assert [(e.step, e.value) for e in _read(tmp_path / "run" / "mean").Scalars("score")] == [(0, 3)]


def test_charts_name_the_tags_of_their_lines_and_nothing_else(tmp_path: Path) -> None:
    """Oracle: TensorBoard's own reader of layouts, and ``re`` as its plug-in calls it."""
    with TensorBoard(tmp_path) as board:
        board.charts({"Scores": {"mean": ["objective/mean", "objective/mean.best"]}, "Funnel": {"all": ["stage/*"]}})
    (event,) = _read(tmp_path).Tensors("custom_scalars__config__")
    found = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert [(c.title, [chart.title for chart in c.chart]) for c in found.category] == [
        ("Scores", ["mean"]),
        ("Funnel", ["all"]),
    ]
    patterns = [tag for category in found.category for chart in category.chart for tag in chart.multiline.tag]
    tags = ("objective/mean", "objective/mean.best", "objective/mean-best", "objective/mean/x", "stage/a", "a/stage/a")
    matched = [[tag for tag in tags if re.match(pattern, tag)] for pattern in patterns]
    assert matched == [["objective/mean"], ["objective/mean.best"], ["stage/a"]]


def test_every_session_names_the_columns_of_all(tmp_path: Path) -> None:
    """TensorBoard takes the columns of its table from any one session."""
    columns = Columns({"rank": 0, "formula": ""}, ["score", "other"])
    with TensorBoard(tmp_path) as board:
        board.hparams({"formula": "x"}, {"score": 0.5}, curves=["score"], columns=columns)
    contents = _read(tmp_path).PluginTagToContent("hparams")
    experiment = HParamsPluginData.FromString(contents["_hparams_/experiment"]).experiment
    assert [info.name for info in experiment.hparam_infos] == ["rank", "formula"]
    assert [info.name.tag for info in experiment.metric_infos] == ["score", "other"]
    started = HParamsPluginData.FromString(contents["_hparams_/session_start_info"]).session_start_info
    assert list(started.hparams) == ["formula"]
    assert not _read(tmp_path).Tags()["scalars"]  # the metric is the end of a curve that others write


def test_a_histogram_holds_every_value(tmp_path: Path) -> None:
    with TensorBoard(tmp_path) as board:
        board.histogram("scores", [0.1, 0.2, 0.2, 0.9], 3)
    (event,) = EventAccumulator(str(tmp_path)).Reload().Histograms("scores")
    assert (event.step, event.histogram_value.num) == (3, 4)
    assert event.histogram_value.max == pytest.approx(0.9)


def test_a_histogram_of_scores_that_differ_in_their_last_bits(tmp_path: Path) -> None:
    with TensorBoard(tmp_path) as board:
        board.histogram("scores", [0.5] * 50 + [0.5 + 2e-16], 3)  # numpy refuses bins that narrow
    (event,) = _read(tmp_path).Histograms("scores")
    assert event.histogram_value.num == 51


def test_flushed_events_are_on_disk_before_the_board_closes(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalar("loss", 0.25, 0)
    board.flush()
    assert [e.value for e in _read(tmp_path).Scalars("loss")] == [0.25]
    board.close()


def test_a_board_closes_when_its_block_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with TensorBoard(tmp_path) as board:
            board.scalar("loss", 0.5, 0)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [e.value for e in _read(tmp_path).Scalars("loss")] == [0.5]


def test_logging_draws_from_no_random_generator(tmp_path: Path, figure: Figure) -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with TensorBoard(tmp_path) as board:
        board.figure("progress", figure, 0)
        board.hparams({"seed": 1}, {"best": 0.5})
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
