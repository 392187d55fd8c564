"""Drawing recorded candidates again. Oracle: what was done to the record before."""

from pathlib import Path

import pytest
from archives import changed, copied, searched

from evonas import config
from evonas.config import SearchConfig
from evonas.graph.genome import Genome
from evonas.runs.folder import RunFolder
from evonas.search import inbox
from evonas.search.archive import Archive
from evonas.search.outcome import Origin
from evonas.search.redraw import Redrawn, redraw
from evonas.search.start import create_run

RACED = ("racing.every=4", "racing.elites=0.5", "evolution.look_ahead=3")
ANOTHER = "UPDATE candidates SET genome = (SELECT genome FROM candidates WHERE id = 3) WHERE id = 8"
ITS_KEY = "UPDATE evaluations SET key = (SELECT key FROM candidates WHERE id = 3) WHERE subject = '8'"
TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A raced search to which two layers were proposed, of which one is screened out."""
    folder = tmp_path_factory.mktemp("redrawn") / "run"
    started = create_run(folder, config.load_search(TINY, ["budget.evaluations=12", *RACED]))
    layers = [Genome.from_formula("x - x"), Genome.from_formula("x * sigmoid(v1 * x) / std[ghw](x)")]
    inbox.put(started.inbox_folder, [(layer, Origin("me")) for layer in layers])
    return searched(folder, 12, *RACED)


def drawn_again(run: RunFolder, latest: int = 1000, settings: SearchConfig | None = None) -> Redrawn:
    with Archive.open(run.archive_file, read_only=True) as archive:
        return redraw(settings or run.config(), archive, latest)


@pytest.mark.parametrize(("latest", "count"), [(1000, 12), (5, 5)])
def test_a_record_is_drawn_again_as_it_is(run: RunFolder, latest: int, count: int) -> None:
    with Archive.open(run.archive_file, read_only=True) as archive:
        assert len(archive.handed_in()) == 2
        assert archive.measurements()
    assert drawn_again(run, latest) == Redrawn(count, "")


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        (f"{ANOTHER}; {ITS_KEY}", "the layer"),
        ("UPDATE candidates SET operator = 'random?' WHERE id = 8", "its parent"),
        ("UPDATE candidates SET fingerprint = 'f' WHERE id = 8", "what its layer computes"),
        ("DELETE FROM rejections WHERE subject = '8/0'", "what was screened out before it"),
    ],
)
def test_the_first_candidate_that_differs_is_named(
    run: RunFolder, tmp_path: Path, statement: str, difference: str
) -> None:
    other = copied(run, tmp_path / "other")
    changed(other, *statement.split("; "))
    assert drawn_again(other).difference == f"candidate 8: {difference} differs"


def test_other_settings_draw_other_candidates(run: RunFolder) -> None:
    other = config.load_search(TINY, [*RACED, "seed=2"])
    assert drawn_again(run, settings=other).difference.startswith("candidate ")
