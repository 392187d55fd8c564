"""The gallery and the animation. Oracles: the list of the script for the page; an archive that is written here."""

import re
import runpy
from pathlib import Path

import pytest
from command import SCRIPTS, status_of_script
from PIL import Image

from evonas import config
from evonas.graph.genome import Genome
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate, Evaluation, Proposal, Rejection
from evonas.search.start import create_run

ROOT = SCRIPTS.parent
LAYERS = ("tanh(x)", "neg(x)", "a = sigmoid(x); mul(a, x)", "abs(x)")
SCORES = (0.5, None, 0.7, 0.6)


@pytest.fixture(scope="module")
def gallery() -> dict[str, object]:
    return runpy.run_path(str(SCRIPTS / "draw_gallery.py"))


def test_every_picture_of_the_page_is_one_that_the_script_makes(gallery: dict[str, object]) -> None:
    page = ROOT / "docs" / "gallery.md"
    text = page.read_text(encoding="utf-8")
    assert text == gallery["page"]()  # type: ignore[operator]
    linked = {(page.parent / link).resolve() for link in re.findall(r"!\[.*?\]\((.*?)\)", text)}
    made = {picture.file for kind in ("LAYERS", "KEPT") for picture in gallery[kind]}  # type: ignore[attr-defined]
    assert linked == made | {ROOT / "docs" / "evolution.gif"}
    assert {file.name for file in gallery["FOLDER"].iterdir()} == {p.file.name for p in gallery["LAYERS"]}  # type: ignore[attr-defined]
    assert sum(file.stat().st_size for file in linked) < 1_500_000
    assert (ROOT / "docs" / "evolution.gif").stat().st_size < 400_000


@pytest.mark.slow
def test_its_pictures_of_kept_results_follow_from_their_numbers(gallery: dict[str, object]) -> None:
    kept = runpy.run_path(str(SCRIPTS / "redraw_kept.py"))
    for picture in gallery["KEPT"]:  # type: ignore[attr-defined]
        assert picture.file.stem in kept["pictures"](picture.file.parent), picture.source


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    settings = config.load_search(ROOT / "search_spaces" / "tiny.toml")
    run = create_run(tmp_path / "run", settings)
    with Archive.open(run.archive_file) as archive:
        archive.record_baseline("gn-relu", Evaluation("", 1, objectives={"images": 0.55}))
        for index, (text, score) in enumerate(zip(LAYERS, SCORES, strict=True)):
            genome = Genome.from_text(text)
            failed = None if score is not None else Rejection("quality", "poor")
            scores = {} if score is None else {"images": score}
            evaluation = Evaluation(genome.key, 1, 10, 1.0, scores, rejection=failed)
            archive.record(Candidate(index, Proposal(genome, None, "random"), str(index)), evaluation)
    return run.path


def test_an_animation_has_a_frame_for_every_best_layer_and_ends_with_all(searched: Path, tmp_path: Path) -> None:
    file = tmp_path / "search.gif"
    script = runpy.run_path(str(SCRIPTS / "animate_search.py"))
    story = script["read"](searched)
    assert [story.best(count) for count in range(5)] == [None, 0, 0, 2, 2]
    assert story.frames() == [1, 2, 3, 4]
    assert script["front_of"]([(5, 0.4), (5, 0.6), (7, 0.5), (8, 0.7)]) == [(5, 0.6), (8, 0.7)]
    assert status_of_script("animate_search.py", searched, file) == 0
    with Image.open(file) as animation:
        assert animation.n_frames == 4  # type: ignore[attr-defined]
        times = [animation.seek(place) or animation.info["duration"] for place in range(4)]
    assert times == [script["LONG"], script["SHORT"], script["LONG"], script["LAST"]]


def test_an_animation_of_another_kind_is_refused(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of_script("animate_search.py", searched, tmp_path / "search.mp4") == 2
    assert "accepted: a file that ends in .gif or .webp" in capsys.readouterr().err
    assert not (tmp_path / "search.mp4").exists()
