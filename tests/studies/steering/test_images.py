"""Oracles: the judge's own functions on the generator's images; the untouched generator."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evonas.steering import fit
from evonas.studies.steering.generator import inputs
from evonas.studies.steering.images import ImagesConfig, ImageTarget
from evonas.studies.steering.judge import concept_score

SIZES = {"generator_steps": 30, "classifier_steps": 40, "width": 16, "images": 30}


@pytest.fixture(scope="module")
def subject() -> ImageTarget:
    return ImageTarget(ImagesConfig(concept=3, samples=9, **SIZES), "cpu")


def test_the_two_tasks_swap_source_and_target(subject: ImageTarget) -> None:
    assert subject.tasks == ("remove 3", "include 3")
    (source,), (target,) = subject.samples("remove 3", 1)
    other, same = subject.samples("include 3", 1)
    assert source["labels"].tolist() == same[0]["labels"].tolist() == [3] * 9
    assert target["labels"].tolist() == other[0]["labels"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert torch.equal(source["noise"], other[0]["noise"])
    assert not torch.equal(source["noise"], target["noise"])
    assert not torch.equal(source["noise"], subject.samples("remove 3", 2)[0][0]["noise"])


def test_measurements_of_the_untouched_and_of_a_steered_generator(subject: ImageTarget) -> None:
    plain = subject.measure("remove 3", 1)
    assert plain["similarity"] == pytest.approx(1, abs=1e-6)
    assert plain["score"] == pytest.approx(concept_score(subject._judge, subject.pictures("remove 3", 1, 30), 3))
    assert plain["cost"] > 0
    intervention = fit(subject.model, *subject.samples("remove 3", 1), sites=subject.sites, method="mean-act")
    with intervention.on(subject.model):
        moved = subject.measure("remove 3", 1)
    assert moved["score"] != pytest.approx(plain["score"], abs=1e-4)
    assert moved["similarity"] < 1 - 1e-4
    assert moved["distance"] < plain["distance"]  # threes come nearer to the other digits
    assert subject.measure("remove 3", 1) == plain
    torch.testing.assert_close(subject.model(**inputs(3, 2, 0)), subject._untouched(**inputs(3, 2, 0)))


def test_a_study_of_images(evonas: Callable[..., Any], tmp_path: Path) -> None:
    file = Path(__file__).parents[3] / "studies" / "steer_digits.toml"
    changes = ["seeds=[1]", "methods.2.steps=2", "methods.2.sparsities=[0.0,0.1]"]
    changes += [f"methods.{number}.strengths=[0.5,1.0]" for number in range(3)]
    changes += [f"images.{key}={value}" for key, value in SIZES.items()]
    options = [part for change in changes for part in ("--set", change)]
    run = tmp_path / "run"
    status, out, err = evonas("steer", file, "--run", run, "--json", *options)
    assert status == 0, err
    groups = json.loads(out)["groups"]
    assert [g["task"] for g in groups] == ["remove 3"] * 5 + ["include 3"] * 5
    assert all(len(curve) == (1 if g["method"] == "none" else 3) for g in groups for curve in g["curves"].values())
    for name in ("images_remove_3.png", "images_include_3.png", "support.png", "trade.png", "results.md"):
        assert (run / name).stat().st_size > 100
    status, again, err = evonas("steer", file, "--run", tmp_path / "other", "--json", "--workers", 2, *options)
    assert status == 0, err
    assert json.loads(again)["groups"] == groups
    files = [list((folder / "networks").iterdir()) for folder in (run, tmp_path / "other")]
    assert [len(each) for each in files] == [1, 1]  # trained once, whatever the number of workers


def test_wrong_input_is_one_line(evonas: Callable[..., Any], tmp_path: Path) -> None:
    file = Path(__file__).parents[3] / "studies" / "steer_digits.toml"
    for change, words in (("images.concept=10", "less than 10"), ("images.width=12", "multiple of 8")):
        status, _, err = evonas("steer", file, "--run", tmp_path / "run", "--set", change)
        assert (status, len(err.splitlines())) == (2, 1)
        assert words in err
    assert not (tmp_path / "run").exists()


def test_every_shipped_study_loads() -> None:
    from evonas.config.section import load_as
    from evonas.studies.steering.study import SteeringStudyConfig

    files = sorted((Path(__file__).parents[3] / "studies").glob("steer_*.toml"))
    assert len(files) >= 3
    for file in files:
        study = load_as(SteeringStudyConfig, file)
        assert {method.method for method in study.methods} >= {"mean-act", "linear-act", "lineas"}
