"""Reports from records and observations. Pure, except for reading a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vifplug.drivers.guest_end import HostDevice, VhostUser
from vifplug.drivers.registry import guest_end, guest_link
from vifplug.engine.plan import diff, guest_absence, resolve
from vifplug.engine.state import Assessment, assess, differences, in_print
from vifplug.engine.wiring import Wiring
from vifplug.errors import UnknownVif
from vifplug.model import printable
from vifplug.model.events import LEVELS
from vifplug.model.reports import (
    FAILED,
    PLUGGED,
    UNPLUGGED,
    DeviceReport,
    DriftItem,
    Hop,
    InstanceReport,
    PathReport,
    PortReport,
    VifCheck,
    VifReport,
)
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort
from vifplug.store import records
from vifplug.store.records import Intent, Record
from vifplug.store.store import Store


def known(store: Store, vif_id: str) -> Record:
    """The record of a VIF.

    :raises UnknownVif: the VIF has none.
    """
    record = store.record(vif_id)
    if record is None:
        raise UnknownVif(f"VIF {vif_id} is not plugged on this host; 'vifplug list' shows those that are", vif_id)
    return record


def check(record: Record, observed: Observed, wiring: Wiring, intent: Intent | None = None) -> VifCheck:
    """The check of a recorded VIF."""
    assessment, since = assess(record, observed, wiring, intent), guest_absence.absent_since(record, observed)
    since = since if intent is None else None
    return VifCheck(
        id=record.id, state=assessment.state, error=assessment.reason, drift=tuple(assessment.drift), absent_since=since
    )


def check_damaged(vif_id: str, reason: str) -> VifCheck:
    """A VIF whose record cannot be read."""
    return VifCheck(id=vif_id, state=FAILED, error=reason)


def _report(record: Record, observed: Observed, assessment: Assessment, warnings: Sequence[str] = ()) -> VifReport:
    vif = record.vif
    return _requested(
        vif,
        state=assessment.state,
        devices=tuple(_device(item, observed) for item in kinds.links_in(record.resources)),
        ports=tuple(_port(item, observed) for item in kinds.ports_in(record.resources)),
        waiting_for=_waiting_for(record, observed),
        absent_since=guest_absence.absent_since(record, observed),
        error=assessment.reason,
        updated_at=record.updated_at,
        warnings=tuple(warnings),
    )


def _waiting_for(record: Record, observed: Observed) -> str | None:
    """What the VMM has yet to make: its tap, or a port."""
    guest = guest_link(record.vif)
    ours = {link.name for link in kinds.links_in(record.resources) if link.is_opened_by_guest}
    if guest and guest not in ours and guest not in observed.links:
        return guest
    ports = (port for port in kinds.ports_in(record.resources) if not port.is_owned)
    return next((port.name for port in ports if port.name not in observed.ports), None)


def built(record: Record, observed: Observed, warnings: Sequence[str]) -> VifReport:
    """The result of a plug: plugged, which it has verified; ``get`` shows the levels that depend on other programs."""
    state = PLUGGED if record.state in LEVELS else record.state
    return _report(record, observed, Assessment(state=state, reason=record.error), warnings)


def _requested(vif: Vif, **observed: Any) -> VifReport:
    """A report with the values of the request, and the observed ones."""
    return VifReport(
        id=vif.id,
        vif_type=vif.vif_type,
        address=vif.address,
        mtu=vif.network.mtu,
        bridge=vif.network.bridge,
        network=vif.network.id,
        join_tap=vif.join_tap or None,
        instance=InstanceReport(uuid=vif.instance.uuid, name=vif.instance.name) if vif.instance else None,
        **observed,
    )


def _device(built: Link, observed: Observed) -> DeviceReport:
    link = observed.links.get(built.name)
    return DeviceReport(
        name=built.name,
        kind=built.kind,
        mtu=link.mtu if link else None,
        up=link.up if link else None,
        master=printable.text(link.master) if link and link.master else None,
        ifindex=link.ifindex if link else None,
    )


def _port(built: OvsPort, observed: Observed) -> PortReport:
    port = observed.ports.get(built.name)
    return PortReport(
        bridge=port.bridge if port else built.bridge,
        name=built.name,
        ofport=port.ofport if port else None,
        tag=port.tag if port else None,
    )


def recorded(
    record: Record,
    observed: Observed | None,
    wiring: Wiring,
    intent: Intent | None,
    warnings: Sequence[str] = (),
) -> VifReport:
    """The report of a recorded VIF; without an observation, as recorded."""
    assessment = assess(record, observed, wiring, intent)
    if observed is None:
        return replace(
            _report(record, Observed(), assessment, warnings), absent_since=record.guest_absent_since or None
        )
    return _report(record, observed, assessment, warnings)


def damaged(vif_id: str, reason: str) -> VifReport:
    """A VIF whose record cannot be read."""
    return VifReport(id=vif_id, state=FAILED, error=reason)


def unplugged(vif_id: str, record: Record | None, warnings: Sequence[str], left: Sequence[str] | None) -> VifReport:
    """The result of ``unplug`` for a VIF; the warnings are about OVS, and only for VIFs that had a port.

    :param left: what stays on the host, as text; None for a VIF that was absent.
    """
    if record is None:
        updated_at = None if left is None else records.now()
        return VifReport(id=vif_id, state=UNPLUGGED, updated_at=updated_at, warnings=tuple(left or ()))
    left = left or ()
    relevant = warnings if kinds.ports_in(record.resources) else ()
    return _requested(record.vif, state=UNPLUGGED, updated_at=records.now(), warnings=(*relevant, *left))


def path(record: Record, observed: Observed, wiring: Wiring, intent: Intent | None) -> PathReport:
    """The VIF's path, hop by hop from the guest."""
    view = recorded(record, observed, wiring, intent)
    items = differences(record, observed)
    guest = guest_link(record.vif)
    hops = [Hop(name=record.vif.address, kind="guest", state="unknown", note=_guest_note(record))]
    if guest and guest not in {link.name for link in kinds.links_in(record.resources)}:
        hops.append(
            _link_hop(guest, "tap", observed, [in_print(item) for item in items if item.subject == guest])
        )  # the VMM's tap: it is in no record, and a driver names only taps
    hops += _unseen_end(record)
    hops += [_hop(item, observed, items) for item in record.resources if not isinstance(item, Filter)]
    hops += _switches(record, observed)
    return PathReport(vif=view, hops=_joined(hops, observed))


def _unseen_end(record: Record) -> list[Hop]:
    """A guest's end that this host does not show, so that the path is not mistaken for one that was inspected."""
    end = guest_end(record.vif)
    if record.resources or not isinstance(end, HostDevice | VhostUser):
        return []
    name, kind = (end.address, "pci-function") if isinstance(end, HostDevice) else (end.path, "vhost-user-socket")
    return [Hop(name=printable.text(name), kind=kind, state="unknown", note="not looked at")]


def _guest_note(record: Record) -> str:
    instance = record.vif.instance
    return "" if instance is None else f"instance {instance.name or instance.uuid}"


def _hop(item: Resource, observed: Observed, items: Sequence[DriftItem]) -> Hop:
    mine = [drift for drift in items if drift.subject == item.name]
    if isinstance(item, OvsPort):
        return _port_hop(item, observed, [in_print(drift) for drift in mine if isinstance(drift, diff.PortDrift)])
    if isinstance(item, OvsBridge):
        return replace(_switch_hop(item.name, observed), drift=tuple(map(in_print, mine)))
    of_link = [in_print(drift) for drift in mine if not isinstance(drift, diff.PortDrift)]
    return _link_hop(item.name, item.kind, observed, of_link)


def _link_hop(name: str, kind: str, observed: Observed, items: Sequence[DriftItem]) -> Hop:
    link = observed.links.get(name)
    if link is None:
        return Hop(
            name=name, kind=kind, state="waiting" if not items and kind == "tap" else "missing", drift=tuple(items)
        )
    vlan = f", vlan {link.bridge_vlan}" if link.bridge_vlan is not None else ""
    note = f"in {link.master}{vlan}" if link.master else ""
    return Hop(name=name, kind=kind, state="up" if link.up else "down", mtu=link.mtu, note=note, drift=tuple(items))


def _port_hop(item: OvsPort, observed: Observed, items: Sequence[DriftItem]) -> Hop:
    port = observed.ports.get(item.name)
    if port is None:
        state = "missing" if item.is_owned else "waiting"
        return Hop(name=item.name, kind="ovs-port", state=state, drift=tuple(items))
    waits = item.waits_for_device and item.name not in observed.links
    words = [f"ofport {port.ofport}"] if (port.ofport or 0) > 0 else []
    words += [f"tag {port.tag}"] if port.tag is not None else []
    words += [port.error] if port.error and not waits else []
    state = "waiting" if waits else "error" if port.error or (port.ofport or 0) <= 0 else "up"
    return Hop(name=item.name, kind="ovs-port", state=state, note=", ".join(words), drift=tuple(items))


def _switches(record: Record, observed: Observed) -> list[Hop]:
    """The OVS bridge behind the port, or a network's bridge that another program made; bridges that vifplug made are
    hops already."""
    own = {item.name for item in record.resources}
    switches = dict.fromkeys(port.bridge for port in kinds.ports_in(record.resources))
    hops = [_switch_hop(name, observed) for name in switches if name not in own]
    switch = record.vif.network.bridge
    if not switches and switch and switch not in own:
        hops.append(_link_hop(switch, "bridge", observed, []))  # another program's bridge: it is in no record
    return hops


def _switch_hop(name: str, observed: Observed) -> Hop:
    bridge = observed.bridges.get(name)
    missing = resolve.fake_bridge([name], observed) or "no such OVS bridge"
    note = f"datapath {bridge.datapath}" if bridge else missing
    return Hop(name=name, kind=OvsBridge.kind, state="up" if bridge else "missing", note=note)


def _joined(hops: Sequence[Hop], observed: Observed) -> tuple[Hop, ...]:
    """Each hop, and whether it is connected to the next one."""
    joined = []
    for hop, following in zip(hops, [*hops[1:], None], strict=True):
        joined.append(hop if following is None else replace(hop, joined=_meet(hop, following, observed)))
    return tuple(joined)


def _meet(hop: Hop, following: Hop, observed: Observed) -> bool:
    near, far = observed.links.get(hop.name), observed.links.get(following.name)
    if hop.kind == "guest":
        return near is None or following.state not in ("missing",)
    port, next_port = observed.ports.get(hop.name), observed.ports.get(following.name)
    if hop.kind == OvsBridge.kind:
        return next_port is not None and next_port.bridge == hop.name
    if following.kind == OvsPort.kind:
        is_joined = hop.name == following.name or (port is not None and port.peer == following.name)
        if near is not None and near.is_function:  # a port of DPDK has no device
            is_joined = near.netdev == following.name or (next_port is not None and not next_port.has_device)
        return following.state not in ("missing", "error") and is_joined
    if hop.kind == OvsPort.kind:
        return port is not None and port.bridge == following.name
    if near is None or far is None:
        return False
    if far.has_members and not near.has_members:
        return near.master == far.name
    if near.has_members:
        return far.master == near.name
    return near.peer == far.name
