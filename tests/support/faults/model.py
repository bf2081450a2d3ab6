"""A small model of a host with VIFs: which are plugged, and the expected state of the host.

The resources of a plugged VIF are read once, with ``ip`` and OVSDB's own protocol, after a plug in an empty world; then
every state of the world must consist of those resources and of the foreign ones, which never change.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import vifplug
from tests.support.faults.drifts import BRIDGE_DRIFTS, FOREIGN, HYBRID_DRIFTS, OVS_DRIFTS, Drift
from tests.support.network.frames import GuestTap, HostEnd, lost
from tests.support.vifs import INSTANCE, MTU, NETWORK, Request, device
from tests.support.world.world import Row, World

OTHER_MTU = 1400
HOST_PORT, NETWORK_PORT = "host0", "host1"
STRANGER = "9f3a2b10-5c77-4d0e-8a41-0c1d2e3f4a5b"
"""The VIF of another program (os-vif): an unmarked hybrid path."""
_TYPES = ("ovs-hybrid", "ovs-hybrid", "ovs", "ovs", "bridge", "bridge")
DRIFTS: Mapping[str, list[Drift]] = {"ovs-hybrid": HYBRID_DRIFTS, "ovs": OVS_DRIFTS, "bridge": BRIDGE_DRIFTS}
Look = dict[str, Row]


def requests() -> list[Request]:
    """The VIFs of the model: two of each type, the two of type ``bridge`` on one network."""
    made = []
    for number, vif_type in enumerate(_TYPES, 1):
        document = {
            "id": f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa",
            "vif_type": vif_type,
            "address": f"fa:16:3e:00:00:{number:02x}",
            "network": {"id": NETWORK, "mtu": MTU},
            "instance": {"uuid": INSTANCE},
        }
        made.append(Request(document))
    return made


@dataclass
class Model:
    """The world, its foreign resources, and the model's expectation."""

    world: World
    requests: list[Request]
    bare: Look = field(default_factory=dict)
    """The world without VIFs."""
    looks: dict[tuple[str, int], Look] = field(default_factory=dict)
    """By VIF id and MTU: the resources of a plugged VIF."""
    plugged: dict[str, int] = field(default_factory=dict)
    """VIF id and MTU of the plugged VIFs."""
    guests: dict[str, GuestTap] = field(default_factory=dict)
    hosts: dict[str, HostEnd] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the foreign resources, and read each VIF once."""
        world = self.world
        world.add_bridge(FOREIGN)
        self.hosts = {"ovs": HostEnd(world, HOST_PORT, "far0"), "bridge": HostEnd(world, NETWORK_PORT, "far1")}
        _make_stranger(world)
        self.attach_host()
        self.bare = self.look()
        for request in self.requests:
            for mtu in self.mtus(request):
                with vifplug.local(str(world.config_file)) as host:
                    host.plug([self.vif(request, mtu)])
                    now = self.look()
                    host.unplug([request.id])
                self.looks[request.id, mtu] = {k: v for k, v in now.items() if self.bare.get(k) != v}
        assert self.look() == self.bare

    def attach_host(self) -> None:
        """The host's port of br-int, and os-vif's there."""
        ids = f"external_ids:iface-id={STRANGER}"
        qvo = device("qvo", STRANGER)
        self.world.vsctl(
            *("--may-exist", "add-port", "br-int", HOST_PORT),
            *("--", "--may-exist", "add-port", "br-int", qvo, "--", "set", "Interface", qvo, ids),
        )

    @staticmethod
    def mtus(request: Request) -> tuple[int, ...]:
        """The MTUs that a VIF is plugged with; those of one network agree."""
        return (MTU,) if request.type == "bridge" else (MTU, OTHER_MTU)

    @staticmethod
    def vif(request: Request, mtu: int) -> vifplug.Vif:
        """The request with an MTU."""
        return request.but(network={"mtu": mtu}).vif

    # -- the present and the expected state ------------------------------------------------------------------

    def look(self) -> Look:
        """The present world, without guests' resources and without what Open vSwitch or a guest's carrier change by
        themselves."""
        taken = self.world.snapshot()
        for request in self.requests:
            if request.type == "ovs-hybrid":
                taken.pop(f"link {request.tap}", None)
        for key, row in taken.items():
            if key in ("link br-int", f"link {FOREIGN}", "link ovs-netdev"):
                # vswitchd chooses it at every start: the minimum of its ports', below 1280 of which there is no IPv6.
                for name in ("address", "mtu", "inet6_addr_gen_mode"):
                    row.pop(name, None)
            if key.startswith("link tap"):
                # A tap gets its queueing discipline with its first carrier.
                row["qdisc"] = re.sub("^(noop|noqueue|mq|pfifo_fast|fq_codel)$", "default", str(row.get("qdisc")))
            row.pop("ofport_request", None)  # it makes vswitchd open a recreated device
        return taken

    def expected(self) -> Look:
        """The expected state of the world."""
        wanted = {key: row for key, row in self.bare.items() if not key.startswith("Bridge ")}
        ports: list[str] = list(self.bare["Bridge br-int"]["ports"])
        for vif_id, mtu in self.plugged.items():
            look = self.looks[vif_id, mtu]
            wanted |= {key: row for key, row in look.items() if not key.startswith("Bridge ")}
            ports += [key.removeprefix("Port ") for key in look if key.startswith("Port ")]
        bridges = {key: row for key, row in self.bare.items() if key.startswith("Bridge ")}
        bridges["Bridge br-int"] = {**bridges["Bridge br-int"], "ports": sorted(ports)}
        return wanted | bridges

    def divergence(self) -> dict[str, Any]:
        """Differences of the world from the model; empty if there are none."""
        now, wanted = self.look(), self.expected()
        found: dict[str, Any] = {}
        for key in now.keys() | wanted.keys():
            is_, should = now.get(key), wanted.get(key)
            if is_ is None or should is None:
                if is_ is not should:
                    found[key] = "missing" if is_ is None else "too many"
            elif is_ != should:
                found[key] = {
                    name: (is_.get(name), should.get(name))
                    for name in is_ | should
                    if is_.get(name) != should.get(name)
                }
        return found

    def foreign_change(self) -> dict[str, Any]:
        """Changes of foreign resources; must always be empty."""
        now = self.look()
        keys = [key for key in self.bare if not key.startswith("Bridge ")]
        return {key: (now.get(key), self.bare[key]) for key in keys if now.get(key) != self.bare[key]}

    # -- guests --------------------------------------------------------------------------------------------

    def boot(self, request: Request) -> None:
        """Its VMM opens the tap, or makes it and puts it on the qbr, as libvirt does."""
        self.end_guest(request)
        guest = self.guests[request.id] = GuestTap(self.world, request.tap, request.address)
        if request.type == "ovs-hybrid":
            self.world.ip("link", "set", request.tap, "mtu", str(self.plugged[request.id]), "master", request.qbr, "up")
        assert guest.is_open

    def end_guest(self, request: Request) -> None:
        """Its VMM closes the tap."""
        if (guest := self.guests.pop(request.id, None)) is not None:
            guest.close()

    def lost_frames(self, request: Request) -> list[str]:
        """The kinds of frames that do not cross between a VIF's guest, started for this if it does not run, and a
        host."""
        booted = request.id not in self.guests
        if booted:
            self.boot(request)
        try:
            with self._host(request) as host:
                return lost(self.guests[request.id], host)
        finally:
            if booted:
                self.end_guest(request)

    @contextlib.contextmanager
    def _host(self, request: Request) -> Iterator[HostEnd]:
        if request.type != "bridge":
            yield self.hosts["ovs"]
            return
        self.world.ip("link", "set", NETWORK_PORT, "master", request.brq)
        try:
            yield self.hosts["bridge"]
        finally:
            self.world.ip("link", "set", NETWORK_PORT, "nomaster")

    def close(self) -> None:
        """Close every descriptor."""
        for guest in self.guests.values():
            guest.close()
        for host in self.hosts.values():
            host.close()


def _make_stranger(world: World) -> None:
    """A hybrid path of another program, without any mark; a VPN's persistent tap; a bridge with a member."""
    qbr, qvb, qvo = (device(prefix, STRANGER) for prefix in ("qbr", "qvb", "qvo"))
    world.ip("link", "add", qbr, "type", "bridge")
    world.ip("link", "add", qvb, "type", "veth", "peer", "name", qvo)
    world.ip("link", "set", qvb, "master", qbr, "up")
    world.ip("link", "set", qvo, "up")
    world.ip("link", "set", qbr, "up")
    world.ip("tuntap", "add", "vpn0", "mode", "tap")
    world.ip("link", "add", "docker0", "type", "bridge")
