"""Filters come before a VIF's device is up and go behind it, whole or not at all; no other table is touched."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.support.faults import faults
from tests.support.faults.faults import cut, plan_length, raising
from tests.support.network.frames import GuestTap, HostEnd
from tests.support.network.spoofing import ALLOWED, OWN, Frames, arp
from tests.support.network.traffic import Sniffer
from tests.support.scenarios import ABSENT, COMMANDS, WHOLE, Scene
from tests.support.vifs import BRIDGE, HYBRID, LONE_TAP, Request, library
from tests.support.world.daemons import PATIENCE
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost

SECOND = BRIDGE.but(id="2bc1ec8f-4b2e-4a6a-a1da-6286f400507c", address="fa:16:3e:f6:04:91")
VMMS = BRIDGE.but(create_tap=False)
FOREIGN = """
table bridge theirs { chain c { type filter hook forward priority 0; policy accept; ether type 0x9999 counter drop; }; }
table netdev theirs { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { counter; }; }
table ip vifplug { chain c { type filter hook input priority 0; policy accept; ip saddr 192.0.2.1 counter; }; }
"""


def filtered(request: Request, *addresses: Any) -> Request:
    return request.but(allowed_addresses=list(addresses) or ALLOWED)


@pytest.fixture(autouse=True)
def _enabled(world: World) -> None:
    world.write_config(filter={"enabled": "true"})


def ruleset(world: World) -> dict[str, list[Any]]:
    """Everything in nftables, by family and table."""
    entries = json.loads(world.run("nft", "-j", "-a", "list", "ruleset").stdout)["nftables"]
    tables: dict[str, list[Any]] = {}
    for kind, value in (pair for entry in entries for pair in entry.items() if "metainfo" not in entry):
        key = f"{value['family']} {value['name'] if kind == 'table' else value['table']}"
        tables.setdefault(key, []).append({kind: value})
    return tables


def ours(world: World) -> set[str]:
    return {name for name in ruleset(world) if name in ("bridge vifplug", "netdev vifplug")}


def test_last_unplug_leaves_no_table(world: World) -> None:
    vifs = [filtered(BRIDGE), filtered(SECOND), filtered(HYBRID), filtered(LONE_TAP)]
    with library(world) as host:
        host.plug([each.vif for each in vifs])
        assert ours(world) == {"bridge vifplug", "netdev vifplug"}
        host.unplug([HYBRID.id])
        assert ours(world) == {"netdev vifplug"}
        host.unplug([BRIDGE.id])
        chains = [part["chain"]["name"] for part in ruleset(world)["netdev vifplug"] if "chain" in part]
        assert {name for name in chains if name.startswith("vif-")} == {f"vif-{each.id}" for each in vifs[1::2]}
        assert BRIDGE.tap not in json.dumps(ruleset(world))
        host.unplug([SECOND.id, LONE_TAP.id])
        assert ours(world) == set()


def test_right_filter_is_not_written_again(world: World) -> None:
    vifs = [filtered(BRIDGE).vif, filtered(HYBRID).vif]
    with library(world) as host:
        host.plug(vifs)
        before = ruleset(world)
        assert str(host.plan(vifs)) == ""
        host.plug(vifs)
        assert ruleset(world) == before


def test_no_other_table_is_touched(world: World) -> None:
    world.run("nft", "-f", "-", input=FOREIGN)
    before = ruleset(world)
    with library(world) as host:
        host.plug([filtered(BRIDGE).vif, filtered(HYBRID).vif])
        world.run("nft", "flush", "chain", "bridge", "vifplug", "guest")
        host.repair()
        host.plug([filtered(BRIDGE, {"ip": OWN}).vif])
        during = ruleset(world)
        assert {name: during[name] for name in before} == before
        host.unplug([BRIDGE.id, HYBRID.id])
    assert ruleset(world) == before


def test_addresses_are_changed_in_one_transaction(world: World) -> None:
    """The guest's own address that stays is never refused meanwhile."""
    first, then = filtered(VMMS, {"ip": OWN}, {"ip": "10.9.0.7"}), filtered(VMMS, {"ip": OWN}, {"ip": "10.0.0.0/8"})
    with library(world) as host, guest(world, host, first) as (tap, sniffer):
        for number in range(10):
            host.plug([(then if number % 2 else first).vif])
            tap.send(arp(tap.address, OWN, OWN))
        time.sleep(0.3)
        sent = arp(tap.address, OWN, OWN)
        assert len([frame for frame in sniffer.frames if frame.data == sent]) == 10
        host.plug([filtered(VMMS, {"ip": OWN}).vif])
        del sniffer.frames[:]
        tap.send(arp(tap.address, "10.1.1.1", OWN))
        time.sleep(0.3)
        assert not sniffer.frames
        elements = [part for part in ruleset(world)["bridge vifplug"] if "set" in part]
        assert "10.9.0.7" not in json.dumps(elements)


@contextlib.contextmanager
def guest(world: World, host: LocalHost, request: Request) -> Iterator[tuple[GuestTap, Sniffer]]:
    """A plugged VIF with its VMM's tap on the bridge, and a capture behind it."""
    host.plug([request.vif])
    far = HostEnd(world, "near", "far")
    world.ip("link", "set", "near", "master", request.brq)
    tap = GuestTap(world, request.tap, request.address)
    world.ip("link", "set", request.tap, "master", request.brq, "up")
    with Sniffer(world, "far", lambda frame: not frame.outgoing) as sniffer:
        deadline = time.monotonic() + 5 * PATIENCE
        while not sniffer.frames and time.monotonic() < deadline:
            tap.send(arp(tap.address, OWN, OWN))
            time.sleep(0.05)
        time.sleep(0.2)
        del sniffer.frames[:]
        yield tap, sniffer
    tap.close()
    far.close()


class Spoofer:
    """A guest that sends nothing but frames of others, and joins the bridge whenever there is one."""

    def __init__(self, world: World, request: Request, bridge: str) -> None:
        self._world, self._bridge, self.sent = world, bridge, 0
        self._tap = GuestTap(world, request.tap, request.address)
        self._frames = list(Frames(request.address).spoofed.values())
        world.ip("link", "set", request.tap, "up")
        self._joining = subprocess.Popen(
            ["sh", "-c", f"while :; do ip link set {request.tap} master {bridge} 2>/dev/null; done"]
        )
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._closing.is_set():
            for frame in self._frames:
                self._tap.send(frame)
            self.sent += len(self._frames)
            time.sleep(0.0005)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._joining.kill()
        self._joining.wait()
        self._tap.close()


def test_no_frame_of_a_waiting_guest_passes_before_the_filter_and_behind_it(world: World) -> None:
    request = filtered(HYBRID)
    far = HostEnd(world, "near", "far")
    world.vsctl("add-port", "br-int", "near")
    spoofer = Spoofer(world, request, request.qbr)
    joined = 0
    try:
        with library(world) as host, Sniffer(world, "far", lambda frame: not frame.outgoing) as sniffer:
            for _time in range(10):
                host.plug([request.vif])
                time.sleep(0.1)
                joined += (world.link(request.tap) or {}).get("master") == request.qbr
                host.unplug([request.id])
    finally:
        spoofer.close()
        far.close()
    assert joined > 5
    assert spoofer.sent > 1000
    assert sniffer.frames == []


CASES: dict[str, Sequence[Request]] = {
    "bridge": [filtered(BRIDGE)],
    "bridge, the VMM's tap": [filtered(VMMS)],
    "ovs-hybrid": [filtered(HYBRID)],
    "tap": [filtered(LONE_TAP)],
    "batch": [filtered(BRIDGE), filtered(SECOND), filtered(HYBRID.but(create_tap=True))],
}


@pytest.mark.parametrize("case", CASES)
def test_error_at_every_action_is_undone(world: World, case: str) -> None:
    before, vifs = world.snapshot(), [each.vif for each in CASES[case]]
    for after in range(plan_length(world, vifs) + 1):
        failing = cut(after, raising(errors.FilterError("injected")))
        with failing, library(world) as host, pytest.raises(errors.FilterError):
            host.plug(vifs)
        assert world.snapshot() == before, after
        assert ours(world) == set(), after
        assert faults.stored(world) == {}, after
    with library(world) as host:
        host.plug(vifs)
        assert host.check().clean


@pytest.mark.parametrize("case", CASES)
def test_error_at_every_action_of_other_addresses_is_undone(world: World, case: str) -> None:
    vifs = [each.vif for each in CASES[case]]
    others = [filtered(each, {"ip": "10.9.0.99"}).vif for each in CASES[case]]
    with library(world) as host:
        host.plug(vifs)
        before = _named(ruleset(world))
        for after in range(plan_length(world, others) + 1):
            with cut(after, raising(errors.FilterError("injected"))), pytest.raises(errors.FilterError):
                host.plug(others)
            assert _named(ruleset(world)) == before, after
            assert host.check().clean, after


def _named(tables: dict[str, list[Any]]) -> str:
    """The ruleset without handles, in the order of names."""
    text = json.dumps({name: sorted(map(_steady, parts)) for name, parts in sorted(tables.items())})
    return text


def _steady(part: Any) -> str:
    ((kind, value),) = part.items()
    return json.dumps({kind: {key: _sorted(item) for key, item in value.items() if key != "handle"}}, sort_keys=True)


def _sorted(item: Any) -> Any:
    return sorted(item, key=json.dumps) if isinstance(item, list) else item


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("killer", [faults.kill_group, faults.kill_caller])
def test_plug_killed_at_every_action(world: World, case: str, killer: faults.Deed) -> None:
    scene = Scene.of(world, [each.vif for each in CASES[case]])
    commands = list(COMMANDS.values())
    for after in range(plan_length(world, scene.vifs) + 1):
        command, outcome = commands[after % len(commands)]
        assert scene.cut_short(COMMANDS["plug"][0], after, killer) == -signal.SIGKILL
        scene.run(command)
        scene.must_be(outcome, f"after a plug killed after {after} actions")
        assert bool(ours(world)) == (outcome == WHOLE), after
        scene.unplug()
        assert ours(world) == set(), after


def test_unplug_killed_at_every_action(world: World) -> None:
    scene = Scene.of(world, [each.vif for each in CASES["batch"]])
    for after in range(2 * len(scene.vifs) + 3):
        scene.plug()
        scene.cut_short(COMMANDS["unplug"][0], after, faults.kill_group)
        scene.unplug()
        scene.must_be(ABSENT)
        assert ours(world) == set(), after


def test_unplug_ends_whatever_another_program_did_to_the_table(world: World) -> None:
    damages = (
        "delete table netdev vifplug",
        "flush ruleset",
        "flush set netdev vifplug guests",
        "flush chain netdev vifplug guest",
        f"flush chain netdev vifplug vif-{BRIDGE.id}",
        "add table netdev vifplug { flags dormant; }",
    )
    for damage in damages:
        with library(world) as host:
            host.plug([filtered(BRIDGE).vif])
            world.run("nft", damage)
            host.unplug([BRIDGE.id])
            assert world.link(BRIDGE.tap) is None
            assert ours(world) <= ({"netdev vifplug"} if "guests" in damage else set()), damage
            world.run("nft", "flush", "ruleset")


def test_filter_without_a_record_is_an_orphan(world: World) -> None:
    with library(world) as host:
        host.plug([filtered(VMMS).vif, filtered(SECOND).vif])
    for path in world.state_dir.iterdir():
        path.unlink()
    with library(world) as host:
        orphans = {(orphan.kind, orphan.name, orphan.vif_id) for orphan in host.gc().orphans}
        assert {("filter", VMMS.tap, VMMS.id), ("filter", SECOND.tap, SECOND.id)} <= orphans
        host.gc(delete=True)
        assert ours(world) == set()
        assert host.check().clean


def test_two_processes_at_once_make_and_delete_one_table(world: World) -> None:
    names = [(f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa", f"fa:16:3e:00:01:{number:02x}") for number in range(1, 25)]
    vifs = [filtered(BRIDGE.but(id=identity, address=mac), {"ip": OWN}) for identity, mac in names]
    halves = [vifs[:12], vifs[12:]]
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(library(world)) for _half in halves]

        def work(host: LocalHost, half: Sequence[Request]) -> None:
            try:
                for each in half:
                    host.plug([each.vif])
                for each in half:
                    host.unplug([each.id])
            except errors.VifplugError as error:
                failures.append(str(error))

        failures: list[str] = []
        for _time in range(3):
            threads = [threading.Thread(target=work, args=pair) for pair in zip(hosts, halves, strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == []
            assert ours(world) == set()


def test_rules_are_read_back_as_another_tool_lists_them(world: World) -> None:
    with library(world) as host:
        host.plug([filtered(BRIDGE).vif])
    parts = ruleset(world)["netdev vifplug"]
    sets = {part["set"]["name"]: part["set"].get("elem", []) for part in parts if "set" in part}
    assert [element["elem"]["val"] for element in sets["guests"]] == [BRIDGE.tap]
    assert {element["elem"]["comment"] for element in sets["macs"]} == {f"vifplug:{BRIDGE.id}"}
    addresses = {tuple(element["elem"]["val"]["concat"][1:]) for element in sets["ipv4"]}
    assert addresses == {(BRIDGE.address, OWN), ("00:00:5e:00:01:0a", "10.9.0.77")}
    own = world.run("nft", "list", "chain", "netdev", "vifplug", f"vif-{BRIDGE.id}").stdout
    assert f'type filter hook ingress device "{BRIDGE.tap}"' in own
