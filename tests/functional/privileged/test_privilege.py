"""The privileged helper: as little power as the work needs, no trust in its caller, and no trace of it afterwards."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import device, vif
from tests.support.scenarios import ABSENT, WHOLE, Scene
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.linux import host as linux
from vifplug.privileged.helper import channel as channels

CAP_NET_ADMIN = 1 << 12
OTHER = "0000dead-d1c4-4b1e-8a51-6f0e5c9d77aa"
SECONDS = 10.0


@pytest.fixture
def host(world: World) -> Iterator[LocalHost]:
    """The library, with a helper of its own."""
    with vifplug.local(str(world.config_file)) as host:
        yield host


def channel_of(host: LocalHost) -> channels.Channel:
    """The caller's end of the helper."""
    return faults.linux_host(host)._channel


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}


def is_refused(host: LocalHost, plane: str, operation: dict[str, Any]) -> bool:
    """Whether the helper refuses, in whatever words: no honest caller sends this."""
    try:
        faults.change(host, plane, [operation])
    except Exception as error:
        assert not isinstance(error, errors.HelperDied | errors.TimedOut), error
        return True
    return False


# -- power ----------------------------------------------------------------------------------------------------


def test_helper_is_root_with_one_capability_and_no_way_to_more(host: LocalHost) -> None:
    host.plug(faults.batch())  # so that there are workers, and the thread of the OVSDB session
    helper = faults.linux_host(host).helper_pid
    threads = [int(thread) for thread in os.listdir(f"/proc/{helper}/task")]
    assert len(threads) > 2
    for status in map(status_of, threads):
        assert {int(status[key], 16) for key in ("CapEff", "CapPrm")} == {CAP_NET_ADMIN}
        assert {int(status[key], 16) for key in ("CapInh", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == "1"
        assert set(status["Uid"].split()) == {"0"}


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that comes into being when module ``sprung`` is imported, or function ``sprung.spring`` is called."""
    made = tmp_path / "made"
    (tmp_path / "sprung.py").write_text(f"open({str(made)!r}, 'w')\ndef spring():\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return made


def test_request_does_not_import_what_it_names(trap: Path, host: LocalHost) -> None:
    raw = channel_of(host)._channel
    for name in ("sprung.spring", "sprung", "sprung.missing", "os.path.sprung.spring"):
        with pytest.raises((ImportError, ValueError)):
            raw.remote_call(name, (), {}, SECONDS)
    assert not trap.exists()
    assert "sprung" not in sys.modules, "nor does the caller"
    # What is imported already is no way in either.
    for name, arguments in (("os.system", (f"touch {trap}",)), ("os.open", (str(trap), os.O_CREAT))):
        with pytest.raises(NameError, match="not exported"):
            raw.remote_call(name, arguments, {}, SECONDS)
    assert not trap.exists()
    with pytest.raises(errors.PermissionDenied, match="fixed at its start"):
        raw.remote_call("vifplug.privileged.helper.startup.begin", (("unix:/tmp/other",), 1.0), {}, SECONDS)
    assert host.check().clean


# -- trust ----------------------------------------------------------------------------------------------------

MAC = "02:00:00:00:00:99"
ROLES = ("qbr", "qvb", "qvo", "tap", "brq")
NAMES: list[Any] = ["", ".", "..", "a/b", "../../x", "a b", "a\n", "x" * 16, "é" * 8, 5, None, b"raw", ["a"], {}]
NAMES += ["br%d", "%", "a%%", "all", "default", "a:b", "à", "\udcff"]
OWNERS: list[Any] = ["", "x", OTHER.upper(), f"net:{OTHER} ", f"{OTHER}\n", 5, None, []]
NUMBERS: list[Any] = [-1, 0, 67, 65536, 2**31, 2**70, "1500", None, True, 1500.5, []]
ADDRESSES: list[Any] = ["", "01:00:00:00:00:00", "02:00:00:00:00", MAC.upper().replace("0", "G"), 5, None, MAC + "\n"]


def link_operations() -> Iterator[dict[str, Any]]:
    """Creations and settings with one argument out of bounds."""
    bridge = {"op": "create-bridge", "name": "made", "owner": OTHER, "role": "qbr", "address": MAC, "mtu": 1500}
    tap = {**bridge, "op": "create-tap", "multiqueue": False}
    for good in (bridge, tap):
        for key, values in (("name", NAMES), ("owner", OWNERS), ("address", ADDRESSES), ("mtu", NUMBERS)):
            yield from ({**good, key: value} for value in values)
            yield {name: value for name, value in good.items() if name != key}
    odd: list[Any] = [-1, 2**40, "1", []]
    yield from ({**bridge, "stp": value} for value in odd)
    yield from ({**tap, "uid": value} for value in odd)
    yield from ({**tap, "multiqueue": value} for value in (1, "yes", None))
    for end in ({"name": "../x"}, {"owner": ""}, {"address": ""}, {"mtu": 2**40}, {"master": "lo"}, {"master": "a/b"}):
        near = {"name": "made", "owner": OTHER, "role": "qvb", "address": MAC, "mtu": 1500, "master": None}
        far = {**near, "name": "made2", "role": "qvo", "address": MAC.replace("99", "98")}
        yield {"op": "create-veth", "ends": [{**near, **end}, far]}
        yield {"op": "create-veth", "ends": [near, {**far, **end}]}
    yield from ({"op": op} for op in ("", "set", "delete", "create-veth", "create-vlan", None, 5))


def thefts(victims: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Settings and deletions of links that are not the named owner's, with every credential a caller could forge."""
    for name, address in victims.items():
        for role in ROLES:
            for birth in (address, MAC):
                identity = {"name": name, "owner": OTHER, "role": role, "birth_address": birth, "multiqueue": False}
                for adopt in (False, True):
                    yield {"op": "set", **identity, "adopt": adopt, "values": {"mtu": 1280, "up": False}}
                yield {"op": "delete", "links": [{**identity, "spare_members": False}]}


def test_link_verb_refuses_what_is_out_of_bounds_and_changes_nothing(world: World, host: LocalHost) -> None:
    before = world.snapshot()
    for operation in link_operations():
        assert is_refused(host, "links", operation), f"carried out: {operation}"
    assert world.snapshot() == before
    assert host.check().clean


def test_link_verb_refuses_the_links_of_others(world: World, host: LocalHost) -> None:
    host.plug(faults.batch())
    # Like the MAC of a guest's tap, which one in 64 of vswitchd's own taps draws by itself.
    world.vsctl("set", "Bridge", "br-int", 'other_config:hwaddr="fe:16:3e:00:00:07"')
    wait_until(lambda: (world.link("br-int") or {})["address"] == "fe:16:3e:00:00:07", "the MAC", SECONDS)
    world.ip("link", "add", "eth7", "address", MAC, "type", "veth", "peer", "wire")
    world.ip("link", "add", "docker0", "type", "bridge")
    world.ip("tuntap", "add", "vnet0", "mode", "tap")
    world.ip("link", "set", "vnet0", "address", MAC.replace("99", "97"))
    world.ip("link", "set", "docker0", "alias", "theirs")
    links_there = {link["ifname"]: link["address"] for link in world.ip("link", "show")}
    before = world.snapshot()
    for operation in thefts(links_there):
        assert is_refused(host, "links", operation), f"carried out: {operation}"
    assert world.snapshot() == before
    assert host.check().clean


def row_operations(mine: str, owner: str, theirs: str) -> Iterator[dict[str, Any]]:
    """Changes of rows that are out of bounds, or not the named owner's."""
    add = {"op": "add", "name": "made", "owner": OTHER, "bridge": "br-int", "iface_ids": {}, "external_ids": {}}
    for key, values in (("name", NAMES), ("owner", OWNERS), ("bridge", [*NAMES, "br-lost"])):
        yield from ({**add, key: value} for value in values)
    odd: list[Any] = [-1, 4096, "1", [1]]
    texts: list[Any] = ["", 5, None, [("a", "b")], {"a": 5}, {5: "a"}, {"a\n": "b"}, {"a": "x" * 65537}]
    yield from ({**add, "iface_ids": value} for value in texts)
    yield from ({**add, "external_ids": value} for value in texts)
    yield from ({**add, "tag": value} for value in odd)
    yield from ({**add, "trunks": value} for value in ([-1], [4096], ["a"], "abc"))
    yield from ({**add, key: value} for key in ("vlan_mode", "qos_type") for value in ("evil", "trunk\n", 5, ["trunk"]))
    yield {**add, "name": mine}
    yield {**add, "name": "br-int"}
    for name in (mine, theirs, "br-int"):
        identity = {"name": name, "owner": OTHER, "uuid": ""}
        for operation in ({"op": "delete"}, {"op": "move", "bridge": "br-two"}, {"op": "reattach"}):
            yield {**identity, **operation}
        yield {**identity, "op": "set", "iface_ids": {"iface-id": OTHER}, "external_ids": {}}
    yield {"op": "set", "name": mine, "owner": owner, "iface_ids": {"a\n": "b"}, "external_ids": {}}
    yield {"op": "move", "name": mine, "owner": owner, "bridge": "br-lost"}
    yield from ({"op": op, "name": mine, "owner": owner} for op in ("", "drop", None, 5))


def test_row_verb_refuses_what_is_out_of_bounds_or_of_others(world: World, host: LocalHost) -> None:
    world.add_bridge("br-two")
    each = vif("ovs-hybrid")
    host.plug([each])
    world.ip("link", "add", "eth7", "address", MAC, "type", "veth", "peer", "wire")
    world.vsctl("add-port", "br-int", "eth7")
    before = world.snapshot()
    for operation in row_operations(device("qvo", each), each.id, "eth7"):
        assert is_refused(host, "ports", operation), f"carried out: {operation}"
    assert world.snapshot() == before
    assert host.check().clean


def test_one_bad_operation_spoils_the_rest_of_its_call(world: World, host: LocalHost) -> None:
    before = world.snapshot()
    good = {"op": "create-bridge", "name": "made", "owner": OTHER, "role": "qbr", "address": MAC, "mtu": 1500}
    with pytest.raises(errors.PermissionDenied):
        faults.change(host, "links", [good, {**good, "name": "a/b"}])
    row = {"op": "add", "name": "made", "owner": OTHER, "bridge": "br-int", "iface_ids": {}, "external_ids": {}}
    with pytest.raises(errors.PermissionDenied):
        faults.change(host, "ports", [row, {**row, "name": "a/b"}])
    assert world.snapshot() == before


# -- life and death -------------------------------------------------------------------------------------------


def kill_helper(host: LocalHost) -> None:
    """And see it dead."""
    faults.kill_helper(faults.linux_host(host))
    wait_until(lambda: not channel_of(host).running, "the end of the helper")


def test_helper_that_died_between_calls_is_replaced(world: World) -> None:
    scene = Scene.of(world, faults.batch())
    with vifplug.local(str(world.config_file)) as host:
        pids = set()
        for _ in range(3):
            pids.add(faults.linux_host(host).helper_pid)
            kill_helper(host)
            host.plug(scene.vifs)
            scene.must_be(WHOLE)
            kill_helper(host)
            host.unplug([each.id for each in scene.vifs])
            scene.must_be(ABSENT)
        assert len(pids) == 3
        assert len(faults.children()) == 1, "no zombies"
    assert faults.children() == []


def test_helper_that_hangs_is_given_up_and_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write_config(ovs={"timeout": "0.1"})
    monkeypatch.setattr(linux, "_MARGIN_SECONDS", 0.2)
    monkeypatch.setattr(channels, "_END_SECONDS", 0.2)
    before = world.snapshot()
    began = time.monotonic()
    with vifplug.local(str(world.config_file)) as host:
        os.kill(faults.linux_host(host).helper_pid, signal.SIGSTOP)
        with pytest.raises(errors.TimedOut, match="helper did not answer"):
            host.plug([vif("ovs-hybrid")])
    assert time.monotonic() - began < 3
    assert faults.children() == []
    assert world.snapshot() == before


def resources_of(pid: int) -> tuple[int, int]:
    """How many descriptors and threads."""
    return len(os.listdir(f"/proc/{pid}/fd")), int(status_of(pid)["Threads"])


def at_rest(pid: int) -> tuple[int, int]:
    """Those, once a deletion's last thread and socket are gone: the kernel frees memory after the links are gone."""
    deadline, found, since = time.monotonic() + 10, resources_of(pid), time.monotonic()
    while time.monotonic() < min(since + 0.5, deadline):
        time.sleep(0.02)
        if resources_of(pid) != found:
            found, since = resources_of(pid), time.monotonic()
    return found


def test_cycles_use_up_neither_descriptors_nor_threads_nor_leave_zombies(world: World) -> None:
    vifs = faults.batch()
    with vifplug.local(str(world.config_file)) as host:
        helper = faults.linux_host(host).helper_pid
        # Its thread pool grows up to its size; only then a baseline means something.
        crowd = [threading.Thread(target=host.check) for _ in range(40)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        host.plug(vifs)
        host.unplug([each.id for each in vifs])
        before = at_rest(helper)[0], resources_of(os.getpid())
        for _ in range(50):
            host.plug(vifs)
            host.unplug([each.id for each in vifs])
        assert (at_rest(helper)[0], resources_of(os.getpid())) == before
        assert faults.children() == [helper]


def test_opening_and_closing_leaves_nothing(world: World) -> None:
    def once() -> None:
        with vifplug.local(str(world.config_file)) as host:
            host.plug([vif("bridge")])
            host.unplug([vif("bridge").id])

    once()
    before = resources_of(os.getpid())
    for _ in range(20):
        once()
    wait_until(lambda: resources_of(os.getpid()) == before, f"as at first: {before}", 2)
    assert faults.children() == []
