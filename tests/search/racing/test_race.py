"""Which layer is measured next in which round.

Oracle: the rule, applied anew at every step to all that was told until then.
"""

import json
import random
from collections import defaultdict

import pytest

from evonas import config
from evonas.config import RacingConfig
from evonas.errors import InputError
from evonas.search.racing.posterior import posteriors
from evonas.search.racing.race import Race, conditions_text

SETTINGS = RacingConfig(every=3, reduction=2.0, elites=0.3)


def run(settings: RacingConfig, length: int, *, delay: int, failing: float = 0.0) -> list[tuple[int, int | None]]:
    """A race in which results come ``delay`` places after they were asked for, each choice held against the rule."""
    race, rng = Race(settings, reference=0.5), random.Random(1)
    scores: dict[int, float] = {}
    again: defaultdict[int, dict[int, float | None]] = defaultdict(dict)  # by round and candidate, told
    asked, waiting, candidates = list[tuple[int, int | None]](), list[tuple[int, int | None] | int](), 0
    for position in range(length):
        due = race.next(position)
        assert due == expected(settings, position, scores, again, asked)
        if due is None:
            waiting.append(candidates)
            candidates += 1
        else:
            race.ask(*due)
            asked.append(due)
            waiting.append(due)
        if len(waiting) > delay:
            told = waiting.pop(0)
            if isinstance(told, int):
                scores[told] = rng.random()
                race.found(told, str(told), scores[told])
            else:
                score = None if rng.random() < failing else rng.random()
                race.tell(*told, score)
                if told[1] is not None:
                    again[told[0]][told[1]] = score
    return asked


def expected(settings, position, scores, again, asked):  # type: ignore[no-untyped-def]
    if (position + 1) % settings.every:
        return None
    failed = {i for told in again.values() for i, score in told.items() if score is None}
    rounds = {str(i): {k: told[i] for k, told in again.items() if i in told} for i in scores if i not in failed}
    beliefs = posteriors({str(i): x for i, x in scores.items()}, rounds)

    def best(candidates, count):  # type: ignore[no-untyped-def]
        return sorted((i for i in candidates if i not in failed), key=lambda i: (-beliefs[str(i)].mean, i))[:count]

    wanted = [
        (number + 1, i)
        for number in sorted(again, reverse=True)
        for i in best(again[number], int(len(again[number]) / settings.reduction))
    ] + [(1, i) for i in best(scores, int(settings.elites * len(scores)))]
    for number, i in wanted:
        if (number, i) not in asked:
            return (number, i) if (number, None) in asked else (number, None)
    return None


@pytest.mark.parametrize("delay", [0, 7])
@pytest.mark.parametrize("failing", [0.0, 0.3])
def test_every_choice_is_that_of_the_rule(delay: int, failing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Race, "_computed", without_reference(Race._computed))
    asked = run(SETTINGS, 240, delay=delay, failing=failing)
    assert len(set(asked)) == len(asked)
    assert max(round_ for round_, _ in asked) >= 3
    measured = defaultdict(list)
    for round_, candidate in asked:
        measured[candidate].append(round_)
    assert all(rounds == list(range(1, len(rounds) + 1)) for rounds in measured.values())


def without_reference(computed):  # type: ignore[no-untyped-def]
    """The rule is held against beliefs without a reference, which are a matter of ``test_posterior.py``."""

    def alone(self):  # type: ignore[no-untyped-def]
        known, self._reference = self._reference, None
        found = computed(self)
        self._reference = known
        return found

    return alone


def test_without_racing_nothing_is_measured_again() -> None:
    assert run(RacingConfig(), 0, delay=0) == []
    race = Race(RacingConfig(), 0.5)
    for index in range(50):
        race.found(index, str(index), index / 50)
    assert all(race.next(position) is None for position in range(50))


def ready(*families: str) -> Race:
    race = Race(RacingConfig(every=1, elites=1.0))
    for index, family in enumerate(families):
        race.found(index, family, 0.5 + index / 100)
    return race


def test_relatives_are_one_layer_and_the_best_of_them_is_measured() -> None:
    race = ready("a", "b", "a", "c")
    first = race.next(0)
    assert first == (1, 3)
    race.ask(*first)
    asked = []
    while due := race.next(0):
        race.ask(*due)
        asked.append(due)
    assert sorted(asked) == [(1, 1), (1, 2)]  # 2 for itself and for 0
    race.tell(1, 2, 0.9)
    beliefs = race.beliefs()
    assert beliefs[0] is beliefs[2]
    assert beliefs[0].measurements == 2
    race.found(4, "a", 0.9)  # a better relative changes not who runs
    assert race.beliefs()[4] is race.beliefs()[0]
    order = race.order()
    assert order[order.index(2) :][:3] == [2, 4, 0]


def test_a_layer_that_fails_a_round_is_the_last_and_goes_no_further() -> None:
    race = ready("a", "b", "c", "d")
    for candidate in (3, 2, 1):
        race.ask(1, candidate)
    race.tell(1, 3, None)
    race.tell(1, 2, 0.6)
    race.tell(1, 1, 0.55)
    beliefs = race.beliefs()
    assert race.order()[-1] == 3
    assert (beliefs[3].failed, beliefs[3].mean) == (True, 0.5)
    assert race.levels() == {index: belief.mean for index, belief in beliefs.items()}
    assert race.next(0) == (2, 2)


def test_a_reference_that_fails_is_not_asked_for_again_and_races_go_on() -> None:
    race = Race(RacingConfig(every=1, elites=1.0), reference=0.4)
    for index in range(4):
        race.found(index, str(index), 0.5 + index / 100)
    assert race.next(0) == (1, None)
    race.ask(1, None)
    race.tell(1, None, None)
    assert race.next(1) == (1, 3)
    race.ask(1, 3)
    race.tell(1, 3, 0.7)
    assert race.next(2) == (1, 2)
    assert race.beliefs()[3].measurements == 2


def test_conditions_say_what_is_not_as_in_the_search() -> None:
    changes = ["racing.every=3", "racing.rounds=[{steps=4}, {steps=8, learning_rate=0.05}]", "training.steps=4"]
    settings = config.load_search("tiny", changes)
    first, second, third = (json.loads(conditions_text(settings, number)) for number in (1, 2, 3))
    assert (first["training"], second["training"]) == ({}, {"steps": 8, "learning_rate": 0.05})
    assert third["training"] == second["training"]
    assert len({each["seed"] for each in (first, second, third)} - {settings.seed}) == 3
    assert first["tasks"] == ["preact_resnet", "mobilenet_v2"]


def test_a_round_has_one_learning_rate_or_several_of_its_own() -> None:
    rounds = "racing.rounds=[{learning_rates=[0.03, 0.3]}, {learning_rate=0.2}, {steps=9}]"
    for changes in ([], ["training.learning_rates=[0.1, 0.01]"]):
        settings = config.load_search("tiny", ["racing.every=3", rounds, *changes])
        several, one, same = (settings.in_round(number).training for number in (1, 2, 3))
        assert (several.rates, one.rates, same.rates) == ((0.03, 0.3), (0.2,), settings.training.rates)
        assert (several.steps, same.steps) == (settings.training.steps, 9)
        assert json.loads(conditions_text(settings, 1))["training"]["learning_rates"] == [0.03, 0.3]
    with pytest.raises(InputError, match=r"racing.rounds.0.learning_rate: learning_rates are given too"):
        config.load_search("tiny", ["racing.rounds=[{learning_rates=[0.03], learning_rate=0.2}]"])
