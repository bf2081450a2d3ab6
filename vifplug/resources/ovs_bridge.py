"""OVS bridges: those that vifplug makes (a trunk's and a VIF's own), and observed ones.

Every other bridge belongs to the operator or a control plane: it is never made, changed or deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.resources import ovs_port
from vifplug.resources.contract import PORTS, Reference, Resource
from vifplug.resources.ovs_port import Column, Read, Writer

DATAPATH_USERSPACE, DATAPATH_KERNEL = "netdev", "system"
BRIDGE = "Bridge"
DATAPATH = "datapath_type"

COLUMNS: tuple[Column, ...] = (
    Column(name="name", row=BRIDGE, type="string", writer=Writer.SHARED),
    Column(name="ports", row=BRIDGE, type=ovs_port.references(ovs_port.PORT, 0, "unlimited"), writer=Writer.SHARED),
    Column(name="external_ids", row=BRIDGE, type=ovs_port.STRINGS, writer=Writer.SHARED, read=Read.MAP),
    Column(name=DATAPATH, row=BRIDGE, type="string", writer=Writer.SHARED),
    Column(
        name="controller",
        row=BRIDGE,
        type={"key": "uuid", "min": 0, "max": "unlimited"},
        writer=Writer.CONTROL_PLANE,
        read=Read.SET,
    ),
    # These stop frames on a bridge that vifplug made: without a controller a secure bridge has no flows, and a spanning
    # tree blocks a port for 30 s. Neutron sets none of them on a trunk's bridge.
    Column(
        name="fail_mode",
        row=BRIDGE,
        type=ovs_port.optional({"type": "string", "enum": ["set", ["standalone", "secure"]]}),
        writer=Writer.VIFPLUG,
        empty=[],
    ),
    Column(name="stp_enable", row=BRIDGE, type="boolean", writer=Writer.VIFPLUG, empty=False),
    Column(name="rstp_enable", row=BRIDGE, type="boolean", writer=Writer.VIFPLUG, empty=False),
)
"""Columns of a Bridge row. Those of writer ``VIFPLUG`` apply only to bridges that vifplug made."""

SETTINGS = tuple(column.name for column in COLUMNS if column.writer is Writer.VIFPLUG)
"""The columns set at a bridge's creation, in the order of comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsBridge(Resource):
    """A Bridge row of Open vSwitch."""

    kind: ClassVar[str] = "ovs-bridge"
    plane: ClassVar[str] = PORTS

    name: str
    owner: str = ""
    """Observed: Bridge.external_ids:vifplug-vif, else ""."""
    like: str = ""
    """Desired and recorded: the bridge whose datapath it is to have, because a patch cannot join two kinds of
    datapath."""
    datapath_type: str = ""
    """As in OVSDB, where "" means the kernel's."""
    born_to: str = ""
    """Observed: the same mark on the row of its local port, which is created with it: the second sign of its owner."""
    control_plane: str = ""
    """Observed: what wires its ports: CONTROL_OVN, CONTROL_AGENT, or "" if unknown."""
    members: tuple[str, ...] = ()
    """Observed, of bridges that vifplug may have made: its ports except its local port and patch ports."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Observed, of the same bridges: columns of ``SETTINGS`` that are not empty."""

    @property
    def userspace(self) -> bool:
        """Whether frames cross OVS's userspace datapath."""
        return self.datapath_type == DATAPATH_USERSPACE

    @property
    def datapath(self) -> str:
        """Its datapath by name."""
        return self.datapath_type or DATAPATH_KERNEL

    def depends_on(self) -> frozenset[Reference]:
        """The bridge whose datapath it adopts."""
        return frozenset({(PORTS, self.like)}) if self.like else frozenset()
