"""Bridges, ports and interfaces of Open vSwitch as plain values, from the privileged side's answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DEAD_VLAN = 4095
"""A port with this tag passes nothing: Neutron's agent, and vifplug's isolation, give it to unwired ports."""
TUNNELS = ("vxlan", "geneve", "gre", "stt", "gtpu", "bareudp", "erspan", "lisp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An Interface row."""

    name: str
    type: str = ""
    ofport: int | None = None
    error: str = ""
    admin_state: str = ""
    link_state: str = ""
    mtu: int | None = None
    policing_rate: int = 0
    policing_burst: int = 0
    keys: Mapping[str, str] = field(default_factory=dict)
    """iface-id, attached-mac."""
    peer: str = ""
    """Of a patch port."""
    statistics: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPort:
    """A Port row with its interfaces."""

    name: str
    tag: int | None = None
    trunks: Sequence[int] = ()
    vlan_mode: str = ""
    bond_mode: str = ""
    status: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    interfaces: Sequence[Interface] = ()

    @property
    def is_patch(self) -> bool:
        """Whether it leads to another bridge, as that of a VIF's own bridge does."""
        return any(interface.type == "patch" for interface in self.interfaces)

    @property
    def is_guests(self) -> bool:
        """Whether a control plane knows it as a guest's."""
        return any("iface-id" in interface.keys for interface in self.interfaces)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchBridge:
    """A Bridge row with its ports and controllers."""

    name: str
    datapath_type: str = ""
    fail_mode: str = ""
    controllers: Sequence[tuple[str, bool]] = ()
    """Target, and whether it is connected."""
    spanning_tree: bool = False
    flow_count: int | None = None
    """None if the flows were not counted."""
    ports: Sequence[SwitchPort] = ()

    @property
    def is_controlled(self) -> bool:
        """Whether a controller is configured, connected or not."""
        return bool(self.controllers)

    def uplinks(self) -> list[str]:
        """Ports by which frames may leave this bridge for other hosts or bridges: patches, tunnels, devices of no
        guest."""
        others = (port for port in self.ports if port.name != self.name and not port.is_guests)
        return [port.name for port in others if not port.owner or port.is_patch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switching:
    """All bridges."""

    bridges: Mapping[str, SwitchBridge] = field(default_factory=dict)
    cur_cfg: int = 0
    next_cfg: int = 0

    def port_of(self, interface: str) -> tuple[SwitchBridge, SwitchPort, Interface] | None:
        """An interface by its name, with its port and bridge."""
        for bridge, port, each in self.interfaces():
            if each.name == interface:
                return bridge, port, each
        return None

    def interfaces(self) -> Iterator[tuple[SwitchBridge, SwitchPort, Interface]]:
        """Every interface, with its port and bridge."""
        for bridge in self.bridges.values():
            for port in bridge.ports:
                for interface in port.interfaces:
                    yield bridge, port, interface


def decoded(answer: Mapping[str, Any]) -> Switching:
    """The values of the privileged side's answer."""
    bridges = (_bridge(bridge) for bridge in answer["bridges"])
    numbers = {key: answer.get(key, 0) for key in ("cur_cfg", "next_cfg")}
    return Switching(bridges={bridge.name: bridge for bridge in bridges}, **numbers)


def _bridge(bridge: Mapping[str, Any]) -> SwitchBridge:
    ports = tuple(_port(port) for port in bridge["ports"])
    controllers = tuple((target, connected) for target, connected in bridge["controllers"])
    return SwitchBridge(**{**bridge, "ports": ports, "controllers": controllers})


def _port(port: Mapping[str, Any]) -> SwitchPort:
    interfaces = tuple(Interface(**interface) for interface in port["interfaces"])
    return SwitchPort(**{**port, "interfaces": interfaces})
