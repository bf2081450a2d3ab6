"""Group commit: what is asked for while something is carried out is carried out together, when that has ended.

As a database does it with its log: nobody waits for a timer, and all share what is expensive (an OVSDB transaction
makes vswitchd look at every port, whatever it holds). One request that fails does not fail its neighbours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vifplug.errors import HelperDied, OvsUnavailable, TimedOut, VifplugError

OF_ALL = (HelperDied, OvsUnavailable, TimedOut)
"""What fails not because of one request among many: to try each half would only wait as long again."""

R = TypeVar("R")
A = TypeVar("A")


def apart(requests: Sequence[R], work: Callable[[Sequence[R]], Sequence[A]]) -> list[A | VifplugError]:
    """All together; where that fails each half by itself, so that few bad ones cost few tries.

    :param work: answers all requests, or raises and leaves nothing of any.
    :returns: each one's answer or error, in order.
    """
    if not requests:
        return []
    try:
        return list(work(requests))
    except VifplugError as error:
        if len(requests) == 1 or isinstance(error, OF_ALL):
            return [error] * len(requests)
        half = len(requests) // 2
        return apart(requests[:half], work) + apart(requests[half:], work)


@dataclass(slots=True, eq=False)
class _Ticket(Generic[R, A]):
    request: R
    size: int
    answer: A | Exception | None = None
    done: bool = False


class Group(Generic[R, A]):
    """Where requests of threads meet. The thread that finds nobody at work is the one who works, for all that wait.

    :param together: answers requests; each one's answer or error, in order.
    :param size: how much of ``most`` a request takes.
    :param most: how much is carried out at once; a larger request is carried out by itself.
    """

    def __init__(
        self, together: Callable[[Sequence[R]], Sequence[A | VifplugError]], size: Callable[[R], int], most: int
    ) -> None:
        self._together, self._size, self._most = together, size, most
        self._condition = threading.Condition()
        self._waiting: list[_Ticket[R, A]] = []
        self._is_busy = False

    def ask(self, request: R) -> A:
        """The answer, when this thread or another has worked it out.

        :raises VifplugError: the request's own.
        """
        ticket = _Ticket[R, A](request, self._size(request))
        with self._condition:
            self._waiting.append(ticket)
        while True:
            with self._condition:
                while self._is_busy and not ticket.done:
                    self._condition.wait()
                if ticket.done:
                    break
                self._is_busy = True
                batch = self._next()
            self._work(batch, ticket)
        if isinstance(ticket.answer, VifplugError):
            # One error may be that of many threads: each raises its own, so that no traceback grows another's frames.
            raise type(ticket.answer)(*ticket.answer.args) from ticket.answer
        if isinstance(ticket.answer, Exception):
            raise ticket.answer
        return ticket.answer  # type: ignore[return-value]

    def _next(self) -> list[_Ticket[R, A]]:
        """The longest waiting, as many as may be carried out at once."""
        count, size = 0, 0
        for ticket in self._waiting:
            size += ticket.size
            if count and size > self._most:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _work(self, batch: Sequence[_Ticket[R, A]], own: _Ticket[R, A]) -> None:
        try:
            answers: Sequence[A | Exception] = list(self._together([ticket.request for ticket in batch]))
            assert len(answers) == len(batch), "an answer for each"
        except Exception as error:
            if len(batch) > 1:
                # A bug that one of them met with: whose it is shows when each goes by itself.
                self._requeue(batch)
                return
            answers = [error]
        except BaseException:
            # Ctrl-C in this thread, which was at work for others, too: they go on.
            self._requeue([ticket for ticket in batch if ticket is not own], without=own)
            raise
        with self._condition:
            self._is_busy = False
            for ticket, answer in zip(batch, answers, strict=True):
                ticket.answer, ticket.done = answer, True
            self._condition.notify_all()

    def _requeue(self, batch: Sequence[_Ticket[R, A]], without: _Ticket[R, A] | None = None) -> None:
        with self._condition:
            self._is_busy = False
            for ticket in batch:
                ticket.size = self._most
            self._waiting = [*batch, *(ticket for ticket in self._waiting if ticket is not without)]
            self._condition.notify_all()
