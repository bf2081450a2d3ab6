"""Port rows of OVS bridges, each with its one Interface: the fields, and the columns that they represent.

A Port row has several writers. ``COLUMNS`` lists the writer of each column, and thereby which columns the helper
replicates, reads, sets at creation and empties, and what counts as drift.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from vifplug import naming
from vifplug.resources.contract import LINKS, PORTS, Reference, Relation, Resource
from vifplug.resources.link import MTU, Link

CONTROL_OVN, CONTROL_AGENT = "ovn", "neutron-agent"
DEAD_VLAN = 4095
"""Neutron's VLAN of ports that must not forward (neutron ovs_constants.DEAD_VLAN_TAG)."""

PORT, INTERFACE = "Port", "Interface"
STRINGS = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}
_VLAN = {"type": "integer", "minInteger": 0, "maxInteger": DEAD_VLAN}
QOS_TYPES = ("linux-noop", "linux-htb", "linux-hfsc", "linux-sfq", "linux-codel", "linux-fq_codel")
"""Open vSwitch's types of a QoS row that need no other rows."""
PATCH, PEER = "patch", "peer"
"""The type of a patch port, and the key of its options that names the other end."""
LISTENS = "dpdkvhostuser"
"""The type of a port with a socket on which Open vSwitch listens: it has the name of the interface."""
ACCESS = "access"
VLAN_MODES = ("trunk", ACCESS, "native-tagged", "native-untagged", "dot1q-tunnel")


def optional(key: Any, high: int | str = 1) -> dict[str, Any]:
    """The type of a column that may be empty."""
    return {"key": key, "min": 0, "max": high}


def references(table: str, low: int, high: int | str) -> dict[str, Any]:
    """The type of a column that names rows."""
    return {"key": {"type": "uuid", "refTable": table}, "min": low, "max": high}


class Writer(enum.Enum):
    """The program that decides about a column of our ports."""

    VIFPLUG = "vifplug"
    """The column has the value from the port's creation, and any other value is drift; no control plane writes it."""
    CONTROL_PLANE = "control plane"
    """Neutron's agents, its QoS driver and OVN write it (ovs-vswitchd.conf.db(5)); a recreated port gets the value that
    was last observed."""
    SHARED = "both"
    """A map whose keys have different writers, or a reference between rows."""
    VSWITCHD = "ovs-vswitchd"


class Read(enum.Enum):
    """How a column is read."""

    SINGLE = "one value, or none"
    SET = "a set"
    MAP = "a map of strings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a Port or Interface row."""

    name: str
    row: str
    type: Any
    """As in vswitch.ovsschema."""
    writer: Writer
    read: Read = Read.SINGLE
    field: str = ""
    """The field of ``OvsPort`` that holds it; "" for a column that is not read separately, or is among ``settings``."""
    empty: Any = None
    """Of vifplug's own columns, the value at creation unless the port requests another."""
    allows: Callable[[Any], bool] | None = None
    """Of vifplug's own columns, other values that the helper lets a caller give to a port of ours; None for none."""
    sockets: tuple[str, ...] = ()
    """Of a map, the keys whose values are paths of sockets: they must be below the directory that is fixed at the
    helper's start."""
    functions: tuple[str, ...] = ()
    """Of a map, the keys whose values name virtual functions (``devargs``): the configuration must list them."""


DPDK = "dpdk"
"""The type of a port of DPDK's: the representor of a virtual function, for vifplug."""
_SOCKET, _DEVARGS = "vhost-server-path", "dpdk-devargs"
_REPRESENTOR = re.compile(r"([0-9a-f:.]+),representor=\[(\d{1,5})\]")
"""As os-vif writes it; DPDK has more forms, with ranges and lists, which are for no single VIF."""


def _is_mtu(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and MTU.low <= value <= MTU.high


def _is_peer(value: Any) -> bool:
    """Whether options name the other end of a patch; the helper checks whose that is."""
    return isinstance(value, Mapping) and value.keys() == {PEER}


def _is_socket(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {_SOCKET} and isinstance(value[_SOCKET], str)


def dpdk_representor(physical: str, number: int) -> dict[str, Any]:
    """The columns of a port that is a virtual function's representor by DPDK."""
    return {"type": DPDK, "options": {_DEVARGS: f"{physical},representor=[{number}]"}}


def function_of(devargs: str) -> tuple[str, int] | None:
    """The physical function and the number of the virtual one whose representor these arguments of DPDK are; None for
    any other arguments."""
    match = _REPRESENTOR.fullmatch(devargs)
    if match is None or not naming.is_pci_address(match[1]):
        return None
    return match[1], int(match[2])


def _is_representor(value: Any) -> bool:
    if not isinstance(value, Mapping) or value.keys() != {_DEVARGS} or not isinstance(value[_DEVARGS], str):
        return False
    return function_of(value[_DEVARGS]) is not None


COLUMNS: tuple[Column, ...] = (
    Column(name="name", row=PORT, type="string", writer=Writer.SHARED),
    Column(name="interfaces", row=PORT, type=references(INTERFACE, 1, "unlimited"), writer=Writer.SHARED),
    Column(name="tag", row=PORT, type=optional(_VLAN), writer=Writer.CONTROL_PLANE, field="tag"),
    Column(
        name="vlan_mode",
        row=PORT,
        type=optional({"type": "string", "enum": ["set", list(VLAN_MODES)]}),
        writer=Writer.CONTROL_PLANE,
        field="vlan_mode",
    ),
    Column(
        name="trunks",
        row=PORT,
        type=optional(_VLAN, 4096),
        writer=Writer.CONTROL_PLANE,
        read=Read.SET,
        field="trunks",
    ),
    Column(
        name="other_config",
        row=PORT,
        type=STRINGS,
        writer=Writer.CONTROL_PLANE,
        read=Read.MAP,
        field="other_config",
    ),
    Column(name="external_ids", row=PORT, type=STRINGS, writer=Writer.SHARED, read=Read.MAP, field="external_ids"),
    Column(name="qos", row=PORT, type=references("QoS", 0, 1), writer=Writer.SHARED),
    Column(name="bond_mode", row=PORT, type=optional("string"), writer=Writer.VIFPLUG, empty=[]),
    Column(name="lacp", row=PORT, type=optional("string"), writer=Writer.VIFPLUG, empty=[]),
    Column(name="fake_bridge", row=PORT, type="boolean", writer=Writer.VIFPLUG, empty=False),
    Column(name="protected", row=PORT, type="boolean", writer=Writer.VIFPLUG, empty=False),
    Column(name="name", row=INTERFACE, type="string", writer=Writer.SHARED),
    Column(
        name="type",
        row=INTERFACE,
        type="string",
        writer=Writer.VIFPLUG,
        field="iface_type",
        empty="",
        allows=lambda value: value in (PATCH, LISTENS, "dpdkvhostuserclient", DPDK),
    ),
    Column(name="ofport", row=INTERFACE, type=optional("integer"), writer=Writer.VSWITCHD, field="ofport"),
    Column(
        name="ofport_request",
        row=INTERFACE,
        type=optional({"type": "integer", "minInteger": 1, "maxInteger": 65279}),
        writer=Writer.SHARED,
    ),
    Column(name="error", row=INTERFACE, type=optional("string"), writer=Writer.VSWITCHD, field="error"),
    Column(
        name="link_state",
        row=INTERFACE,
        type=optional({"type": "string", "enum": ["set", ["up", "down"]]}),
        writer=Writer.VSWITCHD,
        field="link_state",
    ),
    Column(name="external_ids", row=INTERFACE, type=STRINGS, writer=Writer.SHARED, read=Read.MAP, field="iface_ids"),
    Column(
        name="options",
        row=INTERFACE,
        type=STRINGS,
        writer=Writer.VIFPLUG,
        read=Read.MAP,
        empty={},
        allows=lambda value: _is_socket(value) or _is_peer(value) or _is_representor(value),
        sockets=(_SOCKET,),
        functions=(_DEVARGS,),
    ),
    Column(
        name="mtu_request", row=INTERFACE, type=optional("integer"), writer=Writer.VIFPLUG, empty=[], allows=_is_mtu
    ),
    Column(name="mac", row=INTERFACE, type=optional("string"), writer=Writer.VIFPLUG, empty=[]),
    Column(name="lldp", row=INTERFACE, type=STRINGS, writer=Writer.VIFPLUG, read=Read.MAP, empty={}),
    Column(name="bfd", row=INTERFACE, type=STRINGS, writer=Writer.VIFPLUG, read=Read.MAP, empty={}),
    Column(name="cfm_mpid", row=INTERFACE, type=optional("integer"), writer=Writer.VIFPLUG, empty=[]),
    Column(name="ingress_policing_rate", row=INTERFACE, type="integer", writer=Writer.CONTROL_PLANE),
)


def columns_of(row: str, writer: Writer | None = None) -> tuple[Column, ...]:
    """The columns of a row; of one writer."""
    return tuple(column for column in COLUMNS if column.row == row and writer in (None, column.writer))


INTERFACES = "interfaces"
"""The column of Port: an interface of another name makes it a bond."""
OPENFLOW = "openflow"
"""Not a column: the port's OpenFlow configuration, which is cleared after the transaction."""
SETTINGS = (
    *(column.name for column in columns_of(INTERFACE, Writer.VIFPLUG)),
    *(column.name for column in columns_of(PORT, Writer.VIFPLUG)),
    *(INTERFACES, OPENFLOW),
)
"""Columns that a port has from its creation and that no other program writes, in the order of comparison."""


_TYPES_OF_DPDK = frozenset({DPDK, LISTENS, "dpdkvhostuserclient"})
"""Values of Interface.type that only a userspace datapath has. The kernel has no device for such a port."""
OF_VLANS = ("tag", "vlan_mode", "trunks")
"""Columns that the control plane sets on a port that it knows, unless the VIF has a VLAN of its own; they are empty on
our other ports."""


class Vlans(NamedTuple):
    """The values of the columns ``OF_VLANS``."""

    tag: int | None = None
    vlan_mode: str | None = None
    trunks: tuple[int, ...] = ()


DEAD = Vlans(DEAD_VLAN, "trunk", (DEAD_VLAN,))
"""Of a port that must not forward yet: tag 4095 alone would pass untagged frames (LP 1930414)."""


def access(vlan: int) -> Vlans:
    """Of a port that is on one VLAN, untagged.

    The mode is explicit: if another program clears the tag, a port of mode "access" carries untagged frames only, on
    VLAN 0; without a mode it would be a trunk of all VLANs, and a guest's tagged frames would reach any
    (ovs-vswitchd.conf.db(5)). During 50 such repairs 1,826 of them did.
    """
    return Vlans(vlan, ACCESS)


_SAME_AS_EMPTY = {"type": "system"}
"""Other forms of the empty value."""


def shown(column: str, value: Any) -> Any:
    """A plain value of one of ``SETTINGS`` as an observation shows it; None for the empty value."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}={text}" for key, text in sorted(value.items()))
    return None if value in (None, "", False, _SAME_AS_EMPTY.get(column)) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsPort(Resource):
    """A Port row of an OVS bridge with its one Interface."""

    kind: ClassVar[str] = "ovs-port"
    plane: ClassVar[str] = PORTS
    maker: ClassVar[str] = "vifplug"
    """The program that makes it, for messages."""

    name: str
    bridge: str
    owner: str = ""
    """Observed: Port.external_ids:vifplug-vif, else ""."""
    iface_ids: Mapping[str, str] = field(default_factory=dict)
    """Interface.external_ids: as desired, exactly the keys that Nova writes."""
    isolate: bool = False
    """Desired only: dead in the transaction that creates it."""
    vlan: int | None = None
    """Desired and recorded: the VLAN of its frames, which vifplug owns; None if another program decides about VLANs."""
    qos_type: str | None = None
    """Desired only: the QoS that a new port of a kernel datapath gets."""
    waits_for_device: bool = False
    """Desired only: the VMM makes the netdev, perhaps later."""
    guest_address: str = ""
    """Desired only: the guest's MAC, if the port has no ids with it."""
    device_ifindex: int | None = None
    """Recorded only: the netdev of the VMM, or of a virtual function, that was observed."""
    function: str = ""
    """Desired only: the PCI address of the virtual function whose representor it is. The host names the device, or the
    arguments for DPDK."""
    control_plane: str = ""
    """Desired: the control plane by configuration. Recorded: the control plane at the last observation."""
    # The following fields are observed; tag, vlan_mode and trunks are also recorded, as they were last observed. A
    # recreated port gets them. Of a port with a VLAN of vifplug's they are empty in the record.
    uuid: str | None = None
    ofport: int | None = None
    error: str | None = None
    link_state: str | None = None
    """``up`` or ``down``. Of a vhost-user port: whether a guest's driver uses it."""
    iface_type: str = ""
    tag: int | None = None
    vlan_mode: str | None = None
    trunks: tuple[int, ...] = ()
    other_config: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
    qos: str | None = None
    polices: bool = False
    """Whether Open vSwitch has an ingress queueing discipline on the device: for a rate of the control plane's, or for
    hardware offload."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Columns from the port's creation that no other program may write, if they are not empty. Observed: as from
    ``shown``."""

    @property
    def vlans(self) -> Vlans:
        """Its VLANs as observed, or as they are to be set."""
        return Vlans(self.tag, self.vlan_mode, self.trunks)

    def with_vlans(self, vlans: Vlans) -> OvsPort:
        """A copy with other VLANs."""
        return self.replaced(tag=vlans.tag, vlan_mode=vlans.vlan_mode, trunks=vlans.trunks)

    @property
    def needs_userspace(self) -> bool:
        """Whether it is a DPDK port, which only the userspace datapath has."""
        return self.settings.get("type") in _TYPES_OF_DPDK

    def as_representor(self, current: Link | None, *, userspace: bool) -> OvsPort:
        """The port of its function's representor, on a bridge of this datapath; as it is where that is not there.

        :param current: the representor, as it is on the host.
        """
        if current is None:
            return self
        if not userspace:
            name = current.netdev or self.name
            return replace(self, name=name, settings={}) if (name, {}) != (self.name, self.settings) else self
        if current.virtual_function is None:
            return self
        return replace(self, qos_type=None, settings={**self.settings, **dpdk_representor(*current.virtual_function)})

    @property
    def has_device(self) -> bool:
        """Whether it is on a device of the kernel."""
        return not self.needs_userspace and not self.is_patch

    @property
    def has_identity(self) -> bool:
        """Whether a control plane knows the VIF by this port, and wires it: a VIF's other ports carry its frames."""
        return "iface-id" in self.iface_ids

    @property
    def is_patch(self) -> bool:
        """Whether it connects to a port of another bridge: it has no device."""
        return self.settings.get("type") == PATCH

    @property
    def peer(self) -> str:
        """The other end of a patch; "" of any other port."""
        options = self.settings.get("options", "") if self.is_patch else ""
        return options.get(PEER, "") if isinstance(options, Mapping) else str(options).removeprefix(f"{PEER}=")

    @property
    def device_address(self) -> str:
        """The guest's MAC, which identifies a tap with another name."""
        return self.guest_address or self.iface_ids.get("attached-mac", "")

    def depends_on(self) -> frozenset[Reference]:
        """Its device: vswitchd must not look for a missing one. A VMM's device may come later."""
        comes_first = self.has_device and not self.waits_for_device
        return frozenset({(LINKS, self.name)}) if comes_first else frozenset()

    @property
    def is_owned(self) -> bool:
        """Whether vifplug makes it, changes it and deletes it."""
        return self.relation is Relation.OWNED


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegatedPort(OvsPort):
    """A port that the guest's VMM makes and deletes with the guest: observed, and never changed.

    As with a device of the VMM's, a missing one is not drift.
    """

    kind: ClassVar[str] = "delegated-port"
    relation: ClassVar[Relation] = Relation.REFERENCED
    maker: ClassVar[str] = "the guest's VMM"
