"""Many VIFs in a world under the real daemon: mostly ovs-hybrid, some ovs, some bridge; and their observed state.

A few have a special role and are never damaged individually: in each group the caller, which calls all others
(guests.py), and two that ping each other. Those of the group ``vlan`` have a tag from a control plane.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import INSTANCE, MTU, NETWORK, Request
from tests.support.world.world import Row, World

TAG = 7
_PERIOD = 10
_OVS_AT, _BRIDGE_AT = 8, 9
_VLAN = (8, 10, 11)
_PINGERS = {"br-int": (1, 2), "brq": (19, 29)}
_CALLERS = {"br-int": 0, "vlan": 10, "brq": 9}
_BATCH = 250
_SIOCETHTOOL, _ETHTOOL_GTXCSUM = 0x8946, 0x16
_SYSCTLS = ("ipv6/conf/{}/disable_ipv6", "ipv6/conf/{}/accept_ra", "ipv4/conf/{}/arp_ignore")


@dataclass(frozen=True)
class Member:
    """One VIF of the fleet."""

    number: int
    request: Request

    @property
    def group(self) -> str:
        """The group that it communicates with."""
        if self.request.type == "bridge":
            return "brq"
        return "vlan" if self.number in _VLAN else "br-int"

    @property
    def devices(self) -> tuple[str, ...]:
        """Its links, except a bridge that it shares."""
        names = self.request
        own = (names.qbr, names.qvb, names.qvo) if names.type == "ovs-hybrid" else ()
        return (*own, names.tap)

    @property
    def is_free(self) -> bool:
        """Whether it has no special role."""
        return self.number not in (*_VLAN, *_CALLERS.values(), *(n for pair in _PINGERS.values() for n in pair))


def _member(number: int) -> Member:
    kind = {_OVS_AT: "ovs", _BRIDGE_AT: "bridge"}.get(number % _PERIOD, "ovs-hybrid")
    return Member(
        number,
        Request(
            {
                "id": f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa",
                "vif_type": kind,
                "create_tap": True,
                "address": f"fa:16:3e:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
                "network": {"id": NETWORK, "mtu": MTU},
                "instance": {"uuid": INSTANCE},
            }
        ),
    )


class Fleet:
    """``count`` VIFs (at least 40)."""

    def __init__(self, world: World, count: int) -> None:
        self.world = world
        self.members = [_member(number) for number in range(count)]
        self._next = 0

    def plug(self, daemon: Vifplugd) -> None:
        """Plug all of them, through the daemon; then the control plane wires those with a tag."""
        for start in range(0, len(self.members), _BATCH):
            part = [member.request.document for member in self.members[start : start + _BATCH]]
            status, body = daemon.request("POST", "/v1/batch", {"plug": part}, timeout=300)
            assert status == 200, body
        self.wire()

    def wire(self) -> None:
        """What a control plane writes to ports that are new to it."""
        words: list[str] = []
        for member in self.of_group("vlan"):
            port = member.request.port
            words += ["--", "set", "Port", port, f"tag={TAG}", "other_config:net_uuid=theirs", "external_ids:theirs=1"]
            words += ["--", "set", "Interface", port, "external_ids:ovn-installed=true"]
        self.world.vsctl(*words[1:])

    def of_group(self, group: str) -> list[Member]:
        return [member for member in self.members if member.group == group]

    def caller(self, group: str) -> Member:
        return self.members[_CALLERS[group]]

    def pair(self, group: str) -> tuple[Member, Member]:
        """Two that ping each other."""
        each, other = _PINGERS[group]
        return self.members[each], self.members[other]

    @property
    def pingers(self) -> list[Member]:
        return [member for group in _PINGERS for member in self.pair(group)]

    def some(self, count: int, types: Sequence[str]) -> list[Member]:
        """The next free ones of these types; each type is included if possible."""
        free = [member for member in self.members if member.is_free and member.request.type in types]
        turned = free[self._next % len(free) :] + free[: self._next % len(free)]
        self._next += count
        first = {member.request.type: member for member in reversed(turned)}
        chosen = list(first.values())[:count]
        return chosen + [member for member in turned if member not in chosen][: count - len(chosen)]

    # -- the observed state -------------------------------------------------------------------------------

    def picture(self) -> dict[str, Row]:
        """The whole state, by ``ip``, OVSDB, /proc and ethtool's ioctl; without what changes when a port is recreated.

        AssertionError if OVSDB does not answer.
        """
        taken = self.world.snapshot()
        for key in [key for key in taken if key in ("link br-int", "link ovs-netdev", "link lo")]:
            taken[key] = {}
        for row in self.world.rows("Interface", "name", "ofport", "error"):
            output = taken.get(f"Interface {row['name']}")
            if output is not None:
                output.pop("ofport_request", None)
                output["works"] = isinstance(row["ofport"], int) and row["ofport"] > 0 and not row["error"]
        with self.world.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            for key in [key for key in taken if key.startswith("link ")]:
                taken[key]["quiet"] = _settings(asked, key.removeprefix("link "))
        return taken

    def unwired(self, picture: dict[str, Row]) -> dict[str, Row]:
        """The expected state if all ports are new to the control plane; their VLANs are restored as last observed."""
        fresh = {**picture}
        for member in self.of_group("vlan"):
            key, row = f"Port {member.request.port}", picture[f"Port {member.request.port}"]
            ids = {name: value for name, value in row["external_ids"].items() if name != "theirs"}
            fresh[key] = {**row, "other_config": {}, "external_ids": ids}
            key, row = f"Interface {member.request.port}", picture[f"Interface {member.request.port}"]
            ids = {name: value for name, value in row["external_ids"].items() if name != "ovn-installed"}
            fresh[key] = {**row, "external_ids": ids}
        return fresh


def _settings(asked: socket.socket, name: str) -> dict[str, Any]:
    """Attributes of a link that ``ip`` does not show; None for a link that was deleted meanwhile."""
    found: dict[str, Any] = {}
    for path in _SYSCTLS:
        try:
            found[path] = Path("/proc/sys/net", path.format(name)).read_text().strip()
        except OSError:
            found[path] = None
    found["tx_checksum"] = _tx_checksum(asked, name)
    return found


def _tx_checksum(asked: socket.socket, name: str) -> int | None:
    value = struct.pack("II", _ETHTOOL_GTXCSUM, 0)
    buffer = ctypes.create_string_buffer(value, len(value))
    try:
        fcntl.ioctl(asked, _SIOCETHTOOL, struct.pack("16sP", name.encode(), ctypes.addressof(buffer)))
    except OSError:
        return None
    return int(struct.unpack("II", buffer.raw)[1])


def differences(found: dict[str, Row], wanted: dict[str, Row]) -> dict[str, Any]:
    """The differences between two states."""

    def of(key: str) -> Any:
        each, other = found.get(key), wanted.get(key)
        if each is None or other is None:
            return "missing" if each is None else "too many"
        return {name: (each.get(name), other.get(name)) for name in each | other if each.get(name) != other.get(name)}

    return {key: of(key) for key in found | wanted if found.get(key) != wanted.get(key)}


def names(members: Iterable[Member]) -> set[str]:
    """The links of some members."""
    return {device for member in members for device in member.devices}
