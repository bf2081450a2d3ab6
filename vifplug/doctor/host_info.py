"""The result of ``host-info``: what a host can plug, and its versions. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vifplug.model.codec import OMITTED, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsInfo(Value):
    """Open vSwitch, as it was last seen."""

    connected: bool = False
    connection: Sequence[str] = ()
    """The addresses of the configuration."""
    address: str | None = None
    """Of those, the one that is used."""
    ovs_version: str | None = None
    db_version: str | None = None
    datapath_types: Sequence[str] = ()
    """Those that its vswitchd supports."""
    iface_types: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonInfo(Value):
    """vifplugd, if it was asked; None means unknown."""

    answers: bool | None = field(default=None, metadata=OMITTED)
    socket: str | None = field(default=None, metadata=OMITTED)
    version: str | None = field(default=None, metadata=OMITTED)
    pid: int | None = field(default=None, metadata=OMITTED)
    level: str | None = field(default=None, metadata=OMITTED)
    """What the asking user may do: read, operate or admin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo(Value):
    """A host, as vifplug sees it."""

    version: str
    """vifplug's."""
    kernel: str
    vif_types: Sequence[str]
    """Those that have a driver here."""
    mtu: int
    """For a VIF whose request has none; bytes."""
    integration_bridge: str
    integration_bridge_datapath: str | None = None
    """system or netdev; null if the bridge is missing, or cannot be read."""
    bridges: Mapping[str, str] = field(default_factory=dict)
    """Every OVS bridge, with its datapath."""
    physical_networks: Mapping[str, str] = field(default_factory=dict)
    """[bridge] physical_networks: each network with its device."""
    vxlan_local_ip: str | None = None
    """[bridge] vxlan_local_ip; null if it is not set."""
    vxlan_group: str | None = None
    """[bridge] vxlan_group; null if it is not set."""
    filters: bool = False
    """[filter] enabled: whether guests with known addresses may send from these only."""
    ovs: OvsInfo = OvsInfo()
    daemon: DaemonInfo = DaemonInfo()
