"""What a study says: perplexities beside the dense model's, what was dropped and saved, and how fast it decodes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from evonas.report.statistics import Interval, t_interval
from evonas.runs.store import Outcome
from evonas.studies.sparsity.study import Grid, Measurement, Place

RATIO = {"ratio": "mean", "low": "low", "high": "high"}  # keys of JSON and what they say of the interval


@dataclass(frozen=True, slots=True)
class Score:
    """How well a model predicts a text.

    Attributes:
        perplexity: exp of the mean negative log-likelihood of a token; None where that is not finite.
        ratio: to the dense model's, with the 95 % interval of Student's t over windows, paired: it bounds what other
            windows of this text would give, and says nothing about other texts. None without either.
        tokens: scored.
    """

    perplexity: float | None
    ratio: Interval | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of the sparse and of the dense model, and how many times as fast, by round."""

    tokens_per_second: float
    dense_tokens_per_second: float
    ratios: tuple[float, ...]
    bound: float
    sparse_layers: int
    layers: int

    @property
    def ratio(self) -> float:
        """The median over rounds."""
        return median(self.ratios)


@dataclass(frozen=True, slots=True)
class SparsityRow:
    """One row: a setting at a sparsity, or the dense model.

    Attributes:
        place: which.
        scores: by text; None where it failed.
        achieved: the share of inputs that was dropped, weighted by weights.
        macs: multiply-accumulates of a decoded token over the dense model's, head included, attention left out.
        kinds: by kind of layer, the share that was to be dropped.
        speed: of decoding; None where it was not measured.
        failures: by text, or ``decoding``, why it gave nothing.
    """

    place: Place
    scores: Mapping[str, Score | None]
    achieved: float | None
    macs: float | None
    kinds: Mapping[str, float]
    speed: Speed | None
    failures: Mapping[str, str]


def rows_of(grid: Grid, outcomes: Mapping[Measurement, Outcome]) -> list[SparsityRow]:
    """The rows of the table, the dense model first."""
    dense = {name: outcomes[measurement] for name, measurement in grid.quality[Place(None, 0.0)].items()}
    rows = []
    for place, measurements in grid.quality.items():
        found = {name: outcomes[measurement] for name, measurement in measurements.items()}
        failures = {name: outcome.failure for name, outcome in found.items() if outcome.failure}
        values = [outcome.value for outcome in found.values() if outcome.value is not None]
        shared = values[0] if values and place.setting else {}
        speed = outcomes[grid.speed[place]] if place in grid.speed else None
        if speed is not None and speed.failure:
            failures["decoding"] = speed.failure
        rows.append(
            SparsityRow(
                place,
                {name: _score(o.value, dense[name].value) for name, o in found.items()},
                shared.get("achieved", None if place.setting else 0.0),
                shared.get("macs", None if place.setting else 1.0),
                shared.get("kinds", {}),
                _speed(speed.value) if speed is not None and speed.value is not None else None,
                failures,
            )
        )
    return rows


def sparsity_json(rows: Sequence[SparsityRow], facts: Mapping[str, Any]) -> dict[str, Any]:
    """All rows as JSON, with the facts that belong beside any of their figures."""
    return {"settings": dict(facts), "rows": [_row_json(row) for row in rows]}


def _score(value: Mapping[str, Any] | None, dense: Mapping[str, Any] | None) -> Score | None:
    if value is None:
        return None
    tokens = sum(value["tokens"])
    if None in value["nll"]:
        return Score(None, None, tokens)
    perplexity = _exp(math.fsum(value["nll"]) / tokens)
    if dense is None or None in dense["nll"]:
        return Score(perplexity, None, tokens)
    windows = zip(value["nll"], dense["nll"], value["tokens"], strict=True)
    rise = t_interval([(nll - other) / count for nll, other, count in windows])
    low, high = (None if bound is None else _exp(bound) for bound in (rise.low, rise.high))
    return Score(perplexity, Interval(_exp(rise.mean), low, high, rise.count), tokens)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))  # what is beyond has no name in floating point, nor a meaning


def _speed(value: Mapping[str, Any]) -> Speed:
    numbers = (value["sparse"], value["dense"], tuple(value["ratios"]), value["bound"])
    return Speed(*numbers, value["sparse_layers"], value["layers"])


def _score_json(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    ratio = {key: score.ratio and getattr(score.ratio, what) for key, what in RATIO.items()}
    return {"perplexity": score.perplexity, **ratio, "tokens": score.tokens}


def _row_json(row: SparsityRow) -> dict[str, Any]:
    setting = row.place.setting
    return {
        "method": setting.method if setting else "dense",
        "allocation": setting.allocation if setting else None,
        "transform": setting.transform if setting else None,
        "sparsity": row.place.sparsity,
        "achieved": row.achieved,
        "macs": row.macs,
        "kinds": dict(row.kinds),
        "texts": {name: _score_json(score) for name, score in row.scores.items()},
        "speed": row.speed and asdict(row.speed) | {"ratio": row.speed.ratio},
        "failures": dict(row.failures),
    }
