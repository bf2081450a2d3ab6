"""The contract of a driver and its inputs. This page is the guide for authors of drivers.

A driver describes the desired resources of a VIF; the engine observes the host, plans the difference,
applies it, undoes it on failure and deletes it at an unplug. So a driver has no plug and no unplug, changes
nothing and reads nothing. It is registered under its vif_type as an entry point of the group ``vifplug.drivers``.

Rules for a driver:

* Every resource has a kind of ``resources.kinds``; ``resources.contract`` defines kinds. A configured or referenced
  resource has its name on the host, and must exist.
* Every resource has its owner: the VIF's id, or ``naming.network_owner(...)`` for resources that a network's VIFs
  share.
* Names come from ``naming``, or from ``vif.names``.
* An attribute without a desired value stays None. The planner resolves attributes that depend on the bridge's datapath
  (offloads, QoS); the driver only names the bridge.
* Resources are listed from the guest outwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vifplug import naming
from vifplug.drivers.guest_end import GuestEnd
from vifplug.errors import InputError
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Configured defaults for values that a request leaves out."""

    integration_bridge: str = "br-int"
    mtu: int = 1500
    """Bytes."""
    isolate: bool = False
    per_port_bridge: bool = False
    qos_type: str | None = "linux-noop"
    wired_by: str = "auto"
    listens: bool = False
    """Whether the daemon receives Neutron's events."""
    vhostuser_socket_dir: str = "/var/lib/vhost_sockets"
    """The directory of vhost-user sockets: drivers and the helper refuse sockets elsewhere."""
    filter_enabled: bool = False
    """Whether guests of VIFs with known addresses may send from these only."""
    configurable: tuple[str, ...] = ()
    """Names or globs of other programs' devices that VIFs may use."""
    physical_networks: Mapping[str, str] = field(default_factory=dict)
    """Devices by physical network."""
    addressed_devices: tuple[str, ...] = ()
    """Those that may be put on a bridge although they have addresses or routes."""
    vxlan_local_ip: str = ""
    vxlan_group: str = ""
    """A multicast group, or a range of them."""


class Driver(Protocol):
    """Describes the VIFs of one vif_type."""

    vif_type: str
    makes_tap: bool
    """The default of ``create_tap``."""

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """The desired resources of a VIF whose ``mtu``, ``create_tap`` and ``isolate`` are filled in.

        :raises InputError: the request lacks a value that this vif_type needs.
        """
        ...

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The VIF's OVS or Linux bridge, requested or by default."""
        ...

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The guest's end of the VIF; None if it is not on this host."""
        ...


def tap_name(vif: Vif) -> str:
    """The name of a VIF's tap: its own, or prefix plus id."""
    return vif.names.tap or naming.device(naming.ROLE_TAP, vif.id)


def mtu_of(vif: Vif) -> int:
    """A VIF's MTU, after the engine has filled it in.

    :raises InputError: it has not.
    """
    if vif.network.mtu is None:
        raise InputError(f"VIF {vif.id} has no MTU", vif.id)
    return vif.network.mtu
