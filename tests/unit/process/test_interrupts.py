"""Signals that wait, whichever thread of the process takes them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from vifplug.process import signals


def unmasked_thread() -> tuple[threading.Thread, threading.Event]:
    """A thread as a library's caller may have any number of: it masks nothing."""
    reported = threading.Event()

    def kill() -> None:
        reported.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread, reported


@pytest.fixture(autouse=True)
def python_s_own_handler() -> Iterator[None]:
    """Whatever started this run: a shell's background job ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("by_a_thread", [True, False])
def test_interrupt_waits_for_the_end(by_a_thread: bool) -> None:
    done, (thread, reported) = [], unmasked_thread()
    with pytest.raises(KeyboardInterrupt), signals.held():
        if by_a_thread:
            reported.set()
            thread.join()
        else:
            os.kill(os.getpid(), signal.SIGINT)
        done.append("all of it")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if not by_a_thread:
        with pytest.raises(KeyboardInterrupt):
            reported.set()
            thread.join()


def test_work_that_failed_under_an_interrupt_is_interrupted() -> None:
    thread, reported = unmasked_thread()
    with pytest.raises(KeyboardInterrupt) as caught, signals.held():
        reported.set()
        thread.join()
        raise ValueError("it failed as well")
    assert isinstance(caught.value.__context__, ValueError)


def test_another_thread_than_the_main_one_holds_what_it_can() -> None:
    masks = []

    def work() -> None:
        with signals.held():
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert signal.SIGINT in masks[0] and signal.SIGINT not in masks[1]
