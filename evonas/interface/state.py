"""How a search stands, as data: what whoever proposes layers to it wants to know."""

import time
from math import isfinite
from typing import Any

from evonas.config import SearchConfig
from evonas.errors import InputError, first_line
from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, PRIMITIVES
from evonas.graph.space import SearchSpace
from evonas.interface.overview import RUNNING, summarize
from evonas.interface.proposals import require_loaded
from evonas.runs.folder import RunFolder
from evonas.search import inbox
from evonas.search.archive import Archive
from evonas.search.budget import seconds_of_sessions
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.making import make_search
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Candidate, Evaluation, Rejection
from evonas.search.ranking import baselines, ranking, undominated

FORMAT = "evonas-state/1"
EXAMPLES = 3  # layers for each reason of a rejection
WAITING, SCORED, REJECTED, SCREENED_OUT, REFUSED = "waiting", "scored", "rejected", "screened out", "refused"


def state_of(run: RunFolder, count: int = 10) -> dict[str, Any]:
    """How a run stands; docs/propose.md says what each key holds. The run may be running.

    Args:
        run: its folder.
        count: how many layers there are at most in each of ``top``, ``window`` and ``tried``.

    Raises:
        InputError: there is no run, or it needs an extension that is not loaded.
    """
    settings = run.require().config()
    require_loaded(run, settings)
    entries = ranking(run)
    waiting = _waiting(run)  # before the archive is read: what leaves the inbox is in the archive by then
    with Archive.open(run.archive_file, read_only=True) as archive:
        told = archive.told()
        latest = list(archive.records(first=max(told - count, 0)))
        state = summarize(run.path).state
        recorded, refused = _recorded(archive)
        found = {
            "format": FORMAT,
            "run": str(run.path),
            "state": state,
            "budget": _budget(archive, settings, told, running=state == RUNNING),
            "space": _space(settings),
            "objectives": _objectives(settings),
            "window": _window(archive, settings, count),
            "rejections": _rejections(archive),
            "tried": [_tried(*record) for record in reversed(latest[-count:])],
        }
    front = sorted(undominated(entries), key=lambda entry: entry.rank)
    known = {proposal["id"] for proposal in recorded}
    return found | {
        "baselines": [entry.as_json() for entry in baselines(run)],
        "top": [entry.as_json() for entry in entries[:count]],
        "front": [entry.as_json() for entry in front],
        "proposals": [*recorded, *refused, *(each for each in waiting if each["id"] not in known)],
    }


def _budget(archive: Archive, settings: SearchConfig, evaluated: int, *, running: bool) -> dict[str, Any]:
    """What is used and what is left; None where there is no limit."""
    seconds = seconds_of_sessions(archive)
    if running:  # the session has gone on since its last mark
        last = archive.last_time()
        seconds += max(time.time() - last, 0.0) if last else 0.0
    budget, used = settings.budget, seconds / 60
    return {
        "evaluated": evaluated,
        "evaluations_left": max(budget.evaluations - evaluated, 0) if budget.evaluations else None,
        "minutes_used": round(used, 3),
        "minutes_left": round(max(budget.minutes - used, 0.0), 3) if budget.minutes else None,
    }


def _space(settings: SearchConfig) -> dict[str, Any]:
    space = SearchSpace.from_config(settings.space)
    operations = {name: PRIMITIVES[name] for name in space.primitives}
    return {
        "layout": space.layout,
        "nodes": space.intermediate_nodes,
        "inputs": {name: PRIMITIVES[name].meaning for name in INITIAL_NODES},
        "operations": {
            name: {"operands": each.arity, "meaning": each.meaning}
            for name, each in operations.items()
            if each.kind != "moment"
        },
        "moments": {name: each.meaning for name, each in operations.items() if each.kind == "moment"},
        "index_sets": {name: INDEX_SETS[name].meaning for name in space.index_sets},
    }


def _objectives(settings: SearchConfig) -> dict[str, str]:
    """What is searched for, by name."""
    tasks = {task.label: "accuracy on this network, larger is better" for task in settings.tasks}
    extras = {name: OBJECTIVES.find(name, "objectives") for name in settings.objectives.names}
    return tasks | {name: f"{each.meaning}, {each.direction}" for name, each in extras.items()}


def _window(archive: Archive, settings: SearchConfig, count: int) -> dict[str, Any]:
    """Those that can become parents once all recorded results are known to the search."""
    known = archive.baselines()
    trained = (known[name] for name in settings.baselines if name in known and not known[name].rejection)
    search = make_search(settings, next(trained, None))
    try:
        for asked, evaluation in archive.in_order():
            search.ask(asked)
            search.tell(asked.index if isinstance(asked, Candidate) else asked, evaluation)
    except RuntimeError as error:  # the search would not have asked for it
        raise InputError("the archive of the run", f"is not that of a search ({first_line(error)})") from None
    found = sorted(search.population, key=lambda member: (-member.steps, -member.mean, member.index))
    return {"size": len(found), "layers": [_member(member) for member in found[:count]]}


def _member(member: Individual) -> dict[str, Any]:
    return {
        "candidate": member.index,
        **_layer(member.genome),
        "steps": None if member.steps == FULL_TRAINING else member.steps,
        "objectives": dict(member.objectives),
        "mean": member.mean,
    }


def _rejections(archive: Archive) -> list[dict[str, Any]]:
    examples = archive.rejected(EXAMPLES)
    return [
        {
            "stage": stage,
            "reason": reason,
            "count": count,
            "examples": [
                {"formula": Genome.from_text(text).formula(), "detail": said.detail}
                for text, said in examples
                if (said.stage, said.reason) == (stage, reason)
            ],
        }
        for (stage, reason), count in archive.rejection_counts().most_common()
    ]


def _tried(candidate: Candidate, evaluation: Evaluation) -> dict[str, Any]:
    proposal = candidate.proposal
    return {
        "candidate": candidate.index,
        **_layer(candidate.genome),
        "operator": proposal.operator,
        "parent": proposal.parent,
        **_ended(evaluation.rejection, evaluation),
    }


def _recorded(archive: Archive) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The proposals from outside that are recorded, and the files of the inbox that were none."""
    found = []
    for each in archive.handed_in():
        candidate, _, attempt = each.subject.partition("/")
        found.append(
            {
                "id": each.origin.id,
                **_layer(each.genome),
                "from": each.origin.by,
                "note": each.origin.note,
                "candidate": None if attempt else int(candidate),
                **_ended(each.rejection, each.evaluation),
            }
        )
    events = archive.events()
    return found, [_unread(None, REFUSED, detail) for _, kind, detail in events if kind == REFUSED]


def _waiting(run: RunFolder) -> list[dict[str, Any]]:
    found = []
    for name in inbox.waiting(run.inbox_folder):
        try:
            genome, origin = inbox.read(run.inbox_folder / name)
        except FileNotFoundError:  # it was taken meanwhile
            continue
        except InputError as error:
            found.append(_unread(None, WAITING, f"{name}: {error}"))
            continue
        said = {"from": origin.by, "note": origin.note}
        found.append({**_unread(origin.id, WAITING), **_layer(genome), **said})
    return found


def _unread(id_: str | None, ended: str, detail: str = "") -> dict[str, Any]:
    """What is said of a proposal that has not got to the screens."""
    nothing = dict.fromkeys(("formula", "text", "from", "note", "candidate"))
    return {"id": id_, **nothing, **_ended(None, None), "ended": ended, "detail": detail}


def _layer(genome: Genome) -> dict[str, str]:
    return {"formula": genome.formula(), "text": genome.active().to_text()}


def _finite(number: float | None) -> float | None:
    """JSON has no infinity."""
    return number if number is not None and isfinite(number) else None


def _ended(rejection: Rejection | None, evaluation: Evaluation | None) -> dict[str, Any]:
    ended = SCORED if rejection is None else SCREENED_OUT if evaluation is None else REJECTED
    return {
        "ended": ended,
        "stage": rejection.stage if rejection else None,
        "reason": rejection.reason if rejection else None,
        "task": rejection.task or None if rejection else None,
        "measured": _finite(rejection.measured) if rejection else None,
        "limit": _finite(rejection.limit) if rejection else None,
        "detail": rejection.detail if rejection else "",
        "objectives": dict(evaluation.objectives) if evaluation else {},
        "mean": evaluation.mean if evaluation else None,
    }
