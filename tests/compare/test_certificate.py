"""Certificates.

Oracles: evaluators that are made up, whose gains follow a law that is known, for what is trained, chosen and claimed; a
count of what is asked for, for what is not trained again; the points written out by hand, for the ladder.
"""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from evonas.compare.certificate.claims import Claims, claims_of, summary_of
from evonas.compare.certificate.ladder import Place, make_ladder, tasks_by_place
from evonas.compare.certificate.measure import Measurement, measure, network_sizes
from evonas.compare.certificate.report import certificate_report, draw_certificate
from evonas.compare.certificate.result import FORMAT, Certificate, certify, joint_level
from evonas.compare.columns import contenders_of
from evonas.compare.trials import CellSpec
from evonas.config import CertificateConfig
from evonas.config.section import parse_section
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.interface.overview import summarize
from evonas.interface.result_record import read_result
from evonas.report.page.charts import Lines
from evonas.report.save import write_report
from evonas.runs.store import Store
from evonas.search.named import find_layer
from evonas.search.outcome import Evaluation, Rejection

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

LONG = Place("all_cnn", "steps", 400.0)
S0, BN = CATALOGUE["evonorm-s0"], CATALOGUE["bn-relu"]
Outcome = tuple[int, str, str]
SETTINGS: dict[str, Any] = {
    "name": "test",
    "layer": {"groups": 4},
    "data": {"train": 64, "validation": 64},
    "training": {"steps": 100, "batch_size": 16, "warmup": 20, "learning_rates": [0.1, 0.03, 0.3]},
    "tasks": [{"architecture": "all_cnn", "width": 0.0833, "depth": [2, 2], "unstrided": 0}],
    "ladder": {"steps": [25, 400]},
    "execution": {"workers": 0},
}


def settings(**changes: Any) -> CertificateConfig:
    """The settings with some sections changed, key by key."""
    found = {**SETTINGS, **{key: value for key, value in changes.items() if not isinstance(value, dict)}}
    for key, value in changes.items():
        if isinstance(value, dict):
            found[key] = {**found.get(key, {}), **value}
    return parse_section(CertificateConfig, found, "test")


Score = Callable[[CellSpec, str], float | None]


class Made:
    """Stands in for the evaluators: scores by a function of the spec and the layer's name; None diverges."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self.trained: list[tuple[str, int, float, str, int]] = []

    def of(self, spec: CellSpec) -> Callable[..., Evaluation]:
        def evaluate(genome: Genome, *, gated: bool, seed: int, findings: bool) -> Evaluation:
            assert findings
            assert not gated
            name = "bn-relu" if genome.key == BN.key else "evonorm-s0"
            training = spec.training
            self.trained.append((name, training.steps, training.learning_rate, spec.data.score_on, seed))
            found = self.score(spec, name)
            if found is None:
                return Evaluation(
                    genome.key, seed, 5, rejection=Rejection("training", "diverged", "all_cnn", measured=5.0)
                )
            return Evaluation(genome.key, seed, training.steps, objectives={"all_cnn": found})

        return evaluate


Run = Callable[..., Certificate]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.sqlite") as opened:
        yield opened


@pytest.fixture
def run(store: Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A certificate of EvoNorm-S0 from evaluators that are made up."""

    def made_up(made: Made, found: CertificateConfig | None = None) -> Certificate:
        found = found or settings()
        monkeypatch.setattr(CellSpec, "evaluator", lambda spec: made.of(spec))
        ladder = make_ladder(found)
        contenders = contenders_of({"evonorm-s0": find_layer("evonorm-s0")}, found.baselines)
        measured = measure(found, ladder, contenders, store, lambda _: None)
        return certify(found, ladder, contenders, measured, dict.fromkeys(tasks_by_place([*ladder.points.values()]), 7))

    return made_up


def lawful(gain: Callable[[CellSpec], float], noise: float = 0.002, best: Mapping[str, float] | None = None) -> Score:
    """Scores in which the layer gains so much over the baseline, each at its best rate, with a little noise."""
    best = best or {"bn-relu": 0.1, "evonorm-s0": 0.1}

    def score(spec: CellSpec, name: str) -> float:
        away = abs(math.log(spec.training.learning_rate / best[name]))
        jitter = random.Random(f"{name} {spec.training} {spec.seed}").gauss(0, noise)
        return 0.5 - 0.1 * away + (gain(spec) if name != "bn-relu" else 0.0) + jitter

    return score


def doublings(spec: CellSpec) -> float:
    return math.log2(spec.training.steps / 100)


def claims(certificate: Certificate) -> Claims:
    (found,) = claims_of(certificate, certificate.against[0])
    return found


# the ladder


def test_one_axis_is_varied_at_a_time_around_the_base_point() -> None:
    found = settings(ladder={"steps": [25, 100, 400], "width": [2], "depth": [0.5, 1, 2], "batch_size": [4, 16, 64]})
    ladder = make_ladder(found)
    points = {(place.axis, place.size): point for place, point in ladder.points.items()}
    assert list(points) == [
        *(("", 1), ("steps", 25), ("steps", 400), ("width", 2), ("depth", 0.5), ("depth", 2)),
        *(("batch_size", 4), ("batch_size", 64)),
    ]
    base = points["", 1]
    trainings = {key: (p.training.steps, p.training.warmup, p.training.batch_size) for key, p in points.items()}
    assert trainings == dict.fromkeys(points, (100, 20, 16)) | {
        ("steps", 25): (25, 5, 16),
        ("steps", 400): (400, 80, 16),
        ("batch_size", 4): (400, 80, 4),  # as many images
        ("batch_size", 64): (25, 5, 64),
    }
    networks = {key: (point.task.width, point.task.depth) for key, point in points.items()}
    assert networks == dict.fromkeys(points, (0.0833, (2, 2))) | {
        ("width", 2): (0.1666, (2, 2)),
        ("depth", 0.5): (0.0833, (1, 1)),
        ("depth", 2): (0.0833, (4, 4)),
    }
    assert base.rates == (0.03, 0.1, 0.3)
    assert points["batch_size", 64].rates == pytest.approx((0.12, 0.4, 1.2))
    assert list(ladder.along("all_cnn", "depth").values()) == [
        Place("all_cnn", "depth", 0.5),
        Place("all_cnn"),
        Place("all_cnn", "depth", 2.0),
    ]


def test_a_network_that_is_taken_as_it_is_is_neither_widened_nor_deepened() -> None:
    tasks = [*SETTINGS["tasks"], {"architecture": "timm:test_resnet", "unstrided": 0}]
    ladder = make_ladder(settings(tasks=tasks, ladder={"width": [2], "depth": [2]}))
    assert [axis.name for axis in ladder.axes("all_cnn")] == ["steps", "width", "depth"]
    assert [axis.name for axis in ladder.axes("test_resnet")] == ["steps"]


def test_a_transformer_is_scaled_by_its_size() -> None:
    ladder = make_ladder(settings(tasks=[{"transformer": "32x2"}], ladder={"width": [0.5, 3], "depth": [2]}))
    sizes = {(place.axis, place.size): point.task.transformer for place, point in ladder.points.items()}
    assert sizes["width", 0.5] == "16x2"
    assert sizes["width", 3.0] == "96x2"
    assert sizes["depth", 2.0] == "32x4"
    assert {point.task.label for point in ladder.points.values()} == {"transformer-32x2"}


def test_every_point_has_seeds_of_its_own_that_a_larger_ladder_leaves_alone() -> None:
    small, large = make_ladder(settings()), make_ladder(settings(ladder={"steps": [25, 50, 400], "width": [2]}))
    seeds = [s for place in large.points for kind in ("pilot", "score") for s in place.seeds(1, kind, 3)]
    assert len(set(seeds)) == len(seeds) == len(large.points) * 6
    for place in small.points:
        assert place.seeds(1, "score", 2) == place.seeds(1, "score", 5)[:2]
    assert set(small.points) < set(large.points)
    assert Place("all_cnn").seeds(1, "score", 3) != Place("all_cnn").seeds(2, "score", 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ladder": {"steps": []}}, "ladder: varies nothing; accepted: sizes for at least one of steps, width, depth"),
        ({"ladder": {"steps": [100]}}, r"ladder.steps: has one size alone, that of the base point \(100 steps\)"),
        ({"ladder": {"depth": [1]}}, "ladder.depth: has one size alone"),
        ({"ladder": {"depth": [0.3]}}, "ladder.depth: 0.3 times 2 blocks of a stage is no whole number"),
        ({"ladder": {"seeds": 1}}, "ladder.seeds"),
        ({"ladder": {"width": [0.0]}}, "ladder.width"),
        ({"data": {"score_on": "test"}}, "data.score_on: 'test'; leave it out: validation images choose"),
        (
            {"ladder": {"steps": [], "width": [2]}, "tasks": [{"architecture": "timm:test_resnet"}]},
            "ladder: varies width and depth alone, and test_resnet is taken as it is",
        ),
        ({"tasks": SETTINGS["tasks"] * 2}, "two tasks are called 'all_cnn'"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        make_ladder(settings(**changes))
    assert len(str(refused.value).splitlines()) == 1


# the trainings


def test_each_layer_is_scored_at_its_own_best_rate_under_other_seeds_on_test_images(run: Run) -> None:
    made = Made(lawful(lambda _: 0.01, best={"bn-relu": 0.1, "evonorm-s0": 0.3}))
    found = run(made)
    measured: dict[tuple[str, float], Measurement] = {
        (name, place.size): each for (name, place), each in found.measured.items()
    }
    assert {name: each.rate for (name, _), each in measured.items()} == {"bn-relu": 0.1, "evonorm-s0": 0.3}
    assert {name: each.edge for (name, _), each in measured.items()} == {"bn-relu": "", "evonorm-s0": "highest"}
    pilots = [training for training in made.trained if training[3] == "validation"]
    finals = [training for training in made.trained if training[3] == "test"]
    assert made.trained == pilots + finals
    assert len(pilots) == 2 * 3 * 3  # layers, points, rates
    assert len(finals) == 2 * 3 * 3  # layers, points, seeds
    assert {(name, rate) for name, _, rate, *_ in finals} == {("bn-relu", 0.1), ("evonorm-s0", 0.3)}
    assert {seed for *_, seed in pilots}.isdisjoint({seed for *_, seed in finals})
    assert len({seed for *_, seed in finals}) == 9  # shared by the layers, not by points


def test_what_is_recorded_is_not_trained_again_and_a_larger_grid_trains_what_is_new(run: Run) -> None:
    best = {"bn-relu": 0.1, "evonorm-s0": 0.9}
    first, second, third = (Made(lawful(lambda _: 0.01, best=best)) for _ in range(3))
    found = run(first)
    assert run(second).as_json() == found.as_json()
    assert second.trained == []
    run(third, settings(training={"learning_rates": [0.03, 0.1, 0.3, 0.9]}))
    assert [training[3] for training in third.trained] == ["validation"] * 2 * 3 + ["test"] * 3 * 3
    assert {(name, rate) for name, _, rate, kind, _ in third.trained if kind == "test"} == {("evonorm-s0", 0.9)}


def test_a_single_rate_needs_no_pilots_and_is_said_to_be_the_only_one(run: Run) -> None:
    made = Made(lawful(lambda _: 0.05))
    found = run(made, settings(training={"learning_rate": 0.1, "learning_rates": []}))
    assert {kind for *_, kind, _ in made.trained} == {"test"}
    assert {each.edge for each in found.measured.values()} == {"only"}
    (line,) = [line for line in claims(found).not_claimed if line.startswith("That each is at its best")]
    assert "of evonorm-s0 at 3 of 3 points (only)" in line


def test_of_equal_rates_the_lower_is_taken_and_the_lowest_where_all_diverge(run: Run) -> None:
    def score(_: CellSpec, name: str) -> float | None:
        return None if name == "evonorm-s0" else 0.5

    found = run(Made(score))
    assert {(name, each.rate, each.edge) for (name, _), each in found.measured.items()} == {
        ("bn-relu", 0.03, "lowest"),
        ("evonorm-s0", 0.03, "lowest"),
    }
    assert {len(each.failures) for (name, _), each in found.measured.items() if name == "evonorm-s0"} == {3}
    assert claims(found).claimed == ()
    said = claims(found).not_claimed
    assert (
        "At the base point: anything; 3 of 3 trainings of evonorm-s0 failed (training: diverged after 5 steps)." in said
    )
    assert "How the gain depends on the training length: less than two sizes were trained without a failure." in said
    json.dumps(found.as_json(), allow_nan=False)
    certificate_report(found)


# what is concluded


def test_the_law_that_was_put_in_comes_out(run: Run) -> None:
    found = run(Made(lawful(lambda spec: 0.02 + 0.01 * doublings(spec))))
    law = found.against[0].networks[0].laws["steps"]
    assert law is not None
    assert law.at_base.mean == pytest.approx(2.0, abs=0.4)
    assert law.slope.mean == pytest.approx(1.0, abs=0.25)
    assert law.turn is not None
    assert law.turn.size == pytest.approx(25.0, rel=0.3)
    said = claims(found)
    (line,) = [line for line in said.claimed if line.startswith("From 100 steps to 400 steps it is better")]
    intervals = [found.against[0].networks[0].gains[place].joint for place in (Place("all_cnn"), LONG)]
    assert all(each is not None and f"{abs(each.mean):.2f}" in line for each in intervals)
    assert any(
        line.startswith("The gain rises by") and "each doubling of the training length" in line for line in said.claimed
    )
    assert any(line.startswith("With 25 steps: which of the two is better; the gain is") for line in said.not_claimed)
    assert "Anything below 25 steps or above 400 steps, which was not measured." in said.not_claimed
    assert "How the gain depends on width, depth and batch size: not varied on this network." in said.not_claimed


def test_a_sign_that_turns_is_claimed_with_where(run: Run) -> None:
    found = run(Made(lawful(lambda spec: 0.05 * doublings(spec) - 0.02)))
    (line,) = [line for line in claims(found).claimed if line.startswith("The sign turns")]
    assert "below it is worse than bn-relu, above it is better." in line
    zero = float(line.split("about ")[1].split()[0])
    assert zero == pytest.approx(100 * 2**0.4, rel=0.15)
    assert any(line.startswith("From 25 steps to 100 steps it is worse") for line in claims(found).claimed)
    (row,) = certificate_report(found).tables[1].cells()
    assert row[-1].startswith(f"{zero:g} steps [")
    down = run(Made(lawful(lambda spec: -0.05 * doublings(spec) - 0.02)), settings(seed=2))
    assert any("below it is better than bn-relu, above it is worse." in line for line in claims(down).claimed)


def test_a_zero_beyond_the_measured_sizes_is_not_claimed(run: Run) -> None:
    found = run(Made(lawful(lambda spec: 0.2 + 0.02 * doublings(spec))))
    assert not any("turns" in line for line in claims(found).claimed)
    (line,) = [line for line in claims(found).not_claimed if line.startswith("Where the sign turns")]
    (row,) = certificate_report(found).tables[1].cells()
    assert row[-1] == "not within the measured range"
    assert "not within the measured range (extrapolated, the line would cross zero at about" in line


def test_a_zero_whose_interval_leaves_the_measured_sizes_is_not_claimed(run: Run) -> None:
    found = run(Made(lawful(lambda spec: 0.02 * doublings(spec) + 0.039, noise=0.004)), settings(ladder={"seeds": 9}))
    law = found.against[0].networks[0].laws["steps"]
    assert law is not None
    assert law.turn is not None
    assert law.measured(law.turn.size)
    assert not law.turns_within
    assert not any("turns" in line for line in claims(found).claimed)
    assert any("with an interval beyond the measured range" in line for line in claims(found).not_claimed)
    (row,) = certificate_report(found).tables[1].cells()
    assert row[-1].startswith("not shown: ")


def test_gains_that_do_not_follow_a_line_have_no_law(run: Run) -> None:
    found = run(Made(lawful(lambda spec: 0.05 * doublings(spec) ** 2)))
    assert any("do not lie on a line" in line for line in claims(found).not_claimed)
    assert not any("doubling" in line for line in claims(found).claimed)
    (axes,) = draw_certificate(found, found.against[0]).axes
    assert not axes.collections  # no band


def test_a_gain_that_does_not_depend_on_the_size_has_no_slope(run: Run) -> None:
    found = run(Made(lawful(lambda _: 0.05)))
    assert any("the line is not better than a constant" in line for line in claims(found).not_claimed)
    assert claims(found).claimed[0].startswith("From 25 steps to 400 steps it is better than bn-relu at each of the 3")
    assert summary_of(found, found.against[0]).startswith(
        "At the base point (100 steps, batches of 16) evonorm-s0 is better on 1 and worse on 0 of 1 networks"
    )


def test_where_a_training_failed_nothing_is_claimed_and_a_cross_is_drawn(run: Run) -> None:
    def score(spec: CellSpec, name: str) -> float | None:
        if (name, spec.training.steps, spec.data.score_on) == ("evonorm-s0", 400, "test") and spec.seed % 2:
            return None
        return lawful(lambda _: 0.05)(spec, name)

    found = run(Made(score), settings(ladder={"seeds": 6}))
    place = Place("all_cnn", "steps", 400.0)
    gain = found.against[0].networks[0].gains[place]
    assert 0 < gain.failed[0] < 6  # else the test shows nothing
    assert (gain.sign, gain.complete) == (0, False)
    law = found.against[0].networks[0].laws["steps"]
    assert law is not None
    assert law.largest == 100.0
    assert claims(found).claimed[0].startswith("From 25 steps to 100 steps")
    (axes,) = draw_certificate(found, found.against[0]).axes
    assert [list(line.get_xdata()) for line in axes.get_lines() if line.get_marker() == "x"] == [[400.0]]


def test_claims_hold_together(run: Run) -> None:
    """Oracle: the number of intervals, counted by hand, and Bonferroni's level."""
    found = run(Made(lawful(lambda _: 0.0)), settings(ladder={"width": [2], "batch_size": [4, 64]}))
    assert found.intervals == (1 + 2 + 1 + 2) + 2 * 3  # points, and a slope and a zero of three axes
    assert found.joint_level == joint_level(12) == pytest.approx(1 - 0.05 / 12)
    for gain in found.against[0].networks[0].gains.values():
        assert gain.interval is not None
        assert gain.joint is not None
        assert gain.joint.low is not None
        assert gain.interval.low is not None
        assert gain.joint.low < gain.interval.low


@pytest.mark.slow
def test_claims_of_layers_that_are_level_are_seldom_made(run: Run) -> None:
    """Oracle: 95 of 100 certificates of no gain at all claim nothing."""
    false = 0
    for seed in range(100):
        false += bool(claims(run(Made(lawful(lambda _: 0.0)), settings(seed=seed))).claimed)
    assert false <= 13  # three standard deviations above five


def test_json_has_every_number_and_a_format(run: Run) -> None:
    found = json.loads(json.dumps(run(Made(lawful(lambda _: 0.05))).as_json(), allow_nan=False))
    assert found["format"] == FORMAT == "evonas certificate 1"
    assert set(found["layers"]) == {"evonorm-s0", "bn-relu"}
    (one,) = found["certificates"]
    assert (one["layer"], one["against"]) == ("evonorm-s0", "bn-relu")
    (network,) = one["networks"]
    by_size = {gain["size"]: gain for gain in network["gains"]}
    assert set(by_size) == {None, 25.0, 400.0}
    scores = {
        (each["layer"], each["size"]): each["scores"] for each in found["measurements"] if each["axis"] == "steps"
    }
    own, other = scores["evonorm-s0", 25.0], scores["bn-relu", 25.0]
    assert by_size[25.0]["by_seed"] == {seed: pytest.approx(100 * (own[seed] - other[seed])) for seed in own}
    assert [law["axis"] for law in network["laws"]] == ["steps"]


def test_the_picture_has_a_panel_for_each_axis_and_a_line_of_no_gain(run: Run) -> None:
    found = run(Made(lawful(lambda _: 0.05)), settings(ladder={"width": [2]}))
    figure = draw_certificate(found, found.against[0])
    FigureCanvasAgg(figure).draw()
    assert [axes.get_xlabel() for axes in figure.axes] == ["training length (steps)", "width (1: the base network)"]
    renderer = FigureCanvasAgg(figure).get_renderer()
    title, note = (text.get_window_extent(renderer) for text in figure.texts[:2])
    assert note.y1 < title.y0  # neither hides the other, however long they are
    for axes in figure.axes:
        assert any(set(line.get_ydata()) == {0} for line in axes.get_lines())
        assert len(axes.collections) == 1  # a band
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["25", "100", "400"]


# networks and the command


def test_networks_are_built_once_and_layers_of_another_layout_are_refused() -> None:
    found = settings(ladder={"width": [2], "batch_size": [4]})
    ladder = make_ladder(found)
    contenders = contenders_of({"evonorm-s0": find_layer("evonorm-s0")}, ["bn-relu"])
    sizes = network_sizes(found, ladder, contenders)
    assert set(sizes) == {Place("all_cnn"), Place("all_cnn", "width", 2.0)}
    assert 3 < sizes[Place("all_cnn", "width", 2.0)] / sizes[Place("all_cnn")] < 4
    with pytest.raises(InputError, match=r"layernorm in all_cnn: .*layout"):
        network_sizes(found, ladder, contenders_of({"evonorm-s0": find_layer("evonorm-s0")}, ["layernorm"]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "noise.npz", x_train=images, y_train=np.arange(60) % 3, x_test=images, y_test=np.arange(60) % 3)
    path = tmp_path / "mine.toml"
    path.write_text(
        f'name = "mine"\n[data]\nname = "npz"\npath = "{tmp_path / "noise.npz"}"\nvalidation = 20\n'
        "[training]\nsteps = 2\nbatch_size = 8\nlearning_rates = [0.1, 0.2]\n[layer]\ngroups = 4\n"
        '[[tasks]]\narchitecture = "all_cnn"\nwidth = 0.0833\ndepth = [1]\nunstrided = 0\n'
        "[ladder]\nsteps = [4]\nseeds = 2\n"
    )
    return path


def test_the_command_writes_a_certificate_and_goes_on(
    evonas: Callable[..., Outcome], file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = ("certify", "evonorm-s0", "--settings", file, "--run", run)
    status, out, err = evonas(*command)
    assert status == 0, err
    assert "16 of 16 runs" in err  # 2 layers, 2 points, two pilots and two seeds
    assert "choosing the rate, all_cnn, base point" in err
    names = {"certificate.md", "certificate.json", "certificate.csv", "certificate.png", "config.toml", "tb"}
    assert names <= {path.name for path in run.iterdir()}
    assert not (run / "results.json").exists()
    for words in ("Certificate of evonorm-s0 against bn-relu on noise", "base point", "4 steps", "sign turns"):
        assert words in out
    text = (run / "certificate.md").read_text()
    assert "## What may be claimed, and what may not" in text
    assert "### evonorm-s0 against bn-relu on all_cnn" in text
    found = json.loads((run / "certificate.json").read_text())
    assert found["settings"]["training"]["steps"] == 2
    said = found["certificates"][0]["networks"][0]["claims"]
    assert all(f"- {line}" in text for line in (*said["claimed"], *said["not_claimed"]))
    summary = summarize(run)
    assert (summary.kind, summary.state, summary.evaluations) == ("certificate", "finished", 16)
    assert evonas(*command)[0] == 2  # there already
    status, out, err = evonas(*command, "--resume", "--json")
    assert status == 0, err
    assert json.loads(out) == found
    status, out, err = evonas(*command, "--resume", "--seeds", 3, "--json")
    assert status == 0, err
    assert "20 of 20 runs" in err
    more = {(each["layer"], each["size"]): each["scores"] for each in json.loads(out)["measurements"]}
    for each in found["measurements"]:
        assert each["scores"].items() < more[each["layer"], each["size"]].items()


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers(
    evonas: Callable[..., Outcome], file: Path, tmp_path: Path
) -> None:
    one, two = (
        evonas("certify", "evonorm-s0", "--settings", file, "--run", tmp_path / str(n), "--workers", n, "--json")
        for n in (1, 2)
    )
    assert one[0] == two[0] == 0, two[2]
    assert json.loads(one[1]) == json.loads(two[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evonorm-s9",), ("'evonorm-s9'", "evonorm-s0")),
        (("evonorm-s0", "--against", "bn"), ("'bn'", "bn-relu")),
        (("evonorm-s0", "--against", "layernorm"), ("layernorm in all_cnn", "layout")),
        (("bn-relu",), ("'bn-relu' is the baseline itself", "--against")),
        (("evonorm-s0", "--settings", "matrix"), ("is a comparison of layers", "evonas evaluate")),
        (("evonorm-s0", "--set", "ladder.steps=[2]"), ("ladder.steps", "one size alone")),
        (("evonorm-s0", "--set", "ladder.stepps=[2]"), ("ladder.stepps", "'steps'")),
        (("evonorm-s0", "--seeds", 1), ("ladder.seeds", "2")),
        (("evonorm-s0", "--set", "data.path=nowhere.npz"), ("nowhere.npz", "no such file")),
        (("evonorm-s0", "--resume"), ("holds no results.sqlite", "without --resume")),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2(
    evonas: Callable[..., Outcome], file: Path, tmp_path: Path, arguments: tuple[object, ...], words: tuple[str, ...]
) -> None:
    given = () if "--settings" in arguments else ("--settings", file)
    status, _, err = evonas("certify", *arguments, *given, "--run", tmp_path / "run")
    assert status == 2
    assert len(err.splitlines()) == 1, err
    assert all(word in err for word in words), err
    assert not (tmp_path / "run").exists()


def test_the_help_has_an_example_and_the_options_of_every_study(evonas: Callable[..., Outcome]) -> None:
    status, out, _ = evonas("certify", "--help")
    assert status == 0
    for word in ("evonas certify evonas-s1", "--against", "--settings", "--resume", "--workers", "certificate.md"):
        assert word in out, word


def test_a_page_has_the_gains_with_the_intervals_that_hold_together(run: Run, tmp_path: Path) -> None:
    found = run(Made(lawful(doublings)))
    write_report(tmp_path, certificate_report(found), "certificate")
    record = read_result(tmp_path, tmp_path / "certificate.json")
    (chart,) = record.charts
    assert isinstance(chart, Lines)
    (network,) = found.against[0].networks
    joints = {place.size if place.axis else 100.0: gain.joint for place, gain in network.gains.items()}
    expected = [(size, joint.mean, joint.low, joint.high) for size, joint in sorted(joints.items()) if joint]
    assert chart.panels == {"steps": {"evonorm-s0 on all_cnn": [pytest.approx(point) for point in expected]}}
    assert [layer.name for layer in record.layers] == ["evonorm-s0", "bn-relu"]
