"""The VIFs that tests plug and the names of their devices, written here again: not by the code under test."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import vifplug
from tests.support.world.world import World
from vifplug.api.local import LocalHost
from vifplug.model.vif import Vif

NETWORK = "14ec4c8b-001b-49c3-89fb-bf84c4f41e24"
INSTANCE = "c0ffee00-1111-4222-8333-000000000011"
MTU = 1450
GUEST, HOST = "10.9.0.1", "10.9.0.254"
_NAME_CUT = 14


def device(prefix: str, identity: str) -> str:
    """Nova's rule: prefix and id, cut to 14 characters."""
    return (prefix + identity)[:_NAME_CUT]


@dataclass(frozen=True)
class Request:
    """One VIF to plug: its document in vifplug's own format, and the names of its devices."""

    document: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def type(self) -> str:
        return str(self.document["vif_type"])

    @property
    def address(self) -> str:
        return str(self.document["address"])

    @property
    def vif(self) -> Vif:
        return Vif.model_validate(self.document)

    @property
    def text(self) -> str:
        return json.dumps(self.document)

    @property
    def qbr(self) -> str:
        return device("qbr", self.id)

    @property
    def qvb(self) -> str:
        return device("qvb", self.id)

    @property
    def qvo(self) -> str:
        return device("qvo", self.id)

    @property
    def tap(self) -> str:
        return device("tap", self.id)

    @property
    def vhu(self) -> str:
        return device("vhu", self.id)

    @property
    def brq(self) -> str:
        return device("brq", str(self.document["network"]["id"]))

    @property
    def pb(self) -> str:
        return device("pb", self.id)

    @property
    def pbp(self) -> str:
        return f"pbp{self.id}"

    @property
    def ibp(self) -> str:
        return f"ibp{self.id}"

    @property
    def switch(self) -> str:
        """The OVS bridge on which a control plane wires it."""
        return str(self.document["network"].get("bridge", "br-int"))

    @property
    def port(self) -> str:
        """The OVS port that a control plane knows: the veth's end, the tap itself, the far end of a patch, or a port
        without a device."""
        if self.document.get("per_port_bridge"):
            return self.ibp
        return {"ovs-hybrid": self.qvo, "vhost-user": self.vhu}.get(self.type, self.tap)

    @property
    def names(self) -> dict[str, str]:
        """The names by prefix, to fill in a command."""
        roles = ("qbr", "qvb", "qvo", "tap", "brq", "pb", "pbp", "ibp", "switch")
        return {role: getattr(self, role) for role in roles}

    def but(self, **changes: Any) -> Request:
        """The same with other values; None removes a key, a dict is merged."""
        document = {**self.document}
        for key, value in changes.items():
            document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
        return Request({key: value for key, value in document.items() if value is not None})


def _request(vif_type: str, identity: str, address: str) -> Request:
    network = {"id": NETWORK, "mtu": MTU}
    document = {"id": identity, "vif_type": vif_type, "address": address, "network": network}
    return Request({**document, "instance": {"uuid": INSTANCE}})


HYBRID = _request("ovs-hybrid", "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "fa:16:3e:eb:5e:26")
OVS = _request("ovs", "81ab5618-df3e-4999-932a-1263b7886e5a", "fa:16:3e:b9:2c:38")
LONE_TAP = _request("tap", "0c5f3a52-9d1b-4f0e-8a77-2f64b1a0d3c1", "fa:16:3e:07:08:09")
EXTERNAL = _request("external", "9b6f1c44-3a07-4d0c-9d55-61c7ad0e8f20", "fa:16:3e:0a:0b:0c").but(
    pci_device={"address": "0000:3b:10.2"}
)
TRUNK = OVS.but(network={"bridge": f"tbr-{NETWORK}"[:14]})
OWN_BRIDGE = OVS.but(per_port_bridge=True)
OWN_VLAN = OVS.but(vlan=3)
BRIDGE = _request("bridge", "3fe5648f-4734-49a7-9fef-daa6f86f6799", "fa:16:3e:95:3a:3d")


@contextlib.contextmanager
def library(world: World) -> Iterator[LocalHost]:
    """vifplug in this process, with the world's configuration."""
    with vifplug.local(str(world.config_file)) as host:
        yield host


def conf(world: World, device: str, key: str, family: str = "ipv6") -> int:
    """A link's sysctl, as /proc has it."""
    return int(world.run("cat", f"/proc/sys/net/{family}/conf/{device}/{key}").stdout)


def must_link(world: World, name: str) -> dict[str, Any]:
    """An existing link."""
    link = world.link(name)
    assert link is not None, f"no link {name}"
    return link


def must_row(world: World, table: str, name: str) -> dict[str, Any]:
    """An existing row."""
    row = world.row(table, name)
    assert row is not None, f"no {table} {name}"
    return row


def offloads(world: World, device: str) -> bool:
    """Whether a link leaves transmit checksums to its hardware."""
    return "tx-checksumming: on" in world.run("ethtool", "-k", device).stdout


def bridge_is_made_again(world: World, name: str, before: str) -> bool:
    """Whether there is an OVS bridge of this name with another row than before."""
    row = world.row("Bridge", name)
    return row is not None and row["_uuid"] != before


def bridge_is_right(world: World, name: str) -> bool:
    """Whether an OVS bridge has vifplug's mark, and no fail mode."""
    row = must_row(world, "Bridge", name)
    return row["fail_mode"] == [] and "vifplug-vif" in row["external_ids"]
