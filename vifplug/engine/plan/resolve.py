"""What of the desired depends on the host. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vifplug import naming
from vifplug.engine.plan import ownership
from vifplug.errors import BridgeMissing
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_port import OvsPort


def resolve(desired: Iterable[Resource], observed: Observed) -> tuple[Resource, ...]:
    """Fill in what depends on the host: the OVS bridge's own datapath decides about offloads and QoS.

    A network's bridge that somebody else made is joined as it is, so it drops out of what is desired.

    :raises BridgeMissing: when an OVS bridge is not there.
    """
    resolved: list[Resource] = []
    for resource in desired:
        if isinstance(resource, OvsPort):
            if resource.bridge not in observed.bridges:
                raise _bridge_missing(resource, observed)
            kernel = not observed.bridges[resource.bridge].userspace
            resolved.append(replace(resource, qos_type=resource.qos_type if kernel else None))
        elif isinstance(resource, Link) and resource.port_bridge in observed.bridges:
            resolved.append(resource.as_on(observed.bridges[resource.port_bridge].userspace))
        elif not is_foreign_bridge(resource, observed):
            resolved.append(resource)
    return tuple(resolved)


def fake_bridge(names: Iterable[str], observed: Observed) -> str | None:
    """What is wrong with the first of these bridges that is none to Open vSwitch, in words; None where none is that."""
    found = (naming.fake_bridge(name, *observed.fake_bridges[name]) for name in names if name in observed.fake_bridges)
    return next(found, None)


def _bridge_missing(port: OvsPort, observed: Observed) -> BridgeMissing:
    fake = fake_bridge([port.bridge], observed)
    if fake is not None:
        return BridgeMissing(f"VIF {port.owner} cannot be plugged: {fake}", port.bridge)
    return BridgeMissing(
        f"no OVS bridge {port.bridge!r} for VIF {port.owner}; create it first: vifplug never makes one", port.bridge
    )


def is_foreign_bridge(resource: Resource, observed: Observed) -> bool:
    """Whether a network's bridge was made by somebody else: used, never changed."""
    if not isinstance(resource, Link) or not resource.has_members or not resource.shared:
        return False
    if resource.name in observed.displaced:
        return False
    found = observed.links.get(resource.name)
    if found is None or found.kind != resource.kind or found.owner:
        return False
    return not ownership.is_ours(found, resource, None)
