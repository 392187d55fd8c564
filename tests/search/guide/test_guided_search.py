"""Searches whose candidates a guide chooses. Oracles: an uninterrupted search in one process; the same search without a
guide; what a made-up law of layers says of the candidates that were chosen."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from archives import same_content

from evonas import config
from evonas.config import EvolutionConfig, LayerConfig, ProtocolsConfig, RacingConfig, RungsConfig, SearchConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.primitive import PRIMITIVES
from evonas.graph.space import SearchSpace
from evonas.search.archive import Archive
from evonas.search.driver import Ending, drive
from evonas.search.engine import Search
from evonas.search.execution import make_executor
from evonas.search.guide.features import feature_names, features
from evonas.search.guide.surrogate import Surrogate
from evonas.search.outcome import Candidate, Evaluation, Rejection, Remeasurement
from evonas.search.protocols import Screens
from evonas.search.racing.race import Race
from evonas.search.rungs import Hurdle, Ladder

ROOT = Path(__file__).parents[3]
TINY, LAYER = ROOT / "search_spaces" / "tiny.toml", LayerConfig()
SETTINGS = EvolutionConfig(
    window=30,
    tournament=0.2,
    random_injection=0.3,
    crossover=0.3,
    initial_random=8,
    look_ahead=3,
    guide="surrogate",
    pool=12,
    refit=8,
)
REFERENCE = Evaluation("reference", objectives={"a": 1.0}, rungs={"a": ((5, 1.0),)})
SPACES = {
    "bchw": SearchSpace(index_sets=("chw", "hw", "ghw")),
    "btd": SearchSpace(layout="btd"),
    "more primitives": SearchSpace(primitives=(*PRIMITIVES.builtin,)[4:]),
}


def law(candidate: Candidate) -> float:
    """Made up: the better, the less the output answers to a changed scale; from -2 to 0."""
    found = dict(zip(feature_names(), features([candidate.genome], LAYER.eps)[0].tolist(), strict=True))
    return -min(abs(found["degree when larger"]), 2.0)


def evaluation(candidate: Candidate, hurdles: tuple[Hurdle, ...] = ()) -> Evaluation:
    value = 3 + law(candidate)
    if int(candidate.genome.key[:2], 16) < 25:
        return Evaluation(candidate.genome.key, 1, rejection=Rejection("quality", "test"))
    found = Evaluation(candidate.genome.key, 1, objectives={"a": value}, rungs={"a": ((5, value),)} if hurdles else {})
    stopped = [why for hurdle in hurdles if (why := hurdle.stopped({"a": value}))]
    return replace(found, objectives={}, rejection=stopped[0]) if stopped else found


def new_search(
    settings: EvolutionConfig = SETTINGS, space: str = "bchw", *, rungs: bool = False, race: int = 0
) -> Search:
    screens = Screens(ProtocolsConfig(), LAYER)
    guide = Surrogate(1, LAYER.eps, settings.refit) if settings.guide == "surrogate" else None
    ladder = Ladder(RungsConfig(steps=(5,), reduction=2.0), REFERENCE) if rungs else None

    def probe(genome: object) -> Rejection | None:
        return Rejection("propagation", "test") if int(genome.key[2:4], 16) < 60 else None  # type: ignore[attr-defined]

    raced = Race(RacingConfig(every=race, elites=1.0), 1.0) if race else None
    more = {"ladder": ladder, "guide": guide, "race": raced, "reference": CATALOGUE["bn-relu"]}
    return Search(SPACES[space], settings, 1, screens, probe, **more)  # type: ignore[arg-type]


Records = list[tuple[Candidate | Remeasurement, Evaluation]]


def run(search: Search, count: int, recorded: Records | None = None) -> Records:
    """Ask and tell so often, what is recorded first."""
    known, asked, records = list(recorded or []), 0, Records()
    open_: Records = []
    while len(records) < count:
        while search.may_ask:
            what = search.ask(known[asked][0] if asked < len(known) else None)
            if asked < len(known):
                result = known[asked][1]
            elif isinstance(what, Candidate):
                result = evaluation(what, search.hurdles())
            else:
                result = Evaluation(what.genome.key, objectives={"a": int(what.genome.key[4:6], 16) / 100})
            open_.append((what, result))
            asked += 1
        what, result = open_.pop(0)
        search.tell(what.index if isinstance(what, Candidate) else what, result)
        records.append((what, result))
    return records


def candidates_of(records: Records) -> list[Candidate]:
    return [what for what, _ in records if isinstance(what, Candidate)]


@pytest.mark.parametrize(
    ("algorithm", "space", "rungs", "race"),
    [
        ("tournament", "bchw", True, 0),
        ("tournament", "btd", False, 5),
        pytest.param("tournament", "more primitives", False, 0, marks=pytest.mark.slow),
        ("nsga2", "bchw", False, 4),
        pytest.param("nsga2", "btd", True, 0, marks=pytest.mark.slow),
    ],
)
def test_a_guided_search_resumes_as_it_would_have_gone_on(algorithm: str, space: str, rungs: bool, race: int) -> None:
    settings = SETTINGS.model_copy(update={"algorithm": algorithm})
    whole = run(new_search(settings, space, rungs=rungs, race=race), 34)
    for told in (18, 24):  # between fits, and at one
        assert run(new_search(settings, space, rungs=rungs, race=race), 34, whole[:told]) == whole
    assert any(isinstance(what, Remeasurement) for what, _ in whole) == bool(race)
    guided = [candidate for candidate in candidates_of(whole) if candidate.prediction]
    assert len(guided) > 8
    assert all(candidate.index >= settings.initial_random for candidate in guided)
    reasons = sum((candidate.reasons for candidate in guided), Counter[tuple[str, str]]())
    assert reasons["guide", "less promising"] > 10 * len(guided) * 0.5
    assert reasons["propagation", "test"]


def test_the_guide_finds_what_is_good_sooner() -> None:
    guided = run(new_search(), 60)
    blind = run(new_search(SETTINGS.model_copy(update={"guide": "none"})), 60)
    means = [fmean(law(candidate) for candidate in candidates_of(records)[30:]) for records in (guided, blind)]
    assert means[0] > means[1] + 0.1


def test_without_a_guide_the_share_of_guided_draws_changes_nothing() -> None:
    one = run(new_search(SETTINGS.model_copy(update={"guide": "none"})), 20)
    other = run(new_search(SETTINGS.model_copy(update={"guide": "none", "unguided": 0.9, "pool": 3, "refit": 2})), 20)
    assert one == other
    blind = run(new_search(SETTINGS.model_copy(update={"unguided": 1.0})), 30)
    assert not any(candidate.prediction for candidate in candidates_of(blind))


def test_candidates_of_pools_are_functions_of_their_own_and_others_may_come_again() -> None:
    records = run(new_search(), 60)
    screens = Screens(ProtocolsConfig(), LAYER)
    prints = [candidate.fingerprint for candidate in candidates_of(records)]
    assert len(set(prints)) == len(prints)
    left = Counter[str]()
    for candidate in candidates_of(records):
        pool = [screens(out.genome) for out, why in candidate.screened_out if why.stage == "guide"]
        assert len({*pool, candidate.fingerprint}) == len(pool) + 1
        for _, why in candidate.screened_out:
            if why.stage == "guide":
                assert candidate.prediction is not None
                assert (why.measured or 0.0) <= (why.limit or 0.0) == candidate.prediction.improvement
        left.update(map(str, pool))
    assert left.keys() & set(prints), "what was left once may be chosen later"
    assert max(left.values()) > 1


def test_pools_hold_random_layers_in_their_share() -> None:
    records = run(new_search(SETTINGS.model_copy(update={"unguided": 0.0, "random_injection": 0.5})), 60)
    kinds = Counter[bool]()
    for candidate in candidates_of(records):
        kinds.update(out.operator == "random" for out, why in candidate.screened_out if why.stage == "guide")
    assert 0.35 < kinds[True] / kinds.total() < 0.65


def test_where_no_member_of_a_pool_passes_the_probe_the_search_draws_on() -> None:
    settings = SETTINGS.model_copy(update={"pool": 1, "unguided": 0.0})
    records = run(new_search(settings), 60)
    blind = [candidate for candidate in candidates_of(records)[20:] if not candidate.prediction]
    assert blind
    assert all(candidate.screened_out[0][1].stage in ("propagation", "equivalence") for candidate in blind)
    assert run(new_search(settings), 60, records[:40]) == records


def tiny(*changes: str) -> SearchConfig:
    guided = ["evolution.guide=surrogate", "evolution.pool=6", "evolution.refit=3", "evolution.unguided=0.1"]
    cheap = ["training.steps=2", "protocols.quality.steps=1", "protocols.quality.min_accuracy=0.0", "rungs.steps=[1]"]
    return config.load_search(TINY, [*guided, *cheap, *changes])


def drive_to(path: Path, evaluations: int, *changes: str) -> None:
    settings = tiny(f"budget.evaluations={evaluations}", *changes)
    with (Archive.open if path.exists() else Archive.create)(path) as archive, make_executor(settings) as executor:
        assert drive(settings, archive, executor, []) is Ending.BUDGET


def test_the_archive_of_a_guided_run_does_not_depend_on_workers_or_interruptions(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    drive_to(whole, 11, "execution.workers=2")
    drive_to(parts, 7)
    drive_to(parts, 11)
    assert same_content(whole, parts)
    with Archive.open(whole, read_only=True) as archive:
        content, counts = archive.content(), archive.rejection_counts()
        records = list(archive.records(screened_out=True))
    assert len(content["predictions"]) == sum(candidate.prediction is not None for candidate, _ in records) > 3
    kept = sum((candidate.reasons for candidate, _ in records), Counter[tuple[str, str]]())
    ends = Counter((e.rejection.stage, e.rejection.reason) for _, e in records if e.rejection)
    assert counts == kept + ends
    assert all(candidate.counts for candidate, _ in records if candidate.prediction)


def test_layers_from_outside_come_before_pools_and_are_learned_from() -> None:
    def search() -> Search:
        made = new_search()
        for name in ("evonorm-s0", "gn-relu"):
            made.propose(made._space.padded(CATALOGUE[name]))
        return made

    early = run(search(), 40)
    assert [c.genome.key for c in candidates_of(early)[:2]] == [CATALOGUE[n].key for n in ("evonorm-s0", "gn-relu")]
    assert run(new_search(), 40, early[:20]) == early, "a replay needs no proposer"
