"""The search itself, as ask and tell: steady state, asynchronous, and the same whatever the number of workers."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import islice
from typing import Any

from evonas.config import EvolutionConfig
from evonas.errors import InputError, first_line
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.graph.variation import cross, mutate
from evonas.search import selection
from evonas.search.foresight import Foresight, LookAhead
from evonas.search.guide.pool import STAGE as GUIDE
from evonas.search.guide.pool import Pool
from evonas.search.guide.surrogate import Surrogate
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.outcome import (
    OF_THE_MOMENT,
    Candidate,
    Evaluation,
    Origin,
    Proposal,
    Rejection,
    Remeasurement,
    one_line,
)
from evonas.search.population import Population
from evonas.search.protocols import EQUIVALENCE, repeats, silent
from evonas.search.racing.race import Race
from evonas.search.rungs import STAGE as RUNGS
from evonas.search.rungs import Hurdle, Ladder, furthest, scores_at
from evonas.seeding import derive_seed

Screen = Callable[[Genome], Rejection | str]
Probe = Callable[[Genome], Rejection | None]
OnProposal = Callable[[int], None]

_OF_THE_MOMENT = (EQUIVALENCE, GUIDE, *OF_THE_MOMENT)  # stages of rejections that are not of the layer alone
MOST_VERDICTS = 100_000  # kept at a time; a guided search screens hundreds of proposals for each candidate
PATIENCE = 100  # proposals of one kind for a place in a pool, and children of one kind for a candidate
PATIENCE_AT_RANDOM = 5000  # random graphs for a candidate, of which one of some hundred passes


def _nothing(_: int) -> None:
    return None


def _no_screen(_: Genome) -> str:
    return ""


def _no_probe(_: Genome) -> None:
    return None


class SearchExhaustedError(RuntimeError):
    """No new layer was found in the allowed number of proposals."""


class Search:
    """Evolution by tournament in a sliding window (ageing), or NSGA-II, over layers that pass the screens.

    ``ask`` gives the next candidate, ``tell`` takes its evaluation. At most ``look_ahead`` candidates are open at a
    time, and they are told in the order in which they were asked; so candidate n is drawn after exactly
    max(0, n - look_ahead + 1) results, and with its own random stream (seed, n). The search is then a function of
    (configuration, seed) alone; where layers were proposed from outside, also of these and of the candidates before
    which they were drawn. Asking with recorded candidates and telling recorded evaluations brings it to the recorded
    state.

    With a race, ``ask`` gives now and then a layer that is to be measured again instead of a candidate. All of the
    above holds for both together, n being the place in the order of asking; candidates are numbered by themselves.
    Parents are then chosen by their posterior means.

    Args:
        space: where genomes come from.
        settings: the ``[evolution]`` section.
        seed: of the run.
        screen: protocols without training, ``Screens(...)``: a rejection, or the fingerprint of the layer's function;
            "" if it has none, so that repeats are not noticed. Without it, most candidates ignore their input.
        probe: a slower protocol without training, ``Screens(...).probe``, for functions that were no candidate before.
        ladder: hurdles at the rungs of a training; without one, layers are trained in full.
        initial: the first candidates' layers.
        race: which layers are measured again, and what is believed of each; without one, none are.
        reference: the baseline that a race measures in every round.
        guide: chooses among proposals; without one, the first that passes screens and probe is the candidate.
        look_ahead: probes proposals before their turn, of which the search does not depend.
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: EvolutionConfig | None = None,
        seed: int = 1,
        screen: Screen = _no_screen,
        probe: Probe = _no_probe,
        *,
        ladder: Ladder | None = None,
        initial: Sequence[Genome] = (),
        race: Race | None = None,
        reference: Genome | None = None,
        guide: Surrogate | None = None,
        look_ahead: LookAhead | None = None,
    ) -> None:
        self._space, self._settings, self._seed = space, settings or EvolutionConfig(), seed
        self._screen, self._probe, self._look_ahead = screen, probe, look_ahead
        self._ladder, self._initial, self._guide = ladder, tuple(initial), guide
        self._proposed: deque[Proposal] = deque()  # from outside, and not drawn yet
        self._race, self._reference = race, reference
        self._asked = self._measured = 0  # candidates and measurements that were given out
        self._open: deque[Candidate | Remeasurement] = deque()
        self._seen: dict[str, int] = {}
        self._verdicts: dict[str, Rejection | str] = {}  # of the screens, by content key
        self._failed: dict[str, Rejection] = {}  # what the probe rejected, by content key
        self._population = Population(self._settings)
        self._scored: dict[int, Genome] = {}  # of candidates that a race may measure
        self._front: list[Individual] = []

    @property
    def asked(self) -> int:
        """How many candidates were given out."""
        return self._asked

    @property
    def told(self) -> int:
        """How many evaluations of candidates came back."""
        return self._asked - sum(isinstance(what, Candidate) for what in self._open)

    @property
    def may_ask(self) -> bool:
        """Whether another candidate or measurement may be open."""
        return len(self._open) < self._settings.look_ahead

    @property
    def population(self) -> tuple[Individual, ...]:
        """Those that can become parents: the window, or NSGA-II's survivors."""
        self._population.settle(self._levels)
        return tuple(self._population.members)

    @property
    def front(self) -> tuple[Individual, ...]:
        """The Pareto front over the scores of all candidates that were told, in order of index."""
        return tuple(self._front)

    def hurdles(self) -> tuple[Hurdle, ...]:
        """What the candidate asked for last must reach at each rung, by the results told so far."""
        return self._ladder.hurdles() if self._ladder is not None else ()

    def propose(self, genome: Genome, origin: Origin | None = None) -> None:
        """Queue a layer from outside. It is drawn before the search's own proposals, after those queued earlier.

        It passes through the same screens. The layers of ``initial`` come before all that is queued.

        Args:
            genome: the layer.
            origin: who proposes it.

        Raises:
            InputError: it is none of the search's space.
        """
        origin = origin or Origin()
        self._proposed.append(Proposal(self._space.padded(genome), None, f"proposed by {origin.by}", origin))

    def ask(
        self, recorded: Candidate | Remeasurement | None = None, *, on_proposal: OnProposal = _nothing
    ) -> Candidate | Remeasurement:
        """The next candidate, or the next layer to be measured again.

        Args:
            recorded: what an archive holds of it, which is taken as it is.
            on_proposal: called before each proposal with the number of those that were screened out so far. It may
                raise to end the search, which must not be used after that.

        Raises:
            RuntimeError: too many are open, or the record is of another place in the order.
            SearchExhaustedError: nothing new was found in ``max_proposals`` draws.
        """
        if not self.may_ask:
            open_ones = ", ".join(map(_name, self._open))
            raise RuntimeError(f"ask() with {open_ones} open; tell() one first, look_ahead is {len(self._open)}")
        if isinstance(recorded, Candidate) and recorded.index != self._asked:
            raise RuntimeError(f"ask() got the record of candidate {recorded.index}, but the next is {self._asked}")
        if isinstance(recorded, Remeasurement) and recorded.position != self._position:
            raise RuntimeError(f"ask() got the record of place {recorded.position}, but the next is {self._position}")
        asked = recorded or self._measurement() or self._draw(on_proposal)
        if isinstance(asked, Remeasurement):
            assert self._race is not None, "only a race has measurements"
            self._race.ask(asked.round, asked.candidate)
            self._measured += 1
        else:
            self._take(asked, replayed=recorded is not None)
            self._asked += 1
        self._open.append(asked)
        return asked

    def tell(self, what: int | Remeasurement, evaluation: Evaluation) -> None:
        """Take the evaluation of a candidate, by its index, or of a measurement.

        Raises:
            RuntimeError: it is not open, not the oldest open one, or the evaluation is of another genome or has other
                extras than earlier ones.
        """
        asked = next(
            (each for each in self._open if what == (each.index if isinstance(each, Candidate) else each)), None
        )
        name = f"candidate {what}" if isinstance(what, int) else what.label
        if asked is None:
            open_ones = ", ".join(map(_name, self._open)) or "none; call ask() first"
            raise RuntimeError(f"tell() got {name}, but open are: {open_ones}")
        if asked is not self._open[0]:
            raise RuntimeError(f"tell() got {name} before {_name(self._open[0])}; results are told in the order asked")
        if evaluation.key != asked.genome.key:
            raise RuntimeError(f"tell() got an evaluation of {evaluation.key} for {name}")
        if isinstance(asked, Candidate):
            self._require_extras(asked, evaluation)
            self._open.popleft()
            self._tell(asked, evaluation)
        elif self._race is not None:
            self._open.popleft()
            self._race.tell(asked.round, asked.candidate, evaluation.mean)
        if self._race is not None:
            self._population.results_changed()

    @property
    def _position(self) -> int:
        return self._asked + self._measured

    def _require_extras(self, candidate: Candidate, evaluation: Evaluation) -> None:
        if evaluation.objectives and self._front and self._front[0].extras.keys() != evaluation.extras.keys():
            found, known = (", ".join(names) or "none" for names in (evaluation.extras, self._front[0].extras))
            raise RuntimeError(
                f"tell() got extras {found} for candidate {candidate.index}, but earlier ones have {known}"
            )

    def _take(self, candidate: Candidate, *, replayed: bool) -> None:
        for proposal, rejection in candidate.screened_out if replayed else ():
            if rejection == silent(proposal.parent):
                self._population.drift(proposal.parent, proposal.genome)
            elif rejection.stage not in _OF_THE_MOMENT:  # a pool takes no layer that is known to fail the probe
                self._failed[proposal.genome.key] = rejection
        if candidate.fingerprint:
            self._seen.setdefault(candidate.fingerprint, candidate.index)

    def _tell(self, candidate: Candidate, evaluation: Evaluation) -> None:
        index, genome = candidate.index, candidate.genome
        if self._ladder is not None:
            self._ladder.tell(evaluation)
        if evaluation.mean is not None:
            individual = Individual.of(index, genome, evaluation.objectives, FULL_TRAINING, evaluation.extras)
            self._front = selection.admitted(self._front, individual)
            if self._race is not None:
                self._scored[index] = genome
                self._race.found(index, genome.family, evaluation.mean)
                individual = copy(individual)  # the front goes by scores
            self._population.admit(individual, self._levels)
        elif (steps := parental_steps(evaluation)) and self._settings.algorithm == "tournament":
            self._population.admit(Individual.of(index, genome, scores_at(evaluation, steps), steps))
        if self._guide is not None:
            self._guide.tell(candidate, evaluation, self._levels)

    def _measurement(self) -> Remeasurement | None:
        """The measurement that is due now, if there is one."""
        due = self._race.next(self._position) if self._race is not None else None
        if due is None:
            return None
        round_, candidate = due
        genome = self._reference if candidate is None else self._scored[candidate]
        assert genome is not None, "a race with a reference has its layer"
        return Remeasurement(self._position, round_, candidate, genome)

    def _levels(self) -> Mapping[int, float]:
        """The posterior means of scored candidates; none without a race."""
        return self._race.levels() if self._race is not None else {}

    def _draw(self, on_proposal: OnProposal) -> Candidate:
        rng = random.Random(derive_seed(self._seed, "candidate", self._asked))
        out: list[tuple[Proposal, Rejection]] = []
        if (candidate := self._draw_proposed(out, on_proposal)) is not None:
            return candidate
        counts: dict[tuple[str, str], int] = {}
        if self._guide is not None and self._may_guide and rng.random() >= self._settings.unguided:
            pool = self._pool(rng, on_proposal)
            chosen = pool.choose(self._guide, self._probed, self._look_ahead)
            out, counts = [*out, *pool.screened_out], pool.counts
            if chosen is not None:
                return Candidate(self._asked, *chosen, tuple(out), pool.prediction, counts)
        foresight = Foresight(self._look_ahead, partial(self._upcoming, rng.getstate()))
        for proposal in self._proposals(rng):
            on_proposal(len(out))
            verdict = self._screened(proposal)
            if isinstance(verdict, str):
                foresight.before_probe()
                verdict = self._probed(proposal.genome) or verdict
            if isinstance(verdict, str):
                return Candidate(self._asked, proposal, verdict, tuple(out), counts=counts)
            out.append((proposal, verdict))
        raise SearchExhaustedError(
            f"no new layer in {self._settings.max_proposals} proposals after {self._asked} candidates"
        )

    def _upcoming(self, state: tuple[Any, ...], count: int) -> list[Genome]:
        """The layers that are probed next, from a state of the stream on, if the probe rejects all of them."""
        rng, population = random.Random(), self._population
        rng.setstate(state)
        self._population = population.copied()
        try:
            passed = (each.genome for each in self._proposals(rng) if isinstance(self._screened(each), str))
            return list(islice(passed, count))
        finally:
            self._population = population

    def _draw_proposed(self, out: list[tuple[Proposal, Rejection]], on_proposal: OnProposal) -> Candidate | None:
        """The first queued proposal from outside that passes; those before it are added to ``out``."""
        while self._proposed and self._asked >= len(self._initial):
            on_proposal(len(out))
            proposal = self._proposed.popleft()
            try:
                verdict = self._judge(proposal)
            except InputError:
                raise  # a screen that is wrong in itself, whatever the layer
            except Exception as error:  # users' own screens may not have met such a layer
                verdict = screen_failed(error)
            if isinstance(verdict, str):
                return Candidate(self._asked, proposal, verdict, tuple(out))
            out.append((proposal, verdict))
        return None

    @property
    def _may_guide(self) -> bool:
        first = max(self._settings.initial_random, len(self._initial))
        return self._asked >= first and self._guide is not None and self._guide.fitted_to > 0

    def _pool(self, rng: random.Random, on_proposal: OnProposal) -> Pool:
        """Proposals that pass the screens, among which the share of random ones is ``random_injection``."""
        pool = Pool()
        while len(pool.members) < self._settings.pool and pool.proposed < self._settings.max_proposals:
            for proposal in islice(self._of_a_kind(rng, fresh=self._draws_at_random(rng)), PATIENCE):
                on_proposal(pool.proposed)
                if pool.take(proposal, self._screened(proposal)):
                    break
        return pool

    def _judge(self, proposal: Proposal) -> Rejection | str:
        """What screens and probe say."""
        verdict = self._screened(proposal)
        rejection = self._probed(proposal.genome) if isinstance(verdict, str) else None
        return rejection or verdict

    def _probed(self, genome: Genome) -> Rejection | None:
        """What the probe says of a layer that passed the screens."""
        rejection = self._probe(genome)
        if rejection is not None:
            self._failed[genome.key] = rejection
        return rejection

    def _screened(self, proposal: Proposal) -> Rejection | str:
        """What screens say; most mutations hit an inactive node, and such a child need not be looked at again."""
        key = proposal.genome.key
        if key in self._failed:
            return self._failed[key]
        if key not in self._verdicts:
            if len(self._verdicts) >= MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[key] = self._screen(proposal.genome)
        verdict = self._verdicts[key]
        if isinstance(verdict, Rejection):
            return verdict
        if verdict in self._seen:
            first = self._seen[verdict]
            if first == proposal.parent:
                self._population.drift(proposal.parent, proposal.genome)
            return silent(first) if first == proposal.parent else repeats(first)
        return verdict

    def _proposals(self, rng: random.Random) -> Iterator[Proposal]:
        """``max_proposals`` proposals for one candidate."""
        left = self._settings.max_proposals
        if self._asked < len(self._initial):
            yield Proposal(self._initial[self._asked], None, "initial")
            left -= 1
        while left > 0:
            fresh = self._draws_at_random(rng)
            patience = min(left, PATIENCE_AT_RANDOM if fresh else PATIENCE)
            yield from islice(self._of_a_kind(rng, fresh=fresh), patience)
            left -= patience

    def _draws_at_random(self, rng: random.Random) -> bool:
        """Whether what comes next has no parents."""
        young = self._asked < self._settings.initial_random or not self._population.members
        return young or rng.random() < self._settings.random_injection

    def _of_a_kind(self, rng: random.Random, *, fresh: bool) -> Iterator[Proposal]:
        """Proposals without end that are all random, all mutants or all of two parents.

        The kind is chosen first, so that shares are those of the layers that pass the screens: few random ones do.
        """
        crossed = not fresh and self._settings.crossover > 0 and rng.random() < self._settings.crossover
        while True:
            yield self._random(rng) if fresh else self._child(rng, crossed=crossed)

    def _random(self, rng: random.Random) -> Proposal:
        return Proposal(self._space.sample(rng), None, "random")

    def _child(self, rng: random.Random, *, crossed: bool) -> Proposal:
        parent = self._population.parent(rng, self._levels)
        if crossed:
            donor = self._population.parent(rng, self._levels)
            if (made := cross(parent.genome, donor.genome, self._space, rng)) is not None:
                child, operator = made
                return Proposal(child, parent.index, f"{operator}, donor {donor.index}")
        child, operator = mutate(parent.genome, self._space, rng, point=self._settings.point_mutation)
        return Proposal(child, parent.index, operator)


def _name(asked: Candidate | Remeasurement) -> str:
    return f"candidate {asked.index}" if isinstance(asked, Candidate) else asked.label


def screen_failed(error: Exception) -> Rejection:
    """The rejection of a layer from outside on which a screen raises an error."""
    return Rejection("execution", "a screen failed", detail=one_line(f"{type(error).__name__}: {first_line(error)}"))


def parental_steps(evaluation: Evaluation) -> int:
    """The rung at which a layer that was stopped there may become a parent: any but the first; 0 if it may not."""
    if evaluation.rejection is None or evaluation.rejection.stage != RUNGS:
        return 0
    last = furthest(evaluation)
    first = min(at for points in evaluation.rungs.values() for at, _ in points)
    return last if last > first else 0
