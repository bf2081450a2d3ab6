"""The channel to the helper: questions that are asked while their caller does something else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.privileged.helper.channel import Channel
from vifplug.privileged.ovsdb import verbs as ovsdb

NOTHING_ASKED: tuple[Any, ...] = ([], [], [], False, True)
SECONDS = 5.0


@pytest.fixture
def host(world: World) -> Iterator[LocalHost]:
    """The library, with a helper of its own."""
    with vifplug.local(str(world.config_file)) as host:
        yield host


@pytest.fixture
def channel(host: LocalHost) -> Channel:
    """The caller's end of its helper."""
    return faults.linux_host(host)._channel


def is_answered(channel: Channel) -> bool:
    """Whether the only question has its answer."""
    (question,) = channel._channel.outstanding_msgs.values()
    return question.data is not None


def test_answer_that_comes_before_it_is_waited_for_is_not_waited_for(channel: Channel) -> None:
    with channel.asked(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS) as rows:
        wait_until(lambda: is_answered(channel), "the answer", SECONDS)
        assert "br-int" in rows()["bridges"], "in vain it would be waited for until the time is over"


def test_answer_wakes_its_caller_and_no_other_thread(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's thread, awake beside the caller, would take Python's lock from it."""
    own, readers = channel._channel, list[int]()
    read = own._read

    def noted(*flags: Any) -> None:
        readers.append(threading.get_ident())
        read(*flags)

    monkeypatch.setattr(own, "_read", noted)
    for _ in range(20):
        channel.call(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS)
    # An answer that comes before its caller waits is the other thread's. If each woke both, each would read half.
    assert readers.count(threading.get_ident()) > 0.6 * len(readers)


def test_answer_that_its_caller_was_too_late_for_is_read_by_the_library(channel: Channel) -> None:
    with (
        channel.asked(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS) as first,
        channel.asked(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS) as second,
    ):
        first()
        wait_until(lambda: all(q.data is not None for q in channel._channel.outstanding_msgs.values()), "both", SECONDS)
        assert "br-int" in second()["bridges"]


def test_helper_that_ends_meanwhile_is_reported(host: LocalHost, channel: Channel) -> None:
    with (
        pytest.raises(errors.HelperDied, match="ended during 'wait'"),
        channel.asked(ovsdb.wait, 10**9, SECONDS, [], timeout=SECONDS) as waited,
    ):
        faults.kill_helper(faults.linux_host(host))
        wait_until(lambda: not channel.running, "the end of the helper", SECONDS)
        waited()
    with pytest.raises(errors.HelperDied), channel.asked(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS):
        raise AssertionError("nobody is there to be asked")
    assert not channel._channel.outstanding_msgs


def test_own_failure_meanwhile_is_raised_as_it_is_and_the_answer_forgotten(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vifplug.privileged.helper.channel")
    with (
        pytest.raises(FileNotFoundError, match="my own"),
        channel.asked(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS),
    ):
        raise FileNotFoundError("my own")
    assert not channel._channel.outstanding_msgs
    assert "br-int" in channel.call(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS)["bridges"], "the next one is answered"
    # oslo.privsep would warn of it, before the command's own line.
    wait_until(lambda: "without a waiting caller" in caplog.text, "the answer without a caller", SECONDS)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
