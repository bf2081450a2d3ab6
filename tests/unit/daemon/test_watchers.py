"""The threads that follow the host: what ends them, and what only makes them ask again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from vifplug.daemon.reconcile import watchers
from vifplug.daemon.reconcile.inbox import Inbox
from vifplug.daemon.reconcile.watchers import Watchers
from vifplug.errors import HelperDied, TimedOut

QUIET = {"everything": False, "owners": []}


class Host:
    """A host whose helper gives these answers about nftables, and then none."""

    def __init__(self, inbox: Inbox, *answers: Exception | Mapping[str, Any]) -> None:
        self._inbox, self._answers = inbox, iter(answers)
        self.asked = itertools.count()
        self.count = 0

    def follow_filters(self) -> Mapping[str, Any]:
        self.count = next(self.asked)
        answer = next(self._answers, None)
        if answer is None:
            self._inbox.close()
            return QUIET
        if isinstance(answer, Exception):
            raise answer
        return answer

    def watch_links(self) -> Iterator[Any]:
        return iter(())


def followed(*answers: Exception | Mapping[str, Any]) -> tuple[Inbox, Host]:
    inbox = Inbox()
    host = Host(inbox, *answers)
    watching = Watchers(host, None, inbox, lambda: None, lambda _is_connected: None, filters=True)  # type: ignore[arg-type]
    watching._follow_filters()
    return inbox, host


@pytest.mark.parametrize("error", [TimedOut("the privileged helper did not answer"), OSError("ENOBUFS")])
def test_filters_are_followed_again_and_all_compared_after_an_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A helper that was stopped for a while answers again, and changes of that time may be lost."""
    monkeypatch.setattr(watchers, "_AGAIN_SECONDS", 0.0)
    inbox, host = followed(error, QUIET)
    assert host.count == 2
    assert inbox.drain().reasons == {"nftables"}


def test_filters_are_followed_no_more_without_a_helper() -> None:
    inbox, host = followed(HelperDied("it ended"), QUIET)
    assert host.count == 0
    assert not inbox.closed


def test_quiet_nftables_cost_no_comparison() -> None:
    inbox, host = followed(QUIET, QUIET)
    assert host.count == 2
    assert not inbox.drain().reasons
