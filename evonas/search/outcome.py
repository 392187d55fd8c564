"""What is recorded of a candidate: where it came from, and how it ended."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from evonas.errors import InputError
from evonas.graph.genome import Genome

COMPILED = "compiled"
EXECUTION, RESOURCE = "execution", "resource"  # stages: an error of a layer's own; of memory, time or a worker
OF_THE_MOMENT = (EXECUTION, RESOURCE)  # what ended there may end otherwise another time
LONGEST_NAME, LONGEST_NOTE = 60, 2000  # characters


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate's end before it got scores. Rejections are data; they never become fitness values.

    Attributes:
        stage: the rejection protocol, e.g. ``numerics`` or ``quality``.
        reason: a short fixed phrase, so that counts per reason mean something.
        task: where it happened; empty if the protocol needs no task.
        measured: the number that decided, if there is one.
        limit: what it was held against.
        detail: more for people, e.g. the candidate it repeats.
    """

    stage: str
    reason: str
    task: str = ""
    measured: float | None = None
    limit: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a task reports of a trained network beside its score.

    Attributes:
        figures: further metrics, by name.
        curves: values over training steps, by name.
        pictures: PNG files, by name.
    """

    figures: Mapping[str, float]
    curves: Mapping[str, tuple[tuple[int, float], ...]]
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one layer did under one seed: objectives or a rejection, never both.

    Attributes:
        key: content key of the genome, ``candidate.genome.key``.
        seed: seed of weights and batches.
        steps: optimizer steps taken in all, at every learning rate, but for those that extras needed.
        seconds: time it took; not reproducible. 0 if it was taken over from an earlier run.
        objectives: larger is better, per task.
        rejection: set if there are no objectives.
        traces: per task, (step, loss) at a few steps; of several learning rates, those of the best one in the end.
        rungs: per task, (steps, likelihood of the training labels) at every rung it reached; of several learning rates,
            those of the best one there.
        extras: objectives beside those of tasks, by their names in ``evonas.search.objectives``; none if rejected.
            A latency is not reproducible.
        compiled: how compiling its layers went: not tried (""), ``COMPILED``, or why it failed.
        rates: per task, the learning rate with which it got its score; empty where there was only one to choose.
        findings: per task, what else is known of the trained network, where it was asked for; no archive keeps it.
    """

    key: str
    seed: int = 0
    steps: int = 0
    seconds: float = 0.0
    objectives: Mapping[str, float] = field(default_factory=dict)
    rejection: Rejection | None = None
    traces: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    rungs: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    extras: Mapping[str, float] = field(default_factory=dict)
    compiled: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)
    findings: "Mapping[str, Findings]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind, remedy in (
            ("key", str, "give that of the layer, candidate.genome.key"),
            ("seed", int, "give scores by name, as objectives={'accuracy': 0.9}"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise InputError(f"Evaluation: {name}", f"is a {type(value).__name__}", remedy=remedy)
        if bool(self.objectives) == (self.rejection is not None):
            raise ValueError(f"evaluation of {self.key}: give objectives or a rejection, exactly one of them")
        if self.extras and self.rejection is not None:
            raise ValueError(f"evaluation of {self.key}: a rejected layer has no extras")
        values = [*self.objectives.items(), *self.extras.items()]
        wrong = {name: value for name, value in values if not isfinite(value)}
        if wrong:
            raise ValueError(f"evaluation of {self.key}: objectives {wrong} are not finite; make it a rejection")

    @property
    def mean(self) -> float | None:
        """Mean over tasks, extras left out; None for a rejected layer."""
        return sum(self.objectives.values()) / len(self.objectives) if self.objectives else None

    @property
    def reused(self) -> bool:
        """Whether it was taken over from an earlier run: it took no time, and not because a worker failed."""
        return self.seconds == 0 and (self.rejection is None or self.rejection.stage not in OF_THE_MOMENT)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who proposed a layer from outside the search. Whatever cannot be printed in one line becomes a blank.

    Attributes:
        by: name of the person or program.
        note: what they say about the layer.
        id: the proposal's name in the inbox of the run; empty where it did not come through one.

    Raises:
        InputError: the name or the note is empty where it may not be, or too long.
    """

    by: str = "anonymous"
    note: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        for name, where, longest in (("by", "from", LONGEST_NAME), ("note", "note", LONGEST_NOTE)):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InputError(where, f"is a {type(value).__name__}", accepted="a text")
            text = one_line(value)
            if len(text) > longest or (name == "by" and not text):
                least = "1 to" if name == "by" else "at most"
                raise InputError(where, f"has {len(text)} characters", accepted=f"{least} {longest}")
            object.__setattr__(self, name, text)


def one_line(text: str) -> str:
    """A text whose runs of blanks, line breaks and characters that cannot be printed are single blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@dataclass(frozen=True, slots=True)
class Proposal:
    """A genome that may become a candidate.

    Attributes:
        genome: the layer.
        parent: index of the candidate it was mutated from, None for a random one.
        operator: what was done, in words.
        origin: of a layer that was proposed from outside the search, who proposed it.
    """

    genome: Genome
    parent: int | None
    operator: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A proposal from outside that is recorded, and what became of it.

    Attributes:
        subject: under which it is archived: ``"17"`` as candidate 17, ``"17/3"`` if it was screened out on the way.
        genome: the layer.
        origin: who proposed it.
        evaluation: of a candidate, how it did.
        rejection: why it has no scores; None if it has.
    """

    subject: str
    genome: Genome
    origin: Origin
    evaluation: Evaluation | None = None
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a guide expected of a layer before it was trained; see ``evonas.search.guide``.

    Attributes:
        mean: expected -ln of the share of the evaluated layers that are better.
        deviation: standard deviation of that.
        improvement: expected improvement over the good ones among the evaluated layers, by which it was chosen.
    """

    mean: float
    deviation: float
    improvement: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal that passed the screens and is to be evaluated.

    Attributes:
        index: 0, 1, ... in the order of asking; also the order of telling.
        proposal: the genome and its origin.
        fingerprint: hash of what the layer computes.
        screened_out: proposals drawn before this one that did not pass, each with its reason.
        prediction: what the guide expected of it; None if it was not chosen by one.
        counts: how many more proposals did not pass, by stage and reason; those of a guided draw are not all kept.
    """

    index: int
    proposal: Proposal
    fingerprint: str
    screened_out: tuple[tuple[Proposal, Rejection], ...] = ()
    prediction: Prediction | None = None
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict, hash=False)

    @property
    def reasons(self) -> Counter[tuple[str, str]]:
        """How many proposals before this one did not pass, by stage and reason."""
        return Counter((r.stage, r.reason) for _, r in self.screened_out) + Counter(self.counts)

    @property
    def genome(self) -> Genome:
        """The layer."""
        return self.proposal.genome

    @property
    def origins(self) -> dict[str, Origin]:
        """Who proposed what was drawn on the way to it from outside, by the subject under which it is archived."""
        drawn = {f"{self.index}/{attempt}": out for attempt, (out, _) in enumerate(self.screened_out)}
        drawn[str(self.index)] = self.proposal
        return {subject: proposal.origin for subject, proposal in drawn.items() if proposal.origin is not None}


@dataclass(frozen=True, slots=True)
class Remeasurement:
    """A layer that is measured again, in a round of a race.

    Attributes:
        position: its place in the order of asking, in which candidates are counted too.
        round: 1, 2, ...; the conditions are the same for all layers of a round.
        candidate: index of the layer's candidate; None for the baseline that a race refers to.
        genome: the layer.
    """

    position: int
    round: int
    candidate: int | None
    genome: Genome

    @property
    def label(self) -> str:
        """What it is, for people."""
        return f"{'reference' if self.candidate is None else f'candidate {self.candidate}'} in round {self.round}"
