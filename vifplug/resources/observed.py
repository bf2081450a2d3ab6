"""What was built and what is there: resources by name, and what is only ever observed.

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
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """An entry of a Linux bridge's forwarding table that was set, not learnt."""

    bridge: str
    port: str
    address: str
    kind: str
    """static, permanent (the host's own) or sticky."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Qos:
    """A QoS row that carries our mark."""

    uuid: str
    type: str
    owner: str
    is_copied: bool = False
    """Whether it has more than the mark, so that somebody copied the mark onto a row of their own."""


@dataclass(frozen=True)
class Inventory:
    """What was built for VIFs, by name. A link and the OVS port on it have one name, so there are two maps."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is there, in the scope that was looked at."""

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
    """Links, by ifindex, that some packet socket listens on; None where nobody looked. vswitchd's userspace datapath
    has one for each device it holds."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Interface -> the Port of another name that has it: a bond of another program's."""
    displaced: Mapping[str, Link] = field(default_factory=dict)
    """Recorded name -> the link that had it, under its present name, where another link has that name now."""
    stations: tuple[Station, ...] = ()
    """Of the bridges that were looked at; only where the scope is thorough."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why a part of another link that was looked for is not there, in words."""
    port_count: int = 0
    """How many ports Open vSwitch has, everybody's."""
    qos: tuple[Qos, ...] = ()
