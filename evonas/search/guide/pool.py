"""The pool of a guided draw: proposals that passed the screens, of which the guide chooses one."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from evonas.graph.genome import Genome
from evonas.search.foresight import LookAhead
from evonas.search.guide.surrogate import Surrogate
from evonas.search.outcome import Prediction, Proposal, Rejection
from evonas.search.protocols import silent

STAGE = "guide"
AGAIN = Rejection("equivalence", "same function as another proposal of its pool")
Probe = Callable[[Genome], Rejection | None]


@dataclass
class Pool:
    """Proposals that passed the screens, each a function of its own, and what became of all others.

    Most proposals repeat a function or ignore their input. They are counted by stage and reason, not kept: there are
    hundreds for each candidate.
    """

    members: list[tuple[Proposal, str]] = field(default_factory=list)  # each with its fingerprint
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    proposed: int = 0
    prediction: Prediction | None = None  # of the chosen member
    screened_out: tuple[tuple[Proposal, Rejection], ...] = ()  # once one was chosen
    _functions: set[str] = field(default_factory=set)
    _drifted: dict[int, Proposal] = field(default_factory=dict)  # the last silent mutation of each parent
    _failed: dict[int, Rejection] = field(default_factory=dict)  # members that the probe rejected, by their numbers

    def take(self, proposal: Proposal, verdict: Rejection | str) -> bool:
        """Take a proposal and what the screens say of it; whether it is a new member."""
        self.proposed += 1
        if isinstance(verdict, str):
            function = verdict or proposal.genome.key
            if function not in self._functions:
                self._functions.add(function)
                self.members.append((proposal, verdict))
                return True
            verdict = AGAIN
        if proposal.parent is not None and verdict == silent(proposal.parent):
            if proposal.parent in self._drifted:
                self.counts[verdict.stage, verdict.reason] += 1
            self._drifted[proposal.parent] = proposal
        else:
            self.counts[verdict.stage, verdict.reason] += 1
        return False

    def choose(
        self, guide: Surrogate, probe: Probe, look_ahead: LookAhead | None = None
    ) -> tuple[Proposal, str] | None:
        """The member of greatest expected improvement that passes the probe, and its fingerprint; None if none does."""
        expected = guide.predict([proposal.genome for proposal, _ in self.members]) if self.members else []
        order = sorted(range(len(expected)), key=lambda n: -expected[n].improvement)
        for place, number in enumerate(order):
            if look_ahead is not None and place % look_ahead.width == 0:
                look_ahead.ahead(self.members[n][0].genome for n in order[place : place + look_ahead.width])
            proposal, _ = self.members[number]
            if (rejection := probe(proposal.genome)) is None:
                self.prediction = expected[number]
                self.screened_out += self._left(number, expected)
                return self.members[number]
            self._failed[number] = rejection
        self.screened_out += self._left(None, expected)
        return None

    def _left(self, chosen: int | None, expected: list[Prediction]) -> tuple[tuple[Proposal, Rejection], ...]:
        """All that is kept of the pool beside the chosen member."""
        out = [(proposal, silent(parent)) for parent, proposal in self._drifted.items()]
        for number, (proposal, _) in enumerate(self.members):
            if number in self._failed:
                out.append((proposal, self._failed[number]))
            elif chosen is not None and number != chosen:
                measured, limit = expected[number].improvement, expected[chosen].improvement
                out.append((proposal, Rejection(STAGE, "less promising", measured=measured, limit=limit)))
        return tuple(out)
