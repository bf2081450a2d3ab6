"""The helper's memory has a bound, whatever its caller sends, and it goes on answering."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from oslo_privsep import comm

import vifplug
from tests.functional.privileged.test_privilege import status_of
from tests.support.counts import times
from tests.support.faults import faults
from tests.support.faults.faults import vif
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.privileged.helper import channel as channels
from vifplug.privileged.helper import message_reader, serve
from vifplug.privileged.ovsdb import verbs as ovsdb

MEBIBYTE = 1 << 20
GROWTH_MAX = 40 * MEBIBYTE
"""A helper of vifplugd begins with some 60 MiB, and is to stay below 100; one forked by pytest begins with pytest's."""
SECONDS = 120.0
READ, WAIT = "vifplug.privileged.ovsdb.verbs.read", "vifplug.privileged.ovsdb.verbs.wait"
NOTHING_ASKED: tuple[Any, ...] = ([], [], [], False, True)


@pytest.fixture
def host(world: World) -> Iterator[LocalHost]:
    """The library, with a helper of its own that has been at work."""
    with vifplug.local(str(world.config_file)) as host:
        host.plug([vif("ovs-hybrid")])
        yield host


def memory(host: LocalHost, key: str) -> int:
    """How much memory the helper has (VmRSS) or has had at most (VmHWM), in bytes."""
    return int(status_of(faults.linux_host(host).helper_pid)[key].split()[0]) * 1024


@contextlib.contextmanager
def stays_well(host: LocalHost) -> Iterator[None]:
    """The same helper answers afterwards, and has never grown much."""
    before = memory(host, "VmRSS")
    yield
    assert faults.linux_host(host)._channel.running
    assert "br-int" in faults.linux_host(host)._channel.call(ovsdb.read, *NOTHING_ASKED, timeout=SECONDS)["bridges"]
    growth = memory(host, "VmHWM") - before
    assert growth < GROWTH_MAX, f"grew by {growth / MEBIBYTE:.0f} MiB"


CROWDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "large strings": (WAIT, (10**9, 0.2, ["x" * (8 * MEBIBYTE)])),
    "strings as large as allowed": (WAIT, (10**9, 0.2, ["x" * (serve.MESSAGE_BYTES_MAX - 1000)])),
    "many values": (WAIT, (10**9, 0.2, ["ab"] * (message_reader.VALUES_MAX - 1000))),
    "many maps": (READ, ([{"a": {}}] * (message_reader.VALUES_MAX // 3 - 1000), [], [], False, True)),
    "small ones": (WAIT, (10**9, 0.2, ["ab"] * 900)),
}


@pytest.mark.parametrize("kind", CROWDS)
def test_hundred_queued_messages_take_bounded_memory(world: World, host: LocalHost, kind: str) -> None:
    channel = faults.linux_host(host)._channel._channel
    name, arguments = CROWDS[kind]
    # Packed once: this process has to hold it, too.
    body = msgpack.packb((comm.Message.CALL.value, name, arguments, {}), use_bin_type=True)
    numbers = [f"{number:036}" for number in range(20 if kind.startswith("many") else 100)]
    with stays_well(host):
        for number in numbers:
            channel.outstanding_msgs[number] = channels._Answer(channel.lock, SECONDS)
            with channel.sending:
                channel.writer.writesock.sendall(b"\x92" + msgpack.packb(number))
                channel.writer.writesock.sendall(body)
        answers = [channel.answer(number) for number in numbers]
    assert {answer[0] for answer in answers} == {comm.Message.ERR.value}
    for number in numbers:
        channel.forget(number)


def test_message_of_110_mebibytes_is_refused_and_the_next_is_answered(world: World, host: LocalHost) -> None:
    channel = faults.linux_host(host)._channel
    for large in ("x" * (110 * MEBIBYTE), ["x" * MEBIBYTE] * 110):
        with stays_well(host), pytest.raises(errors.PermissionDenied, match="a message of"):
            channel.call(ovsdb.read, large, [], [], False, True, timeout=SECONDS)
    host.unplug([vif("ovs-hybrid").id])


def test_random_messages_leave_the_helper_alive(world: World, host: LocalHost) -> None:
    channel, dice = faults.linux_host(host)._channel._channel, random.Random(7)
    before = world.snapshot()
    with stays_well(host):
        for _ in range(times(2_000, 100_000)):
            with channel.sending:
                channel.writer.writesock.sendall(msgpack.packb(message(dice), use_bin_type=True))
    assert world.snapshot() == before


def message(dice: random.Random) -> Any:
    """Something that may look like a call."""
    calls = [
        READ,
        WAIT,
        "vifplug.privileged.apply.apply",
        "vifplug.privileged.ovsdb.verbs.changes",
        "os.system",
        "",
    ]
    shape = dice.randrange(4)
    if shape == 0:
        return value(dice, 0)
    number = dice.choice(["n", "", 5, None, b"n", "n" * 1000, ["n"]])
    if shape == 1:
        return [number, value(dice, 0)]
    kind = dice.choice([comm.Message.CALL.value, comm.Message.PING.value, 77, None])
    return [number, [kind, dice.choice(calls), [value(dice, 0) for _ in range(dice.randrange(4))], {}]]


def value(dice: random.Random, depth: int) -> Any:
    """Any value that the wire takes."""
    plain = [None, True, 0, -1, 2**63, 1.5, "", "qvo", "é", b"\xff", "x" * 300, "delete", "name", "../x"]
    kind = dice.randrange(4) if depth < 4 else 0
    if kind == 2:
        return [value(dice, depth + 1) for _ in range(dice.randrange(5))]
    if kind == 3:
        keys = ("op", "name", "owner", "role", "links", "values", "adopt")
        return {dice.choice(keys): value(dice, depth + 1) for _ in range(dice.randrange(5))}
    return dice.choice(plain)
