"""Interrupts against the signal module itself: real signals to this process, and handlers as the system holds them."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from evonas.runs.interrupt import SIGNALS, Interrupts, RunInterruptedError


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_result_of_none_is_a_result() -> None:
    with Interrupts() as interrupts:
        assert interrupts.wait(lambda: None) is None
        assert interrupts.wait(lambda: 0) == 0


def test_a_signal_while_waiting_ends_the_wait() -> None:
    reached = []

    def work() -> None:
        interrupt()
        reached.append("after the signal")

    with Interrupts() as interrupts, pytest.raises(RunInterruptedError):
        interrupts.wait(work)
    assert reached == []


def test_a_signal_that_a_library_turns_into_another_error_ends_the_wait_too() -> None:
    def work() -> None:
        try:
            interrupt()
        except KeyboardInterrupt:
            raise TypeError("from inside of an extension") from None

    with Interrupts() as interrupts, pytest.raises(RunInterruptedError):
        interrupts.wait(work)


def test_a_signal_between_two_waits_is_heeded_at_the_next_one_and_not_before() -> None:
    with Interrupts() as interrupts:
        assert interrupts.wait(lambda: 1) == 1
        interrupt()
        asked = []
        with pytest.raises(RunInterruptedError):
            interrupts.wait(lambda: asked.append(1))
        assert asked == []


def test_a_second_signal_raises_at_once() -> None:
    with Interrupts():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_errors_of_the_work_are_passed_on() -> None:
    with Interrupts() as interrupts, pytest.raises(ZeroDivisionError):
        interrupts.wait(lambda: 1 / 0)


def test_the_handlers_before_are_the_handlers_after() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupts():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_outside_the_main_thread_work_goes_on_and_no_handler_is_touched() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    def work() -> tuple[object, list[object]]:
        assert threading.current_thread() is not threading.main_thread()
        with Interrupts() as interrupts:
            return interrupts.wait(lambda: 5), [signal.getsignal(number) for number in SIGNALS]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == (5, before)
    assert [signal.getsignal(number) for number in SIGNALS] == before
