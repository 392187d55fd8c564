"""What a short training of a user's language model reports: losses by learning rate, and probes by step."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from evonas.report.pictures import Points, draw_panels
from evonas.report.save import Report, RunLog
from evonas.report.statistics import summary
from evonas.report.table import Datum, Table, grouped
from evonas.runs.store import Outcome
from evonas.studies.stability.pretrained import PretrainedRun
from evonas.training.sensitivity import diverged, lr_sensitivity

Place = tuple[float, int]  # learning rate, seed
Curve = list[tuple[int, float | None]]
PROBES = {  # by the names that pictures use: the reading, and which of the blocks counts
    "gradient norm": ("gradient_norm", max),
    "update over parameters": ("update_over_parameters", max),
    "log Z": ("log_z", max),
    "largest RMS after a block": (".rms", max),
    "bound of attention logits": (".logit_bound", max),
    "least stable rank": ("least stable_rank", min),
    "least spectral entropy of queries and keys": (".qk_spectral_entropy", min),
    "largest singular value of a block's Jacobian": (".jacobian", max),
    "largest alignment of neighbouring blocks": (".alignment", max),
}


def pretrained_report(
    name: str, runs: Mapping[Place, PretrainedRun], outcomes: Mapping[PretrainedRun, Outcome]
) -> Report:
    """The report from the outcomes of all trainings."""
    values = {place: value for place, run in runs.items() if (value := outcomes[run].value) is not None}
    failures = [f"{rate:g}, seed {seed}: {why}" for (rate, seed), run in runs.items() if (why := outcomes[run].failure)]
    curves = {place: probe_curves(value["readings"]) for place, value in values.items()}
    pictures = {}
    if values:
        pictures["losses"] = draw_panels(
            {"training loss": {f"{rate:g}": _losses(own) for rate, own in _by_rate(values).items()}},
            xlabel="step",
            ylabel="nats a token",
            logx=0,
        )
    panels = _panels(curves)
    if panels:
        pictures["probes"] = draw_panels(panels, xlabel="step", ylabel="by learning rate", logx=0)
    return Report(
        title=name,
        tables=[_table(values)],
        notes=_notes(values),
        data={"trainings": [{"learning_rate": rate, "seed": seed, **value} for (rate, seed), value in values.items()]},
        runs=_rows(values),
        pictures=pictures,
        logs={f"lr_{p[0]:g}/seed_{p[1]}": _log(p, values[p], found) for p, found in curves.items()},
        failures=failures,
    )


def probe_curves(
    readings: Sequence[tuple[int, Mapping[str, float | None]]],
) -> dict[str, list[tuple[int, float | None]]]:
    """By name of a probe, steps and values; of blocks the one that counts, None where it is not finite."""
    found: dict[str, Curve] = {}
    for title, (key, which) in PROBES.items():
        for step, values in readings:
            own = [v for name, v in values.items() if name == key or (key.startswith(".") and name.endswith(key))]
            if own:
                found.setdefault(title, []).append(
                    (step, None if None in own else which(v for v in own if v is not None))
                )
    return found


def _by_rate(values: Mapping[Place, Any]) -> dict[float, list[Any]]:
    return {rate: [values[place] for place in places] for rate, places in grouped(values, lambda p: p[0]).items()}


def _table(values: Mapping[Place, Mapping[str, Any]]) -> Table:
    rows = []
    for rate, own in _by_rate(values).items():
        lost = sum(_lost(value) for value in own)
        ends = [value["final_loss"] for value in own if value["final_loss"] is not None]
        row: dict[str, Datum] = {"learning rate": f"{rate:g}", "loss before": fmean(v["initial_loss"] for v in own)}
        row |= {"loss after": summary(ends) if ends else None, "diverged": f"{lost} of {len(own)}"}
        rows.append(row)
    return Table.of(
        rows,
        title="Validation loss in nats a token; mean over seeds.",
        meanings={"diverged": "trainings that end with a higher loss than they began with, or with none."},
    )


def _notes(values: Mapping[Place, Mapping[str, Any]]) -> list[str]:
    found = []
    for seed, places in grouped(values, lambda place: place[1]).items():
        losses = {p[0]: values[p]["final_loss"] for p in places}
        losses = {rate: math.nan if loss is None else loss for rate, loss in losses.items()}
        if len(losses) > 1:
            value = lr_sensitivity(losses, values[places[0]]["initial_loss"])
            words = "no learning rate improves the model" if math.isnan(value) else f"sensitivity {value:.3f}"
            found.append(f"Seed {seed}: {words} over these learning rates.")
    return found


def _lost(value: Mapping[str, Any]) -> bool:
    final = value["final_loss"]
    return final is None or diverged(final, value["initial_loss"])


def _losses(own: Sequence[Mapping[str, Any]]) -> Points:
    steps = [{step: loss for step, loss in value["losses"] if loss is not None} for value in own]
    common = sorted(set.intersection(*map(set, steps)))
    return [(step, fmean(one[step] for one in steps), 0.0) for step in common]


def _panels(curves: Mapping[Place, Mapping[str, Curve]]) -> dict[str, dict[str, Points]]:
    panels: dict[str, dict[str, Points]] = {}
    for title in PROBES:
        for rate, own in _by_rate(curves).items():
            steps = [{step: v for step, v in found.get(title, ()) if v is not None} for found in own]
            if common := sorted(set.intersection(*map(set, steps))):
                points = [(step + 1, fmean(one[step] for one in steps), 0.0) for step in common]
                panels.setdefault(title, {})[f"{rate:g}"] = points
    return panels


def _rows(values: Mapping[Place, Mapping[str, Any]]) -> Table:
    return Table.of(
        {
            "learning rate": rate,
            "seed": seed,
            "initial loss": value["initial_loss"],
            "final loss": value["final_loss"],
            "diverged": _lost(value),
        }
        for (rate, seed), value in values.items()
    )


def _log(place: Place, value: Mapping[str, Any], curves: Mapping[str, Curve]) -> RunLog:
    metrics = {} if value["final_loss"] is None else {"final loss": value["final_loss"]}
    hparams = {"learning rate": place[0], "seed": place[1]}
    return RunLog(hparams, metrics, {"training loss": value["losses"], **curves})
