"""Built and observed resources by name, and values that are only observed.

Links are compared attribute by attribute (``Link.attributes``); OVS ports by the rules of ``engine.plan.diff``, because
part of a Port row belongs to the control plane.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A static entry of a Linux bridge's forwarding table."""

    bridge: str
    port: str
    address: str
    kind: str
    """static, permanent (the host's own) or sticky."""
    vlan: int = 0
    """The VLAN in which it counts, on a bridge that filters by VLAN; 0 for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Qos:
    """A QoS row that carries our mark."""

    uuid: str
    type: str
    owner: str
    is_copied: bool = False
    """Whether it has more than the mark, because another program copied the mark onto its own row."""


@dataclass(frozen=True)
class Inventory:
    """What was built for VIFs, by name. A link and its OVS port have the same name, so there are two maps."""

    items: tuple[Resource, ...] = ()

    @functools.cached_property
    def links(self) -> Mapping[str, Link]:
        """The links."""
        return {item.name: item for item in kinds.links_in(self.items)}

    @functools.cached_property
    def ports(self) -> Mapping[str, OvsPort]:
        """The OVS ports."""
        return {item.name: item for item in kinds.ports_in(self.items)}

    @functools.cached_property
    def bridges(self) -> Mapping[str, OvsBridge]:
        """The OVS bridges that vifplug made."""
        return {item.name: item for item in kinds.ovs_bridges_in(self.items)}

    @functools.cached_property
    def filters(self) -> Mapping[str, Filter]:
        """The filters, by the device that they are for."""
        return {item.name: item for item in kinds.filters_in(self.items)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The host's state, within the scope of the observation."""

    links: Mapping[str, Link] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Linux bridge -> the links enslaved to it."""
    bridges: Mapping[str, OvsBridge] = field(default_factory=dict)
    fake_bridges: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Open vSwitch's fake bridges: ports of a bridge, with that bridge and their VLAN."""
    ports: Mapping[str, OvsPort] = field(default_factory=dict)
    iface_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """iface-id -> the names of the OVS interfaces that carry it."""
    listened_on: frozenset[int] | None = None
    """The ifindexes of links that a packet socket reads; None if they were not read. vswitchd's userspace datapath has
    a socket for each device that it holds."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Interface -> the Port of another name that contains it: another program's bond."""
    displaced: Mapping[str, Link] = field(default_factory=dict)
    """Recorded name -> the link that had it, under its present name, if another link has that name now."""
    stations: tuple[Station, ...] = ()
    """Of the observed bridges; only if the scope is thorough."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why a requested part of another link is missing, as text."""
    physical: Mapping[str, str] = field(default_factory=dict)
    """PCI address of a requested virtual function -> that of its physical function."""
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Device -> its addresses; only if the scope has uplinks."""
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Uplink on no bridge -> the routes through it, ``default`` or their destinations."""
    port_count: int = 0
    """The number of ports in Open vSwitch, of all programs."""
    qos: tuple[Qos, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    """Device of a requested filter -> what differs on the host, as text; "" if nothing does."""
    filtered: frozenset[tuple[str, str, str]] = frozenset()
    """The VIFs that have filters, each with the filtered device and the filter's place; only if the scope is
    everything."""
