"""Faults of a host for the doctor to find: a block creates each, and removes it at its end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pyroute2.nftables.main import NFTables

from tests.support.vifs import HYBRID, OVS
from tests.support.world.world import World

NOBODY = 65534
DROP = 0
BRIDGED = 7
"""NFPROTO_BRIDGE."""
FOREIGN = "deadbeef-00"


@contextlib.contextmanager
def ovs_stopped(world: World) -> Iterator[None]:
    world.stop_vswitchd()
    world.ovsdb.stop()
    yield
    world.ovsdb.start()
    world.start_vswitchd()


@contextlib.contextmanager
def socket_unreadable(world: World) -> Iterator[None]:
    """Root's helper has no CAP_DAC_OVERRIDE: it cannot access another user's socket."""
    before = os.stat(world.socket)
    os.chown(world.socket, NOBODY, NOBODY)
    os.chmod(world.socket, 0o600)
    yield
    os.chown(world.socket, before.st_uid, before.st_gid)
    os.chmod(world.socket, before.st_mode & 0o777)


@contextlib.contextmanager
def bridge_missing(world: World) -> Iterator[None]:
    world.write_config(ovs={"integration_bridge": "br-other"})
    yield
    world.write_config()


@contextlib.contextmanager
def another_datapath(world: World) -> Iterator[None]:
    """The port requests the kernel's datapath, like one bound by an outdated agent configuration."""
    world.vifplug("--local", "plug", "-", input=OVS.but(network={"datapath_type": "system"}).text)
    yield
    world.vifplug("--local", "unplug", OVS.id)


@contextlib.contextmanager
def forward_drops(world: World, family: int = 2, *more: str) -> Iterator[None]:
    """Like `iptables -P FORWARD DROP`, for instance by Docker; ``more`` are other chains of that table."""
    with NFTables(nfgen_family=family) as nft:
        nft.table("add", name="filter")
        nft.chain("add", table="filter", name="FORWARD", hook="forward", type="filter", policy=DROP)
        for name in more:
            nft.chain("add", table="filter", name=name)
        try:
            yield
        finally:
            nft.table("del", name="filter")


@contextlib.contextmanager
def orphan(world: World) -> Iterator[None]:
    """The mark of a VIF without record."""
    gone = "99999999-1111-4222-8333-444444444444"
    world.vsctl("add-port", "br-int", "lost", "--", "set", "Interface", "lost", "type=internal")
    world.vsctl("set", "Port", "lost", f"external_ids:vifplug-vif={gone}")
    yield
    world.vsctl("del-port", "lost")


@contextlib.contextmanager
def foreign_bridge(world: World) -> Iterator[None]:
    world.run("ip", "link", "add", f"qbr{FOREIGN}", "type", "bridge")
    yield
    world.run("ip", "link", "del", f"qbr{FOREIGN}")


@contextlib.contextmanager
def stale_port(world: World) -> Iterator[None]:
    # ovs-vsctl prints an error for it, and exits 0.
    world.vsctl("add-port", "br-int", f"qvo{FOREIGN}")
    yield
    world.vsctl("del-port", f"qvo{FOREIGN}")


@contextlib.contextmanager
def helper_dead(world: World) -> Iterator[None]:
    """It ends at once, however it is started."""
    world.write_config(vifplug_privileged={"user": "no-such-user"})
    yield
    world.write_config()


@dataclass(frozen=True)
class Sickness:
    """A fault, the check that must report it, and a word of its report."""

    planted: Callable[[World], AbstractContextManager[None]]
    check: str
    word: str


SICKNESSES: Mapping[str, Sickness] = {
    "OVS stopped": Sickness(ovs_stopped, "ovsdb", "db.sock"),
    "socket unreadable": Sickness(socket_unreadable, "ovsdb", f"it belongs to uid {NOBODY}"),
    "br-int missing": Sickness(bridge_missing, "integration-bridge", "br-other"),
    "br-int of another datapath": Sickness(another_datapath, "datapath", "requests 'system'"),
    "FORWARD DROP": Sickness(forward_drops, "firewall", "ip filter FORWARD"),
    "an orphan": Sickness(orphan, "orphans", "ovs-port lost"),
    "a foreign qbr": Sickness(foreign_bridge, "strangers", f"qbr{FOREIGN}"),
    "a stale port": Sickness(stale_port, "stale-ports", f"qvo{FOREIGN}"),
    "a dead helper": Sickness(helper_dead, "helper", "no-such-user"),
}
"""Faults that a test's own process can create. A read-only store needs a mount namespace."""

READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
PLUGGED = HYBRID
"""The healthy part of the host."""
