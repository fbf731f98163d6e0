"""Ctrl-C held back."""

import signal

import pytest

from enogu.core.records.interrupts import held


def test_an_interrupt_waits_for_the_end() -> None:
    reached: list[bool] = []

    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached


def test_the_handler_of_before_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
