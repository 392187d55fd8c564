"""The ask-and-tell protocol: its guards, its independence of workers, and a permanence hash of what a seed asks for.

Evaluations are a cheap deterministic function of the genome here; the oracle of replay is the uninterrupted search.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from scipy import stats

from evonas.config import EvolutionConfig, LayerConfig, ProtocolsConfig, RungsConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.search import selection
from evonas.search.engine import Search, SearchExhaustedError
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.outcome import Candidate, Evaluation, Rejection
from evonas.search.protocols import Screens, silent
from evonas.search.rungs import Hurdle, Ladder

SPACE = SearchSpace(index_sets=("chw", "hw", "ghw"))
SETTINGS = EvolutionConfig(window=10, tournament=0.2, random_injection=0.2, initial_random=6, look_ahead=3)


def screen(genome: Genome) -> Rejection | str:
    """Structure only, and the content key as fingerprint: fast."""
    if not genome.varies[-1] >= frozenset("bhw"):
        return Rejection("structure", "test")
    return genome.key


def evaluation(candidate: Candidate) -> Evaluation:
    key = candidate.genome.key
    a, b = int(key[:4], 16) / 65536, int(key[4:8], 16) / 65536
    if a < 0.2:
        return Evaluation(key, 1, rejection=Rejection("quality", "test"))
    return Evaluation(key, 1, objectives={"a": a, "b": b})


def new_search(
    seed: int = 1, settings: EvolutionConfig = SETTINGS, check: Callable[..., Rejection | str] = screen
) -> Search:
    return Search(SPACE, settings, seed, check)


def run(search: Search, count: int) -> list[Candidate]:
    asked: list[Candidate] = []
    while search.told < count:
        while search.may_ask:
            asked.append(search.ask())
        candidate = asked[search.told]
        search.tell(candidate.index, evaluation(candidate))
    return asked[:count]


def test_asking_beyond_the_look_ahead_fails() -> None:
    search = new_search()
    for _ in range(3):
        search.ask()
    assert not search.may_ask
    with pytest.raises(RuntimeError, match="look_ahead is 3"):
        search.ask()


def test_telling_an_unknown_candidate_fails_and_says_which_are_open() -> None:
    search = new_search()
    candidate = search.ask()
    with pytest.raises(RuntimeError, match="candidate 9, but open are: candidate 0"):
        search.tell(9, evaluation(candidate))
    search.tell(0, evaluation(candidate))
    with pytest.raises(RuntimeError, match="none; call ask"):
        search.tell(0, evaluation(candidate))


def test_telling_out_of_order_fails() -> None:
    search = new_search()
    search.ask()
    second = search.ask()
    with pytest.raises(RuntimeError, match="candidate 1 before candidate 0"):
        search.tell(1, evaluation(second))


def test_telling_the_evaluation_of_another_genome_fails() -> None:
    search = new_search()
    search.ask()
    with pytest.raises(RuntimeError, match="for candidate 0"):
        search.tell(0, Evaluation("0" * 16, 1, objectives={"a": 1.0}))


def test_telling_other_extras_than_before_fails() -> None:
    search = new_search()
    first, second, _ = (search.ask() for _ in range(3))
    objectives = {"a": 0.5, "b": 0.5}
    search.tell(0, Evaluation(first.genome.key, 1, objectives=objectives, extras={"latency": 2.0}))
    with pytest.raises(RuntimeError, match="extras none for candidate 1, but earlier ones have latency"):
        search.tell(1, Evaluation(second.genome.key, 1, objectives=objectives))
    search.tell(1, Evaluation(second.genome.key, 1, objectives=objectives, extras={"latency": 1.0}))
    assert [i.index for i in search.front] == [1]


def test_an_objective_that_is_not_a_number_is_refused_before_it_can_reach_selection() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Evaluation("k", 1, objectives={"a": float("nan")})
    with pytest.raises(ValueError, match=r"latency.*not finite"):
        Evaluation("k", 1, objectives={"a": 1.0}, extras={"latency": float("inf")})
    with pytest.raises(ValueError, match="no extras"):
        Evaluation("k", 1, rejection=Rejection("quality", "test"), extras={"latency": 1.0})
    with pytest.raises(ValueError, match="exactly one"):
        Evaluation("k", 1)
    with pytest.raises(ValueError, match="exactly one"):
        Evaluation("k", 1, objectives={"a": 1.0}, rejection=Rejection("quality", "test"))


def test_rejected_candidates_enter_neither_population_nor_front() -> None:
    search = new_search()
    asked = run(search, 40)
    rejected = {c.index for c in asked if evaluation(c).rejection}
    assert rejected
    assert not rejected & {i.index for i in (*search.population, *search.front)}


def test_the_window_drops_the_oldest_however_good() -> None:
    search = new_search()
    asked = run(search, 60)
    scored = [c.index for c in asked if not evaluation(c).rejection]
    assert [i.index for i in search.population] == scored[-10:]
    best = max(scored, key=lambda i: sum(evaluation(asked[i]).objectives.values()))
    assert best in {i.index for i in search.front}


def test_no_function_is_asked_for_twice_and_every_repeat_names_the_first() -> None:
    search = new_search()
    asked = run(search, 60)
    fingerprints = [c.fingerprint for c in asked]
    assert len(set(fingerprints)) == len(fingerprints)
    repeats = [(p, r) for c in asked for p, r in c.screened_out if r.stage == "equivalence"]
    assert repeats
    for proposal, rejection in repeats:
        assert asked[int(rejection.detail.split()[1])].fingerprint == proposal.genome.key


def test_the_probe_sees_each_new_layer_once_and_its_rejections_are_kept_with_the_proposals() -> None:
    probed: list[str] = []

    def probe(genome: Genome) -> Rejection | None:
        probed.append(genome.key)
        return Rejection("probe", "test") if int(genome.key[0], 16) < 8 else None

    asked = run(Search(SPACE, SETTINGS, 1, screen, probe), 40)
    assert len(set(probed)) == len(probed)
    rejected = {p.genome.key for c in asked for p, r in c.screened_out if r.stage == "probe"}
    assert rejected
    assert rejected <= {key for key in probed if int(key[0], 16) < 8}
    assert all(int(c.genome.key[0], 16) >= 8 for c in asked)


@pytest.mark.parametrize("algorithm", ["tournament", "nsga2"])
@pytest.mark.parametrize("winner", ["pareto", "average"])
def test_a_search_is_a_function_of_its_seed(algorithm: str, winner: str) -> None:
    settings = SETTINGS.model_copy(update={"algorithm": algorithm, "winner": winner})
    first, second = new_search(1, settings), new_search(1, settings)
    one = run(first, 40)
    random.seed(99)  # the global stream must not matter
    assert run(second, 40) == one
    assert run(new_search(2, settings), 40) != one
    assert [i.index for i in first.front] == [i.index for i in second.front]


def test_children_do_not_depend_on_when_later_results_arrive() -> None:
    """Drivers that tell as early as possible and as late as possible draw the same: look-ahead fixes what is seen."""
    eager = run(new_search(), 30)
    search, asked = new_search(), []
    while search.told < 30:
        if search.may_ask:
            asked.append(search.ask())
        else:
            oldest = asked[search.told]
            search.tell(oldest.index, evaluation(oldest))
    assert asked[:30] == eager


def test_replaying_records_leads_to_the_same_future() -> None:
    whole = run(new_search(), 40)
    search = new_search()
    asked: list[Candidate] = []
    while search.told < 40:
        while search.may_ask:
            recorded = whole[search.asked] if search.asked < 25 else None
            asked.append(search.ask(recorded))
        candidate = asked[search.told]
        search.tell(candidate.index, evaluation(candidate))
    assert asked[:40] == whole


def test_a_record_of_another_candidate_is_refused() -> None:
    recorded = run(new_search(), 3)[2]
    with pytest.raises(RuntimeError, match="record of candidate 2, but the next is 0"):
        new_search().ask(recorded)


def test_a_space_without_new_layers_ends_with_a_word_about_it() -> None:
    settings = SETTINGS.model_copy(update={"max_proposals": 20})
    with pytest.raises(SearchExhaustedError, match="20 proposals after 0 candidates"):
        new_search(1, settings, lambda _: Rejection("structure", "test")).ask()


def test_after_the_first_random_layers_children_have_parents_from_the_window() -> None:
    search = new_search()
    asked = run(search, 60)
    assert all(c.proposal.parent is None for c in asked[:6])
    written = {c.index: c.genome for c in asked}  # how each candidate is written, silent mutations taken over
    children, silent_ones = 0, 0
    for candidate in asked:
        for proposal, rejection in candidate.screened_out:
            if rejection == silent(proposal.parent):
                silent_ones += 1
                assert proposal.genome.key == written[proposal.parent or 0].key
                written[proposal.parent or 0] = proposal.genome
        parent = candidate.proposal.parent
        if parent is not None:
            children += 1
            nodes = zip(written[parent].nodes, candidate.genome.nodes, strict=True)
            assert sum(a != b for a, b in nodes) == 1
            assert parent < candidate.index - 2  # drawn before the two candidates ahead of it were told
    assert children > 20
    assert silent_ones > 20


def test_the_share_of_random_layers_is_one_of_candidates_though_few_random_ones_pass() -> None:
    settings = SETTINGS.model_copy(update={"random_injection": 0.4})
    asked = run(Search(SPACE, settings, 1, Screens(ProtocolsConfig(), LayerConfig())), 150)[6:]
    random_ones = sum(candidate.proposal.operator == "random" for candidate in asked)
    assert stats.binomtest(random_ones, len(asked), 0.4).pvalue > 0.01
    tried = [out.operator == "random" for candidate in asked for out, _ in candidate.screened_out]
    assert sum(tried) / len(tried) > 0.45  # more of the random ones fail the screens


def test_children_of_two_have_a_parent_and_a_donor_from_the_window_and_replay() -> None:
    settings = SETTINGS.model_copy(update={"crossover": 0.5})
    asked = run(new_search(1, settings), 80)
    crossed = [candidate for candidate in asked if "donor" in candidate.proposal.operator]
    others = [c for c in asked if c.proposal.parent is not None and c not in crossed]
    assert min(len(crossed), len(others)) > 10
    for candidate in crossed:
        donor = int(candidate.proposal.operator.rpartition(" ")[2])
        for one in (donor, candidate.proposal.parent):
            assert one is not None
            assert one < candidate.index - 2
            assert evaluation(asked[one]).objectives
    again = new_search(1, settings)
    for candidate in asked[:40]:
        again.ask(candidate)
        if not again.may_ask:
            again.tell(again.told, evaluation(asked[again.told]))
    assert again.ask() == asked[40]


RUNGS = RungsConfig(steps=(10, 20, 40), reduction=2.0, window=12)
REFERENCE = Evaluation(
    "r", 1, objectives={"a": 1.0, "b": 1.0}, rungs=dict.fromkeys("ab", ((10, 0.5), (20, 0.6), (40, 0.8)))
)


def halved(candidate: Candidate, hurdles: Sequence[Hurdle]) -> Evaluation:
    """An evaluation whose scores at each rung are other digits of the key, task after task."""
    key = candidate.genome.key
    rungs: dict[str, list[tuple[int, float]]] = {}
    rejection = None
    for i, hurdle in enumerate(hurdles):
        scores = {task: int(key[4 * i + j], 16) / 16 for j, task in enumerate("ab")}
        for task, score in scores.items():
            rungs.setdefault(task, []).append((hurdle.steps, score))
            rejection = rejection or hurdle.stopped_on(task, score)
            if rejection:
                break
        rejection = rejection or hurdle.stopped(scores)
        if rejection:
            break
    taken = {task: tuple(points) for task, points in rungs.items()}
    done = {} if rejection else {"a": int(key[12], 16) / 16, "b": int(key[13], 16) / 16}
    return Evaluation(key, 1, objectives=done, rejection=rejection, rungs=taken)


def run_with_rungs(search: Search, count: int) -> tuple[list[Candidate], list[Evaluation], list[tuple[Hurdle, ...]]]:
    asked: list[Candidate] = []
    hurdles: list[tuple[Hurdle, ...]] = []
    told: list[Evaluation] = []
    while search.told < count:
        while search.may_ask:
            asked.append(search.ask())
            hurdles.append(search.hurdles())
        told.append(halved(asked[len(told)], hurdles[len(told)]))
        search.tell(len(told) - 1, told[-1])
    return asked[:count], told, hurdles[:count]


def test_hurdles_follow_from_the_results_told_before_a_candidate_was_asked_for() -> None:
    search = Search(SPACE, SETTINGS, 1, screen, ladder=Ladder(RUNGS, REFERENCE))
    _, told, hurdles = run_with_rungs(search, 120)
    for index, found in enumerate(hurdles):
        ladder = Ladder(RUNGS, REFERENCE)
        for evaluation in told[: max(0, index - SETTINGS.look_ahead + 1)]:
            ladder.tell(evaluation)
        assert found == ladder.hurdles()
    ends = {(e.rejection.reason, e.rejection.task) for e in told if e.rejection}
    on_a_task = {(f"behind at step {steps}", task) for steps in RUNGS.steps for task in "ab"}
    on_all = {(f"behind at step {steps}", "") for steps in RUNGS.steps}
    assert {("behind at step 20", "a"), ("behind at step 20", "b")} < ends <= on_a_task | on_all
    assert new_search().hurdles() == ()


def test_layers_stopped_beyond_the_first_rung_become_parents_with_the_scores_of_their_last() -> None:
    settings = SETTINGS.model_copy(update={"window": 200})
    search = Search(SPACE, settings, 1, screen, ladder=Ladder(RUNGS, REFERENCE))
    asked, told, _ = run_with_rungs(search, 120)
    members = {i.index: i for i in search.population}
    parents = {c.proposal.parent for c in asked} - {None}
    reached: set[tuple[int, str]] = set()  # the last rung on all tasks, and the task that the layer was stopped on
    for index, evaluation in enumerate(told):
        steps = [at for at, _ in evaluation.rungs["a"] if at in dict(evaluation.rungs.get("b", ()))]
        if evaluation.rejection is None:
            assert (members[index].steps, members[index].objectives) == (FULL_TRAINING, evaluation.objectives)
        elif len(steps) < 2:
            assert index not in members
            assert index not in parents
        else:
            assert members[index].steps == steps[-1]
            assert members[index].objectives == {task: dict(evaluation.rungs[task])[steps[-1]] for task in "ab"}
            reached.add((steps[-1], evaluation.rejection.task))
    assert reached >= {(20, "a"), (20, "b"), (40, "b")}
    assert parents & {index for index, evaluation in enumerate(told) if evaluation.rejection}
    assert {i.index for i in search.front} <= {i for i, e in enumerate(told) if e.objectives}


def test_nsga2_takes_only_layers_trained_to_the_end() -> None:
    settings = SETTINGS.model_copy(update={"algorithm": "nsga2", "window": 200})
    search = Search(SPACE, settings, 1, screen, ladder=Ladder(RUNGS, REFERENCE))
    _, told, _ = run_with_rungs(search, 60)
    assert {i.index for i in search.population} == {i for i, e in enumerate(told) if e.objectives}


def test_nsga2_sorts_its_population_once_for_all_proposals_between_two_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sort, sizes = selection.tools.sortNondominated, list[int]()

    def counted(individuals: Sequence[Individual], *arguments: object, **more: object) -> object:
        sizes.append(len(individuals))
        return sort(individuals, *arguments, **more)

    search = new_search(1, SETTINGS.model_copy(update={"algorithm": "nsga2", "window": 200, "random_injection": 0.0}))
    run(search, 60)
    monkeypatch.setattr(selection.tools, "sortNondominated", counted)
    proposals = 0
    for _ in range(10):
        candidate = search._open[0]
        search.tell(candidate.index, evaluation(candidate))
        proposals += 1 + len(search.ask().screened_out)
    assert proposals > 20
    assert sum(size >= len(search.population) - 10 for size in sizes) <= 10


def test_with_rungs_too_replaying_records_leads_to_the_same_future() -> None:
    asked, told, hurdles = run_with_rungs(Search(SPACE, SETTINGS, 1, screen, ladder=Ladder(RUNGS, REFERENCE)), 50)
    search = Search(SPACE, SETTINGS, 1, screen, ladder=Ladder(RUNGS, REFERENCE))
    again: list[Candidate] = []
    while search.told < 50:
        while search.may_ask:
            again.append(search.ask(asked[search.asked] if search.asked < 30 else None))
            if len(again) <= 50:
                assert search.hurdles() == hurdles[len(again) - 1]
        search.tell(search.told, told[search.told])
    assert again[:50] == asked


def padded(*names: str) -> list[Genome]:
    return [SPACE.padded(CATALOGUE[name]) for name in names]


def test_initial_layers_are_the_first_candidates() -> None:
    initial = padded("evonorm-s0", "gn-relu", "evonorm-s1")
    search = Search(SPACE, SETTINGS, 1, screen, initial=initial)
    asked = run(search, 20)
    assert [c.genome for c in asked[:3]] == initial
    assert [(c.proposal.operator, c.proposal.parent) for c in asked[:3]] == [("initial", None)] * 3
    assert all(c.proposal.operator != "initial" for c in asked[3:])
    assert asked[3:6] == run(new_search(), 6)[3:6]  # each candidate has its own stream


def test_an_initial_layer_that_does_not_pass_the_screens_is_replaced() -> None:
    """The second is rejected, the third repeats the first."""
    good, bad = padded("evonorm-s0", "gn-relu")

    def strict(genome: Genome) -> Rejection | str:
        return Rejection("numerics", "test") if genome == bad else screen(genome)

    asked = run(Search(SPACE, SETTINGS, 1, strict, initial=[good, bad, good]), 10)
    assert asked[0].genome == good
    for candidate, genome, stage in ((asked[1], bad, "numerics"), (asked[2], good, "equivalence")):
        proposal, rejection = candidate.screened_out[0]
        assert (proposal.genome, proposal.operator, rejection.stage) == (genome, "initial", stage)
        assert candidate.proposal.operator == "random"
        assert sum(p.operator == "initial" for p, _ in candidate.screened_out) == 1


def test_initial_layers_become_parents_like_any_other() -> None:
    settings = SETTINGS.model_copy(update={"initial_random": 1, "window": 200})
    initial = padded("evonorm-s0", "gn-relu", "evonorm-s1", "frn-tlu")
    asked = run(Search(SPACE, settings, 1, screen, initial=initial), 60)
    scored = {c.index for c in asked[:4] if evaluation(c).objectives}
    assert scored & {c.proposal.parent for c in asked}


def test_genotypes_drift_and_do_so_again_when_records_are_replayed() -> None:
    whole, again, without = new_search(), new_search(), new_search()
    asked = run(whole, 60)
    for candidate in asked:
        for search, record in ((again, candidate), (without, replace(candidate, screened_out=()))):
            search.ask(record)
            if not search.may_ask:
                search.tell(search.told, evaluation(asked[search.told]))
    for search in (again, without):
        while search.told < 60:
            search.tell(search.told, evaluation(asked[search.told]))
    drifted = [i for i in whole.population if i.genome != asked[i.index].genome]
    assert drifted
    assert all(i.genome.key == asked[i.index].genome.key for i in drifted)
    open_ones = whole._open  # whole has asked on; what it drew there may have drifted too
    last = {p.parent for c in open_ones for p, r in c.screened_out if r == silent(p.parent)}
    for mine, other, plain in zip(whole.population, again.population, without.population, strict=True):
        assert mine.index == other.index == plain.index
        assert plain.genome == asked[mine.index].genome
        if mine.index not in last:
            assert mine.genome == other.genome


def test_with_equivalence_switched_off_repeats_are_trained() -> None:
    screens = Screens(ProtocolsConfig(screens=("structure",)), LayerConfig())
    asked = run(new_search(1, SETTINGS, screens), 60)
    keys = [c.genome.key for c in asked]
    assert len(set(keys)) < len(keys)
    assert {c.fingerprint for c in asked} == {""}
    assert {r.stage for c in asked for _, r in c.screened_out} == {"structure"}
    assert any(c.proposal.parent is not None and c.genome.key == keys[c.proposal.parent] for c in asked)


def test_with_all_screens_off_everything_is_trained() -> None:
    asked = run(new_search(1, SETTINGS, Screens(ProtocolsConfig(screens=()), LayerConfig())), 30)
    assert all(c.screened_out == () for c in asked)
    assert any(not c.genome.varies[-1] >= frozenset("bhw") for c in asked)


def test_permanence() -> None:
    """Thirty candidates of seed 1, screens included.

    The hash may change only with a CHANGELOG line that says why: old runs can then no longer be resumed.
    """
    search = new_search(1, SETTINGS, Screens(ProtocolsConfig(), LayerConfig()))
    asked = run(search, 30)
    lines = [f"{c.index} {c.proposal.parent} {c.genome.to_text()}" for c in asked]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "76a8d77a8d17986f"


def test_permanence_of_nsga2() -> None:
    """The same with NSGA-II, through a population that is full and one that is not; few values, so many ties."""
    digests = []
    for window in (8, 200):
        settings = SETTINGS.model_copy(update={"algorithm": "nsga2", "window": window})
        search, asked = new_search(1, settings), list[Candidate]()
        while search.told < 60:
            while search.may_ask:
                asked.append(search.ask())
            candidate = asked[search.told]
            found = evaluation(candidate)
            coarse = {task: round(8 * value) / 8 for task, value in found.objectives.items()}
            search.tell(candidate.index, replace(found, objectives=coarse))
        lines = [f"{c.index} {c.proposal.parent} {c.genome.to_text()}" for c in asked]
        digests.append(hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16])
    assert digests == ["244162207a12209c", "3323736b6eb59dfe"]
