"""Studies of a tiny language model, from a file to a table.

Oracles: maps fitted and measured one by one; a study that was stopped and went on, against one that was not; what the
untouched model generates.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stopping import run_killed_after

from evonas.config.section import load_as
from evonas.errors import InputError
from evonas.report.table import markdown_text
from evonas.runs.jobs import spec_text
from evonas.steering import Intervention, fit
from evonas.studies.steering.method_settings import FitConfig
from evonas.studies.steering.study import (
    MapFit,
    SteeringCell,
    SteeringMeasurement,
    SteeringStudyConfig,
    do_steering_job,
    maps_of,
    steering_runs,
    target_of,
)
from studies import assert_one_line, count_outcomes


def test_the_grid_is_seeds_by_methods_by_sparsities_by_strengths(file: Path) -> None:
    pieces = steering_runs(load_as(SteeringStudyConfig, file))
    assert len(pieces) == 2 * (1 + 2 + 2)
    maps = {piece.maps for piece in pieces.values()}
    assert len(maps) == 1 + 2 * 3
    piece = pieces[SteeringCell(task="judge", method="ours", sparsity=0.5, strength=1.0, seed=2)]
    assert piece.maps is not None
    assert (piece.maps.fit.method, piece.maps.fit.steps, piece.maps.seed) == ("lineas", 3, 2)
    assert piece.maps.fit.sites == ("**.*post*layernorm",)
    pieces = steering_runs(load_as(SteeringStudyConfig, file, ["methods.1.neurons=[1.0,0.1]"]))
    assert len(pieces) == 2 * (1 + 2 + 4)
    piece = pieces[SteeringCell(task="judge", method="ours", sparsity=0.5, neurons=0.1, strength=1.0, seed=2)]
    assert piece.maps is not None
    assert piece.maps.neurons == 0.1


def test_records_from_before_a_key_are_known_until_it_is_set() -> None:
    maps = MapFit(fitting="f", task="t", fit=FitConfig(), sparsity=0.5, seed=1)
    for piece in (maps, SteeringMeasurement(maps=maps, measuring="m", task="t", strength=1.0, seed=1)):
        assert "neurons" not in spec_text(piece)
        assert '"sparsity": 0.5' in spec_text(piece)
    fewer = maps.model_copy(update={"neurons": 0.1})
    piece = SteeringMeasurement(maps=fewer, measuring="m", task="t", strength=1.0, seed=1)
    assert '"neurons": 0.1' in spec_text(piece)


def test_a_study_gives_what_its_parts_give_and_goes_on_where_it_was(
    evonas: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status, _, err = evonas("steer", file, "--run", run, "--set", "seeds=[1]")
    assert status == 0, err
    first = {place: place.stat().st_mtime_ns for place in (run / "maps").rglob("*.safetensors")}
    status, out, err = evonas("steer", file, "--run", run, "--resume", "--json")
    assert status == 0, err
    assert all(place.stat().st_mtime_ns == written for place, written in first.items())
    assert len(list((run / "maps").iterdir())) == 2 * len(first) == 6
    groups = json.loads(out)["groups"]
    assert [(g["method"], g["sparsity"]) for g in groups] == [
        *(("none", 0.0), ("mean-act", 0.0), ("ours", 0.0), ("ours", 0.5))
    ]
    study = load_as(SteeringStudyConfig, file)
    subject = target_of(study)
    source, target = subject.samples("judge", 2)
    intervention = fit(subject.model, source, target, method="mean-act")
    with intervention.on(subject.model, 0.5):
        value = subject.measure("judge", 2)
    found = groups[1]["curves"]["2"][1]
    assert found == {"strength": 0.5, "score": pytest.approx(value["score"]), "cost": pytest.approx(value["cost"])}
    untouched = subject.measure("judge", 2)
    assert groups[1]["curves"]["2"][0]["cost"] == pytest.approx(untouched["cost"])
    assert value["cost"] != pytest.approx(untouched["cost"], abs=1e-6)
    for name in ("results.md", "results.csv", "results.json", "score.png", "cost.png", "trade.png", "support.png"):
        assert (run / name).stat().st_size > 100
    assert list((run / "tb" / "judge" / "ours" / "sparsity_0.5_neurons_1" / "seed_1").glob("events.*"))
    table = (run / "results.csv").read_text().splitlines()
    assert len(table) == 1 + 10
    assert table[0].startswith("task,method,sparsity,neurons,strength,seed,score,cost,share,mean,distinct,words,")
    assert "cat" not in "".join(
        (run / f"results.{kind}").read_text() for kind in ("md", "json", "csv")
    )  # no text of the corpora


def test_continuations_before_and_after_stand_in_the_report_with_the_maps_that_made_them(
    evonas: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    """Oracle: a subject of its own, which continues the same prompts with the maps that were written."""
    run, changes = tmp_path / "run", ("--set", "seeds=[1]", "--set", "language.shown=2")
    status, out, err = evonas("steer", file, "--run", run, *changes)
    assert status == 0, err
    assert "the folder maps/ of this run" in " ".join(out.split())
    study = load_as(SteeringStudyConfig, file, ["seeds=[1]", "language.shown=2"])
    subject: Any = target_of(study)
    report = (run / "results.md").read_text()
    untouched = subject.measure("judge", 1)
    assert untouched["prompts"] == tuple(subject._prompts[:2])
    (place,) = (run / "maps").glob("mean-act-*")
    assert f"| `maps/{place.name}` |" in report
    with Intervention.load(place).on(subject.model, 0.5):
        steered = subject.measure("judge", 1)
    assert steered["texts"] != untouched["texts"]
    for number in (0, 1):
        prompt = untouched["prompts"][number]
        for method, strength, value in (("none", "0", untouched), ("mean-act", "0.5", steered)):
            said = markdown_text(" ".join(value["texts"][number].split()))  # of random weights: any letters at all
            assert f"| {prompt} | {method} | {strength} | {said} |" in report


def test_lost_maps_are_fitted_again(file: Path, tmp_path: Path) -> None:
    study = load_as(SteeringStudyConfig, file)
    piece = next(p for p in steering_runs(study).values() if p.maps is not None and p.maps.fit.method == "lineas")
    assert piece.maps is not None
    value = do_steering_job(study, tmp_path / "one", piece, {})
    assert do_steering_job(study, tmp_path / "one", piece, {}) == value  # from the maps that were written
    assert do_steering_job(study, tmp_path / "two", piece, {}) == value
    assert do_steering_job(study, tmp_path / "one", piece.maps, {}) == do_steering_job(
        study, tmp_path / "two", piece.maps, {}
    )


def test_source_target_prompts_and_neutral_share_no_sentence(file: Path) -> None:
    study = load_as(SteeringStudyConfig, file, ['language.neutral={name="file",path="X",count=3}'])
    assert study.language is not None
    path = study.language.source.path
    study = load_as(SteeringStudyConfig, file, [f'language.neutral={{name="file",path="{path}",count=3}}'])
    subject: Any = target_of(study)
    for seed in (1, 2):
        source, target = (set(subject._texts(name, seed)) for name in ("source", "target"))
        others = set(subject._without)
        assert len(source) == len(target) == 4
        assert not source & target
        assert not (source | target) & others
        assert len(others) == 5 + 3
    assert subject._texts("source", 1) != subject._texts("source", 2)


def test_continuations_are_those_of_the_seed_without_their_prompts(file: Path) -> None:
    subject: Any = target_of(load_as(SteeringStudyConfig, file))
    one, again, other = (subject._continuations(seed) for seed in (1, 1, 2))
    assert one == again != other
    assert len(one) == 5 * 2
    greedy: Any = target_of(load_as(SteeringStudyConfig, file, ["language.decoding.temperature=0.0"]))
    likeliest = greedy._continuations(1)
    assert likeliest == greedy._continuations(2)
    ids = greedy._rows(greedy._prompts[:1])[0]
    tokens, penalty = list(ids), 1.2
    import torch

    for _ in range(4):  # by hand: the likeliest, what was there before being penalized
        logits = greedy.model(torch.tensor([tokens])).logits[0, -1]
        seen = torch.tensor(sorted(set(tokens)))
        logits[seen] = torch.where(logits[seen] < 0, logits[seen] * penalty, logits[seen] / penalty)
        tokens.append(int(logits.argmax()))
    assert likeliest[0] == greedy._loaded.tokenizer.decode(tokens[len(ids) :], skip_special_tokens=True).strip()


def test_a_training_that_diverges_costs_its_own_cells_alone(
    evonas: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    changes = ("--set", "methods.1.lr=1e30", "--set", "seeds=[1]")
    status, out, err = evonas("steer", file, "--run", run, "--json", *changes)
    assert status == 0, err
    groups = {(g["method"], g["sparsity"]): g for g in json.loads(out)["groups"]}
    assert groups["mean-act", 0.0]["failures"] == {}
    assert "infinite or not a number" in groups["ours", 0.0]["failures"]["1"]
    assert "infinite or not a number" in (run / "results.md").read_text()


def test_a_killed_study_goes_on_to_the_same_table(evonas: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    past_the_fits = 6 + 2
    run_killed_after(past_the_fits, "steer", file, "--run", killed)
    assert count_outcomes(killed / "results.sqlite") == past_the_fits
    status, _, err = evonas("steer", file, "--run", killed, "--resume")
    assert status == 0, err
    status, _, err = evonas("steer", file, "--run", whole)
    assert status == 0, err
    assert count_outcomes(killed / "results.sqlite") == count_outcomes(whole / "results.sqlite") == 6 + 10
    one, other = (json.loads((folder / "results.json").read_text()) for folder in (whole, killed))
    assert one == other


def test_half_written_maps_are_not_read(file: Path, tmp_path: Path) -> None:
    study = load_as(SteeringStudyConfig, file)
    pieces = (piece.maps for piece in steering_runs(study).values())
    piece: MapFit = next(maps for maps in pieces if maps is not None)
    whole = maps_of(target_of(study), tmp_path, piece)
    (place,) = (tmp_path / "maps").iterdir()
    (place / "intervention.json").unlink()  # it is written last
    (place / "maps.safetensors").write_bytes(b"half")
    again = maps_of(target_of(study), tmp_path, piece)
    assert str(again) == str(whole) == str(Intervention.load(place))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["language.model='/no/such/folder'"], ["/no/such/folder", "no such folder"]),
        (["language.source.most=-5.0"], ["language: source: 0 sentences", "4 or more"]),
        (["language.samples=18"], ["language: source: 10 sentences, 5 of them used elsewhere", "18 or more"]),
        (["language.samples=1"], ["language.samples", "greater than or equal to 2"]),
        (["language.target.rating='mood'"], ["language", "no column 'mood'", "text, rating"]),
        (["language.target.rating=''"], ["language", "least, most: file has no ratings", "by"]),
        (["language.scorer.label='rude'"], ["label: 'rude'", "LABEL_0, LABEL_1"]),
        (["language.scorer.name='/no/judge'"], ["scorer /no/judge: cannot be loaded"]),
        (["language.decoding.max_new_tokens=64"], ["language", "a model that sees 64"]),
        (["methods.1.name='mean-act'"], ["two are called 'mean-act'"]),
        (["methods.1.name='none'"], ["two are called 'none'"]),
        (["methods.0.sparsities=[0.1]"], ["methods", "mean-act has none"]),
        (["methods.0.neurons=[0.1]"], ["methods", "mean-act steers all"]),
        (["methods.1.neurons=[0.0]"], ["methods.1.neurons.0", "greater than 0"]),
        (["methods.0.strengths=[-1.0]"], ["methods.0.strengths.0", "greater than 0"]),
        (["methods.0.method='magic'"], ["methods.0.method", "unknown steering method 'magic'", "lineas"]),
        (["images.concept=3"], ["a table [language] or a table [images]"]),
    ],
)
def test_wrong_input_is_one_line(
    evonas: Callable[..., Any], file: Path, tmp_path: Path, changes: list[str], words: list[str]
) -> None:
    options = [part for change in changes for part in ("--set", change)]
    assert_one_line(evonas("steer", file, *options, "--run", tmp_path / "run"), words)
    assert not (tmp_path / "run").exists()


def test_sites_that_are_not_there_end_the_study(evonas: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    status, _, err = evonas("steer", file, "--run", tmp_path / "run", "--set", "methods.0.sites=['**.norm_7']")
    *progress, error = err.splitlines()
    assert (status, "norm_7" in error) == (2, True), err
    assert all(" of 16 runs" in line for line in progress)


def test_pickled_classifiers_are_not_read(models: Path, tmp_path: Path) -> None:
    from evonas.studies.steering.scorers import load_scorer

    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((models / "judge" / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch exploded'\ntR.")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_scorer(str(tmp_path), "LABEL_1")
