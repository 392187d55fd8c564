"""Oracle: times worked out by hand."""

from evonas.runs.progress import in_words, time_left


def test_each_kind_of_job_has_a_time_of_its_own() -> None:
    ended = {"training": [100.0, 200.0], "measuring": [1.0]}
    lanes = {"training": 2, "measuring": 1}
    assert time_left({"training": 4, "measuring": 3}, ended, lanes.__getitem__) == (4 * 150 / 2 + 3, False)
    assert time_left({"training": 1}, ended, lanes.__getitem__) == (150, False)  # one job has one worker


def test_a_kind_that_is_not_known_is_left_out_and_that_is_said() -> None:
    assert time_left({"training": 1, "measuring": 300}, {"training": [60.0]}, lambda _: 1) == (60, True)
    assert time_left({"measuring": 300}, {"training": [60.0]}, lambda _: 1) == (None, False)
    assert time_left({}, {"training": [60.0]}, lambda _: 1) == (0, False)


def test_words_are_counted() -> None:
    assert in_words(["training 147k", "training 332k", "training 147k"]) == "2 x training 147k, training 332k"
    assert in_words([""]) == in_words([]) == ""
