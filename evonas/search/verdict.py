"""What to tell people at the end of a search: whether it was one, what stood in its way, and how to go on."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from evonas.config import BudgetConfig, SearchConfig
from evonas.search.archive import Archive
from evonas.search.budget import Clock, budget_text
from evonas.search.driver import Ending
from evonas.search.outcome import EXECUTION, OF_THE_MOMENT, RESOURCE, Rejection
from evonas.search.rungs import STAGE as RUNGS

START_SECONDS = 20.0  # a session with less time than this is over before its first step
BUDGETS = (60, 180, 600, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800)  # seconds that people would type
_LEARNING_RATE = "try a lower learning rate (training.learning_rate, or one more in training.learning_rates)"
_REMEDIES: Mapping[tuple[str, str], str] = {
    ("quality", "accuracy too low"): "lower the limit of the quality gate (protocols.quality.min_accuracy), or train "
    "longer before it (protocols.quality.steps)",
    ("quality", "diverged"): _LEARNING_RATE,
    ("training", "diverged"): _LEARNING_RATE,
    ("stability", ""): "raise the limit of the stability protocol (protocols.stability.limit), or take fewer steps "
    "(protocols.stability.steps)",
    (RUNGS, ""): "ask less of layers at the rungs (rungs.least, rungs.reduction)",
    ("objectives", ""): "switch the objective off that is not finite ([objectives])",
    (RESOURCE, "took too long"): "allow more time for an evaluation (execution.timeout_seconds)",
    (RESOURCE, ""): "use fewer workers (execution.workers)",
    (EXECUTION, ""): "see where it comes from with --workers 0",
}


def verdict(archive: Archive, config: SearchConfig) -> list[str]:
    """Whether a search was long enough to mean anything, and what rejected everything, if something did.

    Its first ``initial_random`` candidates are drawn at random, so a search that evaluated no more than these has
    selected nothing.
    """
    rejections, scored = archive.ends()
    evaluated, first = scored + len(rejections), config.evolution.initial_random
    lines = []
    if evaluated and not scored:
        lines.append(_all_rejected(rejections))
    elif not evaluated:
        missing = [name for name in config.baselines if name not in archive.baselines()]
        lines.append(
            "no candidate was evaluated" + (f", and baselines are missing: {', '.join(missing)}" if missing else "")
        )
    if 0 < evaluated < first:
        what = "1 candidate is" if evaluated == 1 else f"{evaluated} candidates are"
        rule = f"the first {first} are drawn at random (evolution.initial_random), and selection begins after them"
        lines.append(f"{what} no search yet: {rule}")
    return lines


def _all_rejected(rejections: Sequence[Rejection]) -> str:
    """Which protocol rejected most, and what to change."""
    counts: dict[tuple[str, str], list[Rejection]] = {}
    for rejection in rejections:
        counts.setdefault((rejection.stage, rejection.reason), []).append(rejection)
    (stage, reason), most = max(counts.items(), key=lambda item: len(item[1]))
    measured = [(r.measured, r.limit) for r in most if r.measured is not None and r.limit is not None]
    held = (
        f" (the best had {max(measured)[0]:.4g}, the limit is {measured[0][1]:.4g})"
        if stage == "quality" and measured
        else ""
    )
    every, was = (f"all {len(rejections)} candidates", "were") if len(rejections) > 1 else ("the only candidate", "was")
    share = "" if len(most) == len(rejections) else f", {len(most)} of them"
    remedy = _REMEDIES.get((stage, reason)) or _REMEDIES.get((stage, "")) or f"change what {stage} asks of a layer"
    detail = f": {most[0].detail}" if stage in OF_THE_MOMENT and most[0].detail else ""
    where = "" if stage in OF_THE_MOMENT else "in a new run, "  # one that goes on may not change what scores depend on
    return f"{every} {was} rejected{share} by {stage}: {reason}{detail}{held}; {where}{remedy}"


def how_to_go_on(folder: Path, ending: Ending, clock: Clock, evaluated: int, config: SearchConfig) -> str:
    """The command that goes on with a run, with a larger budget where it needs one; or why that would not help."""
    if ending is Ending.EXHAUSTED:
        tried = f"none of {config.evolution.max_proposals} proposals passed the screens as a new function"
        return f"{tried}; in a new run, allow more (evolution.max_proposals), or a larger [space]"
    command = f"evonas search --run {shlex.quote(str(folder))} --resume"
    spent = ending is Ending.BUDGET or clock.left < START_SECONDS
    if spent:
        command += f" --budget {budget_text(_larger(clock, evaluated, config))}"
    return f"go on with{' a larger budget' if spent else ''}: {command}"


def _larger(clock: Clock, evaluated: int, config: SearchConfig) -> BudgetConfig:
    """Twice as many candidates or as much time; at least enough for twice the candidates that are drawn at random."""
    enough = 2 * config.evolution.initial_random
    if clock.budget.evaluations and not (clock.budget.minutes and clock.left <= 0):
        return BudgetConfig(evaluations=max(2 * clock.budget.evaluations, enough))
    seconds = max(2 * 60 * clock.budget.minutes, enough * clock.seconds / max(evaluated, 1))
    return BudgetConfig(minutes=next((size for size in BUDGETS if size >= seconds), 2 * seconds) / 60)
