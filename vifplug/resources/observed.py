"""The things a VIF is made of, desired and observed in the same types.

In a desired resource, None means "not asked for". In an observed one, it means "not there" or "not
readable". Links are compared attribute by attribute (``compared`` names them); OVS ports by the rules of
``engine.planner``, because part of a Port row belongs to the control plane.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

DATAPATH_USERSPACE = "netdev"
CONTROL_OVN, CONTROL_AGENT = "ovn", "neutron-agent"
DEAD_VLAN = 4095
"""Neutron's VLAN of ports that must not talk (neutron ovs_constants.DEAD_VLAN_TAG)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link of the kernel. As desired, it is vifplug's own."""

    kind: ClassVar[str] = "link"
    plane: ClassVar[str] = "links"
    compared: ClassVar[tuple[str, ...]] = (
        "alias",
        "address",
        "mtu",
        "master",
        "disable_ipv6",
        "accept_ra",
        "arp_ignore",
        "promiscuous",
        "up",
    )

    name: str
    owner: str = ""
    """Whose it is: a VIF id, or ``net:`` and a network id. Observed: by its alias, else ""."""
    role: str = ""
    """Which part of the path (naming.ROLE_...); with the owner it gives the birth address."""
    alias: str | None = None
    address: str | None = None
    mtu: int | None = None
    master: str | None = None
    disable_ipv6: bool | None = None
    accept_ra: int | None = None
    arp_ignore: int | None = None
    """1: ARP is answered only for an address of the link itself, and ours have none."""
    promiscuous: bool | None = None
    """Our own IFF_PROMISC, not the count a bridge adds to."""
    up: bool | None = None
    carrier: bool | None = None
    """Observed only."""
    ifindex: int | None = None
    """Observed, or recorded: never desired."""
    other_kind: str = ""
    """Observed: the kernel's word for a link of a kind that vifplug does not make."""
    called: str = ""
    """Its present name, where another program renamed it; ``name`` is the recorded one. Never desired or recorded."""
    slave_kind: str = ""
    """Observed: what its master is, in the kernel's word: bridge, openvswitch, bond, vrf ..."""
    impeded: Mapping[str, Any] = field(default_factory=dict)
    """Observed: attributes that stop frames or let them out (``resources.passage``), by name, where they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Link):
    """A Linux bridge: a hybrid VIF's qbr, or one that the VIFs of a network share."""

    kind: ClassVar[str] = "bridge"
    compared: ClassVar[tuple[str, ...]] = (
        *Link.compared[:-1],
        "stp",
        "forward_delay",
        "ageing_time",
        "multicast_snooping",
        "arp_announce",
        "up",
    )

    stp: int | None = None
    forward_delay: float | None = None
    """Seconds."""
    ageing_time: float | None = None
    """Seconds; the kernel's netlink attribute counts hundredths of one."""
    multicast_snooping: int | None = None
    arp_announce: int | None = None
    guest: str = ""
    """Desired only: the tap that the VMM makes and puts on this bridge."""
    guest_address: str = ""
    """Desired only: that guest's MAC, by which a tap with a name of its own is known."""
    guest_ifindex: int | None = None
    """Recorded only: that tap, once it was seen there."""
    station: str = ""
    """Desired only: the guest's MAC."""
    station_port: str = ""
    """Desired only: the tap behind which it is, whoever makes that."""

    @property
    def shared(self) -> bool:
        """Whether it belongs to a network rather than to one VIF."""
        return self.owner.startswith("net:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth(Link):
    """One end of a veth pair."""

    kind: ClassVar[str] = "veth"
    compared: ClassVar[tuple[str, ...]] = (*Link.compared[:-1], "peer", "tx_checksum", "up")

    peer: str | None = None
    tx_checksum: bool | None = None
    """Transmit checksum offload; off where frames cross a userspace datapath, else TCP is lost."""
    port_bridge: str = ""
    """Desired only: the OVS bridge whose datapath decides about tx_checksum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap(Link):
    """A persistent tap that vifplug makes for a guest."""

    kind: ClassVar[str] = "tap"
    compared: ClassVar[tuple[str, ...]] = (*Link.compared[:-1], "uid", "gid", "multiqueue", "persistent", "up")

    uid: int | None = None
    gid: int | None = None
    multiqueue: bool | None = None
    persistent: bool | None = None
    vnet_header: bool | None = None
    """Observed only: whether it was made with IFF_VNET_HDR, as ours are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsPort:
    """A Port row of an OVS bridge with its one Interface."""

    kind: ClassVar[str] = "ovs-port"
    plane: ClassVar[str] = "ports"

    name: str
    bridge: str
    owner: str = ""
    """Observed: Port.external_ids:vifplug-vif, else ""."""
    iface_ids: Mapping[str, str] = field(default_factory=dict)
    """Interface.external_ids: as desired, exactly the keys Nova writes."""
    isolate: bool = False
    """Desired only: dead in the transaction that creates it."""
    qos_type: str | None = None
    """Desired only: the QoS a new port of a kernel datapath gets."""
    waits_for_device: bool = False
    """Desired only: the netdev is the VMM's and may come later."""
    device_ifindex: int | None = None
    """Recorded only: the VMM's netdev that was there."""
    control_plane: str = ""
    """Desired: the configuration says who wires the port. Recorded: who did when it was last seen."""
    # What follows is observed; tag, vlan_mode and trunks are recorded too, as they were last seen. A port that must be
    # made again carries them over.
    uuid: str | None = None
    ofport: int | None = None
    error: str | None = None
    iface_type: str = ""
    tag: int | None = None
    vlan_mode: str | None = None
    trunks: tuple[int, ...] = ()
    other_config: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
    qos: str | None = None
    polices: bool = False
    """Whether Open vSwitch has an ingress queueing discipline on the device: by a rate of the control plane's, or for
    hardware offload."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Columns that a port has from its creation and that are nobody else's, where they are not empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsBridge:
    """An OVS bridge: observed, never made or changed."""

    name: str
    datapath_type: str
    control_plane: str = ""
    """Who wires its ports: CONTROL_OVN, CONTROL_AGENT, or nobody that can be told."""

    @property
    def userspace(self) -> bool:
        """Whether frames cross OVS's userspace datapath."""
        return self.datapath_type == DATAPATH_USERSPACE


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


Resource = Link | OvsPort


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was built for VIFs, by name. A link and the OVS port on it have one name, so there are two maps."""

    items: tuple[Resource, ...] = ()

    @property
    def links(self) -> dict[str, Link]:
        """The links."""
        return {item.name: item for item in self.items if isinstance(item, Link)}

    @property
    def ports(self) -> dict[str, OvsPort]:
        """The OVS ports."""
        return {item.name: item for item in self.items if isinstance(item, OvsPort)}


_KINDS: dict[str, type[Any]] = {cls.kind: cls for cls in (Link, Bridge, Veth, Tap, OvsPort)}


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
    ports_there: int = 0
    """How many ports Open vSwitch has, everybody's."""
    qos: tuple[Qos, ...] = ()


def to_dict(resource: Resource) -> dict[str, Any]:
    """A resource as JSON for the store: its kind, and every field that says something."""
    fields = {item.name: getattr(resource, item.name) for item in dataclasses.fields(resource)}
    return {"kind": resource.kind} | {name: value for name, value in fields.items() if value not in (None, "", {}, ())}


def from_dict(data: Mapping[str, Any]) -> Any:
    """The resource that ``to_dict`` wrote.

    :raises KeyError, TypeError: for anything else.
    """
    values = dict(data)
    cls = _KINDS[values.pop("kind")]
    if "trunks" in values:
        values["trunks"] = tuple(values["trunks"])
    return cls(**values)
