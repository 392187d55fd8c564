"""What a study of learning rates reports: a row for each sweep, losses and sensitivities as pictures."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

from evonas.report.pictures import Points, draw_panels, panels_of
from evonas.report.save import Report, RunLog
from evonas.report.statistics import Interval, finite_summary, summary
from evonas.report.table import Datum, Table
from evonas.runs.store import Outcome
from evonas.studies.stability.prediction import ALL_DIVERGED, LOSS_SUFFERS
from evonas.studies.stability.results import TRACKED, Sweep, predict_largest, sweeps_json, sweeps_of
from evonas.studies.stability.study import StabilityCell
from evonas.training.sensitivity import COUPLED_WINDOWS

VALIDATION = "validation loss"  # before the training and after it


def stability_report(name: str, outcomes: Mapping[StabilityCell, Outcome]) -> Report:
    """The report of a study from the outcomes of all its runs."""
    sweeps = sweeps_of(outcomes)
    data = sweeps_json(sweeps)
    return Report(
        title=name,
        tables=[sweep_table(sweeps), trouble_table(sweeps)],
        data=data,
        details=[*_coupled_notes(sweeps), _differences(data["against_first"]), _predictions(data["predictions"])],
        runs=_runs(outcomes),
        pictures=_pictures(sweeps),
        logs={
            f"{cell.intervention}/{cell.size}/lr_{cell.learning_rate:g}/seed_{cell.seed}": _log(cell, outcome.value)
            for cell, outcome in outcomes.items()
            if outcome.value is not None
        },
        failures=[f"{s.intervention}, {s.size}: {why}" for s in sweeps for why in s.failures.values()],
    )


MEANINGS = {
    "parameters": "the size of the network, without its embedding and its head.",
    "LR sensitivity": "the mean over the learning rates of the final loss, counted up to the loss at initialization, "
    "minus that of the best learning rate; 0 is a network that no learning rate harms.",
    "best loss": "the final validation loss at the best learning rate.",
    "best learning rate": "of each seed, the learning rate with the lowest final loss.",
    "stability margin": "of each seed, the lowest learning rate above the best one that diverges, divided by the best "
    "one. `> 10` says that none diverges up to 10 times the best one, the largest that was tried.",
}
TROUBLES = {
    "diverged": "runs whose final loss is above the loss at initialization, or not finite.",
    "slow divergences": "runs that lost again what they had learned: the loss ends 0.1 or more above its lowest level.",
    "loss spikes": "training steps, over all runs, with a loss 7 deviations or more from the mean of the 100 before.",
    "failed": "runs without a result, such as a worker that died; the reasons are listed below.",
}


def sweep_table(sweeps: Sequence[Sweep]) -> Table:
    """A row for each sweep: means and deviations over seeds, and what each seed says of learning rates."""
    return Table.of(
        (
            {
                "intervention": sweep.intervention,
                "size": sweep.size,
                "parameters": sweep.parameters,
                "LR sensitivity": finite_summary(sweep.sensitivities.values()),
                "best loss": finite_summary(sweep.best_losses.values()),
                "best learning rate": ", ".join(f"{rate:g}" for rate, _ in sweep.best.values()),
                "stability margin": ", ".join(_margins(sweep)),
            }
            for sweep in sweeps
        ),
        {"parameters": "{:,}"},
        meanings=MEANINGS,
    )


def trouble_table(sweeps: Sequence[Sweep]) -> Table:
    """A row for each sweep in which a training went wrong, with how many did and in which way."""
    counts: Iterator[Mapping[str, Datum]] = (
        {
            "intervention": sweep.intervention,
            "size": sweep.size,
            "runs": sum(map(len, sweep.losses.values())) + len(sweep.failures),
            "diverged": sweep.diverged,
            "slow divergences": sweep.slow,
            "loss spikes": sweep.spikes,
            "failed": len(sweep.failures),
        }
        for sweep in sweeps
        if sweep.diverged or sweep.slow or sweep.spikes or sweep.failures
    )
    return Table.of(counts, title="Trainings that went wrong:", meanings=TROUBLES)


def _margins(sweep: Sweep) -> Iterator[str]:
    """The stability margin of each seed in words: a bound where no learning rate above the best one diverges."""
    for seed, margin in sweep.margins.items():
        if math.isnan(margin):
            yield "nothing was learned"
        elif math.isinf(margin):
            yield f"> {max(sweep.rates) / sweep.best[seed][0]:.3g}"
        else:
            yield f"{margin:.3g}"


def _coupled_notes(sweeps: Sequence[Sweep]) -> list[str]:
    """What the LR sensitivity of coupled decay is, where there is any."""
    names: dict[bool, list[str]] = {True: [], False: []}
    for sweep in sweeps:
        if sweep.decay == "coupled" and sweep.intervention not in names[bool(sweep.windows)]:
            names[bool(sweep.windows)].append(sweep.intervention)
    first, last = (f"{low:g} to {high:g}" for low, high in COUPLED_WINDOWS)
    rule = f"the lower one of those over {first} and over {last}"
    notes = []
    if names[True]:
        notes.append(
            f"With coupled weight decay ({', '.join(names[True])}) the LR sensitivity is {rule}, as published."
        )
        notes.append(f"Its differences are to the LR sensitivity of others over {last}, as many learning rates.")
    if names[False]:
        notes.append(f"With coupled weight decay ({', '.join(names[False])}) the published LR sensitivity is {rule}.")
        notes.append("The learning rates here do not reach over both: it is that over all of them, as for the others.")
    return notes


def _differences(found: Sequence[Mapping[str, Any]]) -> Table:
    return Table.of(
        (
            {
                "intervention": each["intervention"],
                "size": each["size"],
                "LR sensitivity": Interval(**each["sensitivity"]),
                "best loss": Interval(**each["best_loss"]),
            }
            for each in found
        ),
        dict.fromkeys(("LR sensitivity", "best loss"), "{:+z.4f}"),
        title=f"Against {', '.join({each['first'] for each in found})}, paired by seed, 95 % intervals:",
    )


def _predictions(found: Sequence[Mapping[str, Any]]) -> Table:
    return Table.of(
        (
            {
                "intervention": each["intervention"],
                "what": each["what"],
                "learning rate": each["learning_rate"],
                "predicted": Interval(each["predicted"], each["low"], each["high"], 0),
                "measured": each["measured"],
                "factor": each["factor"],
                "doubts": "; ".join(each["doubts"]),
            }
            for each in found
        ),
        {"learning rate": "{:g}", "predicted": "{:.3g}", "measured": "{:.3g}", "factor": "{:.2f}"},
        title="The largest size, predicted from the others, with 95 % intervals:",
    )


def _runs(outcomes: Mapping[StabilityCell, Outcome]) -> Table:
    numbers = {"parameters": "size"} | {key: key for key in ("initial_loss", "final_loss", "steps", "slow", "spikes")}
    return Table.of(
        cell.model_dump()
        | {column: (outcome.value or {}).get(key) for column, key in numbers.items()}
        | {"failure": outcome.failure, "seconds": round(outcome.seconds, 2)}
        for cell, outcome in outcomes.items()
    )


def _log(cell: StabilityCell, value: Mapping[str, Any]) -> RunLog:
    final = value["final_loss"]
    curves = {"loss": value["losses"], VALIDATION: [(0, value["initial_loss"]), (value["steps"], final)]}
    for step, values in value["readings"]:
        for probe, number in values.items():
            curves.setdefault(f"probes/{probe}", []).append((step, number))
    hparams = {key.replace("_", " "): setting for key, setting in cell.model_dump().items()}
    return RunLog(hparams, {} if final is None else {VALIDATION: final}, curves)


def _pictures(sweeps: Sequence[Sweep]) -> dict[str, Figure]:
    pictures = {"losses": draw_losses(sweeps), "sensitivity": draw_sensitivity(sweeps)}
    if any(sweep.ends("log_z") for sweep in sweeps):
        pictures["output_logits"] = draw_output_logits(sweeps)
    for what, probe in TRACKED.items():
        if any(sweep.final_values(probe) for sweep in sweeps):
            pictures[what.replace(" ", "_")] = draw_tracked(sweeps, what)
    return pictures


def draw_losses(sweeps: Sequence[Sweep]) -> Figure:
    """Loss over learning rates, clipped at initialization; see ``_by_rate``."""
    return _by_rate(sweeps, Sweep.mean_losses, "final validation loss", -1)


def draw_output_logits(sweeps: Sequence[Sweep]) -> Figure:
    """Log Z of the output logits at the end over learning rates; see ``_by_rate``."""

    def points(sweep: Sweep) -> Points:
        return [summary(values).at(rate) for rate, values in sweep.ends("log_z").items()]

    return _by_rate(sweeps, points, "log Z of the output logits, at the end", 0)


def _by_rate(sweeps: Sequence[Sweep], points: Callable[[Sweep], Points], ylabel: str, better: float) -> Figure:
    """A panel for each intervention with a line for each size; of a single size a line for each intervention."""
    places = [(sweep.intervention, sweep.size) for sweep in sweeps]
    if _of_one_size(sweeps):
        places = [place[::-1] for place in places]
    panels = panels_of((*place, points(sweep)) for place, sweep in zip(places, sweeps, strict=True))
    lines = "intervention" if _of_one_size(sweeps) else "size of the network"
    title = f"{ylabel[0].upper()}{ylabel[1:]}, by peak learning rate and {lines}: mean and deviation over seeds"
    return draw_panels(panels, xlabel="peak learning rate", ylabel=ylabel, better=better, title=title)


def draw_sensitivity(sweeps: Sequence[Sweep]) -> Figure:
    """LR sensitivity over the number of parameters, a line for each intervention.

    Of a single size a point for each intervention, over the loss at its best learning rate.
    """
    single = _of_one_size(sweeps)

    def points(sweep: Sweep) -> Points:
        found, loss = (finite_summary(each.values()) for each in (sweep.sensitivities, sweep.best_losses))
        return [found.at(loss.mean if single else sweep.parameters)] if found and loss else []

    ordered = sweeps if single else sorted(sweeps, key=lambda sweep: sweep.parameters)
    words: dict[str, Any] = {"ylabel": "LR sensitivity", "better": -1}
    if single:
        title = "How much interventions depend on the learning rate, and how well they train at the best one"
        words |= {"xlabel": "loss at the best learning rate (lower is better)", "logx": 0, "title": title}
    elif _alike({sweep.size: sweep.parameters for sweep in sweeps}.values()):
        sizes = list(dict.fromkeys(sweep.size for sweep in ordered))
        # shapes of equal size: their numbers of parameters do not tell them apart
        title = "Sensitivity to the learning rate, by shape of the network"
        words |= {"xlabel": "shape: width x depth", "places": sizes, "logx": 0, "title": title}
        lines = [(s.intervention, [(float(sizes.index(s.size)), *p[1:]) for p in points(s)]) for s in ordered]
        return draw_panels(panels_of(("", *line) for line in lines), **words)
    else:
        words |= {"xlabel": "parameters", "title": "Sensitivity to the learning rate, by size of the network"}
    return draw_panels(panels_of(("", sweep.intervention, points(sweep)) for sweep in ordered), **words)


def _alike(parameters: Iterable[int]) -> bool:
    """Whether two networks have nearly the same number of parameters, so that an axis of it would put them together."""
    return any(larger < 1.1 * smaller for smaller, larger in pairwise(sorted(set(parameters))))


def _of_one_size(sweeps: Sequence[Sweep]) -> bool:
    return len({sweep.size for sweep in sweeps}) == 1


def draw_tracked(sweeps: Sequence[Sweep], what: str) -> Figure:
    """A probe at the end over the number of parameters, a line for each learning rate; hollow: predicted."""
    panels = panels_of(
        (sweep.intervention, f"LR {rate:g}", [(sweep.parameters, value, 0.0)])
        for sweep in sorted(sweeps, key=lambda sweep: sweep.parameters)
        for rate, value in sweep.final_values(TRACKED[what]).items()
    )
    held_out = panels_of(
        (intervention, f"LR {rate:g}", [(held.prediction.size, held.prediction.value, 0.0)])
        for intervention in panels
        for rate, held in predict_largest(sweeps, intervention, TRACKED[what]).items()
    )
    title = f"{what[0].upper()}{what[1:]} at the end of the training, by size and learning rate"
    title += "; hollow: predicted from the smaller sizes" if held_out else ""
    logits = what == "max attention logit"
    levels = {"losses suffer": LOSS_SUFFERS, "all diverged": ALL_DIVERGED} if logits else {}
    return draw_panels(
        panels, xlabel="parameters", ylabel=what, title=title, logy=True, levels=levels, predicted=held_out
    )
