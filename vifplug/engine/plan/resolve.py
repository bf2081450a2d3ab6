"""The parts of the desired state that depend on the host. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vifplug import naming
from vifplug.engine.plan import diff, ownership
from vifplug.engine.plan.uplink import on_host
from vifplug.errors import BridgeMissing
from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort


def resolve(desired: Iterable[Resource], observed: Observed) -> tuple[Resource, ...]:
    """Fill in fields that depend on the host: the OVS bridge's own datapath decides about offloads and QoS, and about
    which port a virtual function's representor is; the host names its device.

    A network's or a trunk's bridge that another program made is joined unchanged, so it is removed from the desired
    state; an uplink that another program made is only put on the bridge.

    :raises BridgeMissing: an OVS bridge is missing that vifplug does not make.
    """
    desired = tuple(desired)
    made = {bridge.name: _like_another(bridge, observed) for bridge in kinds.ovs_bridges_in(desired)}
    bridges = {**made, **observed.bridges}
    foreign = {item.name for item in desired if is_foreign(item, observed)}
    resolved: list[Resource] = []
    for resource in desired:
        if isinstance(resource, OvsPort):
            if resource.bridge not in bridges:
                raise _bridge_missing(f"VIF {resource.owner}", resource.bridge, observed)
            userspace = bridges[resource.bridge].userspace
            port = resource.replaced(qos_type=None) if userspace else resource
            if port.function:
                port = port.as_representor(observed.links.get(port.function), userspace=userspace)
            resolved.append(port)
        elif isinstance(resource, Link) and resource.port_bridge in bridges:
            on_datapath = resource.as_on(bridges[resource.port_bridge].userspace)
            resolved.append(on_datapath.as_observed(observed.links.get(resource.name)))
        elif isinstance(resource, Link) and resource.is_uplink:
            uplink = on_host.resolve(
                resource,
                observed,
                is_foreign=resource.name in foreign,
                on_foreign_bridge=resource.master in foreign,
            )
            resolved += [uplink] if uplink is not None else []
        elif resource.is_guests and resource.name not in observed.links:
            continue  # its maker has yet to make it, or has deleted it; the next plug finds it
        elif resource.name not in foreign:
            resolved.append(made.get(resource.name, resource) if isinstance(resource, OvsBridge) else resource)
    return tuple(resolved)


def _like_another(bridge: OvsBridge, observed: Observed) -> OvsBridge:
    """A bridge with the datapath of the bridge that it is to resemble; if that is missing, an existing bridge keeps its
    own."""
    like, current = observed.bridges.get(bridge.like), observed.bridges.get(bridge.name)
    if like is None and current is None:
        raise _bridge_missing(f"the datapath of {bridge.name!r}", bridge.like, observed)
    return replace(bridge, datapath_type=(like or current or bridge).datapath_type)


def fake_bridge(names: Iterable[str], observed: Observed) -> str | None:
    """Why Open vSwitch does not treat the first of these names as a bridge, as text; None if all are bridges."""
    faults = (naming.fake_bridge(name, *observed.fake_bridges[name]) for name in names if name in observed.fake_bridges)
    return next(faults, None)


def _bridge_missing(needed_for: str, name: str, observed: Observed) -> BridgeMissing:
    fake = fake_bridge([name], observed)
    if fake is not None:
        return BridgeMissing(f"{needed_for} cannot be plugged: {fake}", name)
    return BridgeMissing(f"no OVS bridge {name!r} for {needed_for}; create it first: vifplug never makes one", name)


def is_foreign(resource: Resource, observed: Observed) -> bool:
    """Whether another program made a shared resource such as a bridge: it is used, never changed. A resource that
    differs in values that only a new one can get does not count."""
    if isinstance(resource, OvsBridge):
        there = observed.bridges.get(resource.name)
        return resource.shared and there is not None and not ownership.bridge_is_ours(there, resource.owner)
    if not isinstance(resource, Link) or not resource.may_be_foreign or not resource.shared:
        return False
    if resource.name in observed.displaced:
        return False
    current = observed.links.get(resource.name)
    if current is None or current.kind != resource.kind or current.owner or diff.is_to_be_remade(resource, current):
        return False
    return not ownership.is_ours(current, resource, None)
