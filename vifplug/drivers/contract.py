"""What a driver is, and what it is given. This page is the authors' guide.

A driver says what should be there for a VIF; the engine finds out what is there, plans the difference,
applies it, undoes it on failure and takes it away again. So a driver has no plug and no unplug, touches
nothing and reads nothing. It is found by its vif_type in stevedore's namespace ``vifplug.drivers``.

Rules a driver keeps:

* Every resource is of a kind of ``resources.kinds``; ``resources.contract`` says what a kind is. One that is
  configured or referenced has the name that it has on the host, and must be there.
* Every resource carries its owner: the VIF's id, or ``naming.network_owner(...)`` for what a network's VIFs
  share.
* Names come from ``naming``, or from ``vif.names``.
* An attribute it does not care about stays None. What depends on the bridge's datapath (offloads, QoS) is
  resolved by the planner, which sees the bridge; the driver only names the bridge.
* Resources are listed from the guest outwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vifplug import naming
from vifplug.drivers.guest_end import GuestEnd
from vifplug.errors import InputError
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the configuration says where a request is silent."""

    integration_bridge: str = "br-int"
    mtu: int = 1500
    """Bytes."""
    isolate: bool = False
    qos_type: str | None = "linux-noop"
    wired_by: str = "auto"
    listens: bool = False
    """Whether Neutron's own events can reach this host."""


class Driver(Protocol):
    """Describes the VIFs of one vif_type."""

    vif_type: str
    makes_tap: bool
    """What ``create_tap`` is when the request does not say."""

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """What should be there for a VIF whose ``mtu``, ``create_tap`` and ``isolate`` are filled in.

        :raises InputError: when the request lacks what this vif_type needs.
        """
        ...

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The OVS or Linux bridge the VIF joins, when the request does not say or has said."""
        ...

    def guest_end(self, vif: Vif) -> GuestEnd:
        """Where the guest takes hold; None where nothing of it is on this host."""
        ...


def tap_name(vif: Vif) -> str:
    """The name of a VIF's tap: its own, or prefix plus id."""
    return vif.names.tap or naming.device(naming.ROLE_TAP, vif.id)


def mtu_of(vif: Vif) -> int:
    """A VIF's MTU, once the engine has filled it in.

    :raises InputError: when it has not.
    """
    if vif.network.mtu is None:
        raise InputError(f"VIF {vif.id} has no MTU", vif.id)
    return vif.network.mtu
