"""Group commit: requests that arrive while others are carried out are then carried out together.

As a database does with its log: no thread waits for a timer, and all share what is expensive (an OVSDB transaction
makes vswitchd process every port, whatever it contains). A request that fails does not make the others fail.

    with group.turn(request) as turn:
        for batch in turn:
            with batch:
                batch.answers = carry_out(batch.requests)
    return turn.answer()
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from vifplug.errors import HelperDied, OvsUnavailable, TimedOut, VifplugError

OF_ALL = (HelperDied, OvsUnavailable, TimedOut)
"""Errors that are not due to a single request: a retry of each half would only wait as long again."""

R = TypeVar("R")
A = TypeVar("A")


@dataclass(slots=True, eq=False)
class _Ticket(Generic[R, A]):
    """A request, and its answer or error."""

    request: R
    size: int = 0
    tried: bool = False
    answer: A | Exception | None = None
    done: bool = False


class Batch(Generic[R, A]):
    """Requests that are carried out together, in a ``with`` statement whose body sets ``answers`` or raises.

    After a VifplugError of several requests, each half is tried separately, so that few bad requests cost few tries.
    After any other exception each request is tried separately: that shows which of them hit the bug.
    """

    def __init__(self, tickets: Sequence[_Ticket[R, A]]) -> None:
        self._tickets = tickets
        self.answers: Sequence[A | VifplugError] = ()
        """One for each request, in order."""
        self.parts: list[Sequence[_Ticket[R, A]]] = []
        """Batches to be tried next, instead of this one."""
        self.is_repeated = False
        """Inside the ``with`` statement: whether an earlier try that ended without an answer may have carried out one
        of the requests."""

    @property
    def requests(self) -> list[R]:
        """The requests to carry out; the body answers all of them, or raises and leaves nothing of any."""
        return [ticket.request for ticket in self._tickets]

    def __enter__(self) -> Self:
        self.is_repeated = any(ticket.tried for ticket in self._tickets)
        for ticket in self._tickets:
            ticket.tried = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        tickets = self._tickets
        if error is None:
            self._set(self.answers)
        elif not isinstance(error, Exception):
            return False  # Ctrl-C: the other threads carry out their requests (Turn.__exit__)
        elif len(tickets) == 1 or isinstance(error, OF_ALL):
            self._set([error] * len(tickets))
        elif isinstance(error, VifplugError):
            half = len(tickets) // 2
            self.parts = [tickets[:half], tickets[half:]]
        else:
            self.parts = [[ticket] for ticket in tickets]
        return True

    def _set(self, answers: Sequence[A | Exception]) -> None:
        for ticket, answer in zip(self._tickets, answers, strict=True):
            ticket.answer, ticket.done = answer, True


def _batches(tickets: Sequence[_Ticket[R, A]]) -> Iterator[Batch[R, A]]:
    waiting = [tickets] if tickets else []
    while waiting:
        batch = Batch(waiting.pop(0))
        yield batch
        waiting[:0] = batch.parts


def apart(requests: Sequence[R], work: Callable[[Sequence[R]], Sequence[A]]) -> list[A | VifplugError]:
    """Carry out requests of one thread: all together; if that fails, each half separately.

    :param work: answers all requests, or raises and leaves nothing of any.
    :returns: each one's answer or error, in order.
    :raises Exception: any other than a VifplugError, from the first request that raised it.
    """
    tickets = [_Ticket[R, A](request) for request in requests]
    for batch in _batches(tickets):
        with batch:
            batch.answers = work(batch.requests)
    answers: list[A | VifplugError] = []
    for ticket in tickets:
        if isinstance(ticket.answer, Exception) and not isinstance(ticket.answer, VifplugError):
            raise ticket.answer
        answers.append(ticket.answer)  # type: ignore[arg-type]
    return answers


class Group(Generic[R, A]):
    """A queue of the requests of threads. A thread that finds no other one working carries out all waiting requests.

    :param size: the share of ``most`` that a request takes.
    :param most: the maximum that is carried out at once; a larger request is carried out alone.
    """

    def __init__(self, size: Callable[[R], int], most: int) -> None:
        self._size, self._most = size, most
        # Not the condition's own ``with``, which is Python: a Ctrl-C inside it may leave the lock taken for ever.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._waiting: list[_Ticket[R, A]] = []
        self._leader: _Ticket[R, A] | None = None
        """The ticket of the working thread."""
        self._taken: list[_Ticket[R, A]] = []
        """The tickets that it carries out."""

    @property
    def is_busy(self) -> bool:
        """Whether a thread is working: another one's request would wait."""
        return self._leader is not None

    def turn(self, request: R) -> Turn[R, A]:
        """A request's turn, as a context."""
        return Turn(self, _Ticket(request, self._size(request)))

    def enter(self, ticket: _Ticket[R, A]) -> None:
        """Queue a request."""
        with self._lock:
            self._waiting.append(ticket)

    def next(self, ticket: _Ticket[R, A]) -> Sequence[_Ticket[R, A]]:
        """Wait until no other thread works; take the longest waiting requests, as many as may be carried out at once.

        :returns: nothing if another thread has carried out this ticket's request.
        """
        with self._lock:
            while self._leader is not None and not ticket.done:
                self._condition.wait()
            if ticket.done:
                return ()
            self._leader = ticket
            count, size = 0, 0
            for waiting in self._waiting:
                size += waiting.size
                if count and size > self._most:
                    break
                count += 1
            self._taken, self._waiting = self._waiting[:count], self._waiting[count:]
            return self._taken

    def leave(self, ticket: _Ticket[R, A], *, for_good: bool = False) -> None:
        """End the work of this ticket's thread, if it is working. The next thread carries out the remaining requests.

        :param for_good: the ticket's own request is cancelled. If another thread is carrying it out, wait for that: the
            caller releases its locks next.
        """
        with self._lock:
            if self._leader is ticket:
                left = [waiting for waiting in self._taken if not waiting.done and waiting not in self._waiting]
                self._waiting = [*left, *self._waiting]
                self._taken, self._leader = [], None
            self._condition.notify_all()
            while for_good:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                if ticket.done or ticket not in self._taken:
                    break
                self._condition.wait()


class Turn(Generic[R, A]):
    """A request of this thread. Iterating waits for its turn, and yields batches for this thread to carry out: none if
    another thread has carried out the request."""

    def __init__(self, group: Group[R, A], ticket: _Ticket[R, A]) -> None:
        self._group, self._ticket = group, ticket

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[Batch[R, A]]:
        self._group.enter(self._ticket)
        while not self._ticket.done:
            yield from _batches(self._group.next(self._ticket))
            self._group.leave(self._ticket)

    def __exit__(self, *_raised: object) -> None:
        # After Ctrl-C in this thread, which may have been working for other threads, too.
        self._group.leave(self._ticket, for_good=True)

    def answer(self) -> A:
        """The request's answer.

        :raises VifplugError: the request's own.
        """
        answer = self._ticket.answer
        if isinstance(answer, VifplugError):
            # One error may belong to many threads: each raises its own copy, so that their tracebacks do not mix.
            raise type(answer)(*answer.args) from answer
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]
