"""Ctrl-C waits for the release in hand."""

from __future__ import annotations

import signal

import pytest

from simulations.engine.interrupt import interrupts_deferred


def test_the_block_is_finished_before_the_interrupt_is_raised() -> None:
    finished = []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        finished.append(True)
    assert finished


def test_a_second_interrupt_is_obeyed_at_once() -> None:
    finished = []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        finished.append(True)
    assert not finished


def test_without_an_interrupt_nothing_happens_and_the_handler_is_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_inside_goes_out_unchanged() -> None:
    with pytest.raises(ValueError, match="inside"), interrupts_deferred():
        raise ValueError("inside")
