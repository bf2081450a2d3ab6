"""Group commit: who works, for whom, and what one's failure means for the others."""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from vifplug.engine.apply.group_commit import Group, apart
from vifplug.errors import LinkError, OvsUnavailable, VifplugError

R = TypeVar("R")
A = TypeVar("A")


class Commits:
    """Carries out numbers: negative ones fail, and the first waits for ``go``."""

    def __init__(self, delay: float = 0.0) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.begun = threading.Event()
        self.delay = delay
        self.at_once = 0

    def __call__(self, asked: Sequence[int]) -> list[str | VifplugError]:
        self.at_once += 1
        assert self.at_once == 1, "one at a time"
        self.begun.set()
        self.go.wait(5)
        time.sleep(self.delay)
        self.batches.append(list(asked))
        self.at_once -= 1
        return apart(asked, self._work)

    @staticmethod
    def _work(asked: Sequence[int]) -> list[str]:
        bad = [number for number in asked if number < 0]
        if bad:
            raise LinkError(f"no {bad[0]}", str(bad[0]))
        return [str(number) for number in asked]


def ask(group: Group[R, A], work: Callable[[Sequence[R]], Sequence[A | VifplugError]], request: R) -> A:
    """What a command does with its request."""
    with group.turn(request) as turn:
        for batch in turn:
            with batch:
                batch.answers = work(batch.requests)
    return turn.answer()


def ask_all(group: Group[int, str], commits: Commits, numbers: Sequence[int]) -> list[str]:
    """The first by itself; the rest while that is at work."""
    with ThreadPoolExecutor(len(numbers)) as pool:
        first = pool.submit(answer, group, commits, numbers[0])
        commits.begun.wait(5)
        rest = [pool.submit(answer, group, commits, number) for number in numbers[1:]]
        deadline = time.monotonic() + 5
        while len(group._waiting) < len(rest) and time.monotonic() < deadline:
            time.sleep(0.001)
        commits.go.set()
        return [each.result(10) for each in (first, *rest)]


def answer(group: Group[int, str], commits: Commits, number: int) -> str:
    try:
        return ask(group, commits, number)
    except VifplugError as error:
        return f"{type(error).__name__} {error}"


def test_what_comes_while_one_is_at_work_is_carried_out_together() -> None:
    commits = Commits()
    group: Group[int, str] = Group(lambda _number: 1, 100)
    assert ask_all(group, commits, range(10)) == list(map(str, range(10)))
    assert [len(batch) for batch in commits.batches] == [1, 9]


def test_one_that_fails_fails_alone() -> None:
    commits = Commits()
    group: Group[int, str] = Group(lambda _number: 1, 100)
    found = ask_all(group, commits, [1, 2, 3, -4, 5, 6, -7, 8])
    assert found == ["1", "2", "3", "LinkError no -4", "5", "6", "LinkError no -7", "8"]


def test_no_more_than_the_most_go_together_and_a_larger_one_goes_alone() -> None:
    commits = Commits()
    group: Group[int, str] = Group(lambda number: number, 10)
    found = ask_all(group, commits, [1, 4, 4, 4, 30, 2])
    assert sorted(found) == sorted(["1", "4", "4", "4", "30", "2"])
    assert all(sum(batch) <= 10 or len(batch) == 1 for batch in commits.batches), commits.batches
    assert any(len(batch) > 1 for batch in commits.batches)


def test_each_thread_raises_an_error_of_its_own() -> None:
    errors: list[BaseException] = []
    group: Group[int, str] = Group(lambda _: 1, 10)

    def away(asked: Sequence[int]) -> list[str | VifplugError]:
        return [OvsUnavailable("away", "x", "y")] * len(asked)

    def try_to_ask(number: int) -> None:
        try:
            ask(group, away, number)
        except OvsUnavailable as error:
            errors.append(error)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(try_to_ask, range(8)))
    assert len({id(error) for error in errors}) == 8
    assert {(str(error), error.args) for error in errors} == {("away", ("away", "x", "y"))}


@pytest.mark.parametrize("error", [KeyboardInterrupt, TypeError])
def test_thread_that_is_broken_off_affects_no_other(error: type[BaseException]) -> None:
    """It works for others, too; they go on, each by itself, and only it raises."""
    release, begun = threading.Event(), threading.Event()
    batches: list[list[str]] = []
    raised: list[object] = []

    def together(asked: Sequence[str]) -> list[str | VifplugError]:
        batches.append(list(asked))
        if asked == ["first"]:
            begun.set()
            release.wait(5)
        if "broken" in asked and not (error is KeyboardInterrupt and raised):
            raised.append(error)
            raise error("broken off")
        return list(asked)

    group: Group[str, str] = Group(len, 1000)
    found: dict[str, str] = {}

    def try_to_ask(word: str) -> None:
        try:
            found[word] = ask(group, together, word)
        except BaseException as ending:
            found[word] = type(ending).__name__

    threads = [threading.Thread(target=try_to_ask, args=("first",))]
    threads[0].start()
    begun.wait(5)
    for word in ("broken", "a", "b", "c"):
        threads.append(threading.Thread(target=try_to_ask, args=(word,)))
        threads[-1].start()
        deadline = time.monotonic() + 5
        while len(group._waiting) < len(threads) - 1 and time.monotonic() < deadline:
            time.sleep(0.001)
    release.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    if error is TypeError:
        assert found.pop("broken") == "TypeError"
    lost = [word for word, output in found.items() if output != word]
    # Ctrl-C is that of the thread it comes to; a bug is that of the request that meets with it.
    assert len(lost) <= (1 if error is KeyboardInterrupt else 0), found


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_halves_answer_in_order(count: int) -> None:
    def work(asked: Sequence[int]) -> list[int]:
        if any(number % 3 == 2 for number in asked):
            raise LinkError("two", "x")
        return [number * 10 for number in asked]

    found = apart(range(count), work)
    assert [each if isinstance(each, int) else "bad" for each in found] == [
        "bad" if number % 3 == 2 else number * 10 for number in range(count)
    ]
    assert apart([], work) == []


def test_what_concerns_all_is_tried_once() -> None:
    tries: list[int] = []

    def away(asked: Sequence[int]) -> list[int]:
        tries.append(len(asked))
        raise OvsUnavailable("away")

    assert all(isinstance(each, OvsUnavailable) for each in apart(range(8), away))
    assert tries == [8]


def test_no_request_is_forgotten_under_load() -> None:
    group: Group[int, int] = Group(lambda _number: 1, 5)
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(lambda number: ask(group, list, number), range(2000))) == list(range(2000))


def test_thread_that_is_broken_off_leaves_once_its_request_is_carried_out() -> None:
    """It gives up the locks of its VIFs then, and not while another thread works on them."""
    group: Group[str, str] = Group(len, 1000)
    begun, gates = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    calls, left = itertools.count(), threading.Event()

    def work(asked: Sequence[str]) -> list[str]:
        number = next(calls)
        begun[number].set()
        gates[number].wait(5)
        return list(asked)

    threads = [threading.Thread(target=ask, args=(group, work, "blocker"))]
    threads[0].start()
    assert begun[0].wait(5)
    for waiting, word in enumerate(("leader", "follower"), 1):
        threads.append(threading.Thread(target=ask, args=(group, work, word)))
        threads[-1].start()
        deadline = time.monotonic() + 5
        while len(group._waiting) < waiting and time.monotonic() < deadline:
            time.sleep(0.001)
    tickets = list(group._waiting)
    gates[0].set()
    assert begun[1].wait(5)
    (ticket,) = (each for each in tickets if each is not group._leader)

    def leave() -> None:
        group.leave(ticket, for_good=True)
        left.set()

    threads.append(threading.Thread(target=leave))
    threads[-1].start()
    assert not left.wait(0.2), "its request is being carried out"
    gates[1].set()
    assert left.wait(5)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_lock_is_free_after_an_interrupt_at_any_moment() -> None:
    """The condition's own ``with`` is Python, in which a signal may leave the lock taken."""
    group: Group[int, int] = Group(lambda _number: 1, 5)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        for number in range(2000):
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 60))
                for _ in range(20):
                    ask(group, list, number)
                signal.setitimer(signal.ITIMER_REAL, 0)
                time.sleep(0)  # a signal that came just before is handled here
            assert not group._condition._is_owned()  # type: ignore[attr-defined]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ask(group, list, 7) == 7
