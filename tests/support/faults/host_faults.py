"""Faults of a host with many VIFs: each is caused with ``ip``, ``ovs-vsctl``, kill or rm.

A fault returns the time from which a repair is possible: OVSDB's socket answers (and a bridge exists), or the last
command has returned.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.vifs import MTU
from tests.support.world.daemons import SCHEMA, wait_until
from tests.support.world.fleet import Member
from tests.support.world.world import DATAPATH_TYPE, World

Damage = Callable[[World, Sequence[Member]], float]
ANY, OVS, HYBRID = ("ovs-hybrid", "ovs", "bridge"), ("ovs-hybrid", "ovs"), ("ovs-hybrid",)


@dataclass(frozen=True)
class Fault:
    """One way to damage a host."""

    name: str
    damage: Damage
    types: tuple[str, ...] = ANY
    """The type of the affected VIFs."""
    ovs: bool = False
    """Whether it affects Open vSwitch as a whole, and so interrupts all its traffic."""
    rows: str = "keeps"
    """Whether OVS ``keeps`` its rows, or ``loses`` them and what a control plane had written into them."""


def _answers(world: World) -> bool:
    with socket.socket(socket.AF_UNIX) as asked:
        try:
            asked.connect(str(world.socket))
        except OSError:
            return False
    return True


def _socket_back(world: World) -> float:
    wait_until(lambda: _answers(world), "OVSDB's socket")
    return time.monotonic()


def _vswitchd_restarted(world: World, _victims: Sequence[Member]) -> float:
    world.stop_vswitchd()
    back = time.monotonic()
    world.start_vswitchd()
    return back


def _killed(world: World, _victims: Sequence[Member]) -> float:
    world.stop_vswitchd(signal.SIGKILL)
    world.ovsdb.stop(signal.SIGKILL)
    world.socket.unlink(missing_ok=True)
    time.sleep(0.5)
    world.ovsdb.start()
    back = _socket_back(world)
    world.start_vswitchd()
    return back


def _database_deleted(world: World, _victims: Sequence[Member]) -> float:
    world.stop_vswitchd()
    world.ovsdb.stop()
    database = world.directory / "conf.db"
    database.unlink()
    for lock in world.directory.glob(".conf.db.~lock~"):
        lock.unlink()
    subprocess.run(["ovsdb-tool", "create", str(database), str(SCHEMA)], check=True)
    time.sleep(0.5)
    world.ovsdb.start()
    _socket_back(world)
    world.vsctl("--no-wait", "init")
    world.start_vswitchd()
    return _bridge_made(world)


def _bridge_made(world: World) -> float:
    made = ["add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={DATAPATH_TYPE}"]
    world.vsctl("--no-wait", *made)
    return time.monotonic()


def _bridge_deleted(world: World, _victims: Sequence[Member]) -> float:
    # Closing a port takes vswitchd 10 ms and more; with a thousand ports, longer than world.vsctl waits.
    deleted = ["--timeout=120", f"--db=unix:{world.socket}", "del-br", "br-int"]
    world.run("ovs-vsctl", "--no-syslog", *deleted, timeout=130)
    time.sleep(0.7)
    return _bridge_made(world)


def _bridge_replaced(world: World, _victims: Sequence[Member]) -> float:
    """As fast as two commands can run."""
    world.vsctl("--no-wait", "del-br", "br-int")
    return _bridge_made(world)


def _ports_deleted(world: World, victims: Sequence[Member]) -> float:
    words = [word for member in victims for word in ("--", "del-port", member.request.port)]
    world.vsctl(*words[1:])
    return time.monotonic()


def _ids_removed(world: World, victims: Sequence[Member]) -> float:
    words: list[str] = []
    for number, member in enumerate(victims):
        port = member.request.port
        words += ["--", "clear", "Interface", port, "external_ids"]
        words += ["--", "remove", "Port", port, "external_ids", "vifplug-vif"] if number % 2 else []
    world.vsctl(*words[1:])
    return time.monotonic()


def _links(line: str, roles: Sequence[str]) -> Damage:
    """``ip`` lines for one role's device of each victim, the roles in turn; a VIF without that device: its tap."""

    def damage(world: World, victims: Sequence[Member]) -> float:
        lines: list[str] = []
        for number, member in enumerate(victims):
            role = roles[number % len(roles)] if member.request.type == "ovs-hybrid" else "tap"
            fields = {"name": member.request.names[role], **member.request.names}
            lines += line.format(**fields, mtu=MTU, address=member.request.address).split("; ")
        # The daemon may have been faster.
        world.run("ip", "-force", "-batch", "-", input="\n".join(lines) + "\n", check=";" not in line)
        return time.monotonic()

    return damage


def _ipv6(world: World, victims: Sequence[Member]) -> float:
    lines = [f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6" for member in victims for device in member.devices]
    world.run("sh", "-c", "".join(f"echo 0 > {path}\n" for path in lines))
    return time.monotonic()


EVERY = ("qvb", "qvo", "qbr", "tap")
FAULTS = (
    Fault("ovs-vswitchd restarted", _vswitchd_restarted, OVS, ovs=True),
    Fault("both OVS daemons killed", _killed, OVS, ovs=True),
    Fault("conf.db deleted, br-int made again", _database_deleted, OVS, ovs=True, rows="loses"),
    Fault("del-br, add-br", _bridge_deleted, OVS, ovs=True, rows="loses"),
    Fault("del-br, add-br at once", _bridge_replaced, OVS, ovs=True, rows="loses"),
    Fault("port deleted", _ports_deleted, OVS),
    Fault("qvb out of qbr", _links("link set {qvb} nomaster", EVERY), HYBRID),
    Fault("link down", _links("link set {name} down", EVERY)),
    Fault("veth deleted", _links("link delete {name}", ("qvb", "qvo")), HYBRID),
    Fault(
        "veth recreated by another program",
        _links(
            # With as many queues as vifplug's: that is no drift, and stays.
            "link delete {qvo}; link add {qvo} numtxqueues 1 numrxqueues 1 type veth peer {qvb} numtxqueues 1"
            " numrxqueues 1; link set {qvo} up; link set {qvb} up",
            EVERY,
        ),
        HYBRID,
    ),
    Fault("qbr deleted", _links("link delete {qbr}", EVERY), HYBRID),
    Fault("alias wiped", _links("link set dev {name} alias ''", EVERY)),
    Fault("mtu changed", _links("link set {name} mtu 1300", EVERY)),
    Fault("disable_ipv6 turned off", _ipv6),
    Fault("external ids removed", _ids_removed, OVS),
)


def everything_gone(world: World, devices: Sequence[str]) -> None:
    """The state after a reboot: the database, and no link."""
    world.stop_vswitchd()
    world.ovsdb.stop()
    there = {link["ifname"] for link in world.ip("link", "show")}
    lines = [f"link delete {device}" for device in devices if device in there]
    with contextlib.suppress(AssertionError):  # the second end of a pair is deleted with the first
        world.run("ip", "-force", "-batch", "-", input="\n".join(lines) + "\n", timeout=300)
    left = {link["ifname"] for link in world.ip("link", "show")} & set(devices)
    assert not left, f"could not delete {sorted(left)}"
    world.ovsdb.start()
    world.start_vswitchd()
