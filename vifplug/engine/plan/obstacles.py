"""Settings that stop frames on our links, or send them where they must not go. Pure.

On a link or a port of ours they are drift. On other programs' devices (a tap that the VMM made, a network's bridge that
another program made, the OVS bridge) vifplug does not change them; the doctor reports them.
"""

from __future__ import annotations

from vifplug.model.reports import DriftItem
from vifplug.resources import passage
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed, Station
from vifplug.resources.ovs_port import OvsPort

_OF_OVS = "openvswitch"
"""The kernel's kind of the master of a port of OVS's kernel datapath."""
STATION = "fdb "
"""Prefix of the MAC of a forwarding table's entry, as an attribute of its bridge."""
_OWN_QOS = ("linux-noop", "")
"""QoS types with which ovs-vswitchd leaves the device's queueing discipline alone."""


def on_link(desired: Link, current: Link, observed: Observed) -> list[DriftItem]:
    """Everything on one of our links that stops its frames or leaks them."""
    items = [_item(current, name) for name in current.impeded if _concerns(name, desired, current, observed)]
    is_taken = desired.master is None and current.master is not None and current.slave_kind != _OF_OVS
    if is_taken and not desired.has_any_master:
        items.append(DriftItem(subject=current.name, attribute="master", observed=current.master, desired=None))
    return [*items, *map(_station_item, stations_on(desired, observed))]


def stations_on(desired: Link, observed: Observed) -> list[Station]:
    """Static entries of the forwarding table that send a guest's frames elsewhere.

    A bridge of one VIF, and ports of ours, have only the guest's own MAC on its own tap.
    """
    # An entry of a port is one for each of its VLANs, and is deleted in all of them.
    entries = {(entry.bridge, entry.port, entry.address): entry for entry in _stations_on(desired, observed)}
    return list(entries.values())


def _stations_on(desired: Link, observed: Observed) -> list[Station]:
    if not observed.stations:
        return []
    if desired.passage.is_bridge:
        here = [entry for entry in observed.stations if entry.bridge == desired.name]
        here = [entry for entry in here if entry.vlan in (0, desired.guest_vlan)]
        if desired.shared:
            ours = (desired.name, desired.station_port)
            here = [entry for entry in here if entry.address == desired.station or entry.port in ours]
        right = (desired.station_port, desired.station)
        known = bool(desired.station and desired.station_port)
        return [e for e in here if known and ((e.port, e.address) != right or e.kind == "permanent")]
    master = observed.links.get(desired.master or "")
    if not desired.is_opened_by_guest or desired.address is None or master is None or master.owner:
        return []
    # On a bridge that another program made: a tap's MAC ends like its guest's.
    here = [entry for entry in observed.stations if (entry.bridge, entry.port) == (master.name, desired.name)]
    here = [entry for entry in here if entry.vlan in (0, desired.bridge_vlan)]
    return [e for e in here if e.address[2:] != desired.address[2:] or e.kind == "permanent"]


def _station_item(entry: Station) -> DriftItem:
    observed = f"{entry.kind} on {entry.port}"
    return DriftItem(subject=entry.bridge, attribute=f"{STATION}{entry.address}", observed=observed, desired=None)


def on_foreign_link(link: Link, observed: Observed) -> list[DriftItem]:
    """The same for another program's link, for settings that are wrong on any link."""
    names = (name for name in link.impeded if name not in (passage.QDISC, passage.INGRESS))
    kept = [name for name in names if name != passage.PORT_STATE or _is_stopped(link, observed)]
    kept += [passage.QDISC] if link.impeded.get(passage.QDISC, "noop") not in passage.QDISCS_OF_TAP else []
    return [_item(link, name) for name in kept if name != passage.TX_QUEUE or link.passage.has_ring]


def on_foreign_bridge(
    bridge: Link, observed: Observed, guest: tuple[str, str], vlan: int | str | None = None
) -> list[DriftItem]:
    """What another program has set on its own bridge that stops a guest's frames.

    :param guest: its tap, and its MAC.
    :param vlan: the guest's VLAN, if vifplug sets it.
    """
    names = [name for name in passage.BRIDGE if not (vlan is not None and name == passage.VLAN_FILTERING)]
    items = [_item(bridge, name) for name in names if bridge.impeded.get(name)]
    if not bridge.up:
        # The kernel keeps every port of a bridge that is down in the state "disabled".
        items.append(DriftItem(subject=bridge.name, attribute="up", observed=False, desired=True))
    entries = [entry for entry in observed.stations if entry.bridge == bridge.name and entry.address == guest[1]]
    entries = [entry for entry in entries if entry.vlan in (0, vlan)]
    wrong = (entry for entry in entries if entry.port != guest[0] or entry.kind == "permanent")
    return [*items, *map(_station_item, wrong)]


def _item(link: Link, name: str) -> DriftItem:
    return DriftItem(subject=link.name, attribute=name, observed=link.impeded[name], desired=passage.RIGHT[name])


def _concerns(name: str, desired: Link, current: Link, observed: Observed) -> bool:
    match name:
        case passage.INGRESS:
            return _is_foreign_ingress(desired, current, observed)
        case passage.QDISC:
            return _is_foreign_qdisc(desired, current, observed)
        case passage.TX_QUEUE:
            return desired.passage.has_ring
        case passage.PORT_STATE:
            return current.master == desired.master and _is_stopped(current, observed)
        case _ if name.startswith(passage.PORT_PREFIX):
            # On a bridge that the port is about to leave: its flags are deleted with the bridge port.
            return current.master == desired.master
        case passage.VLAN_FILTERING:
            return desired.passage.is_bridge and not desired.vlan_filtering
        case _:
            return name not in passage.BRIDGE or desired.passage.is_bridge


def _is_stopped(link: Link, observed: Observed) -> bool:
    """Whether a port forwards nothing although its device could: not if the bridge is down, nor if another program's
    bridge runs STP, which then decides."""
    master = observed.links.get(link.master or "")
    if master is None or not master.passage.is_bridge or not master.up or not link.carrier:
        return False
    return bool(master.owner) or not master.runs_stp


def _is_foreign_qdisc(desired: Link, current: Link, observed: Observed) -> bool:
    """Whether another program set a queueing discipline. The control plane sets that of a port with QoS."""
    right = desired.passage.qdiscs
    if right is None or current.impeded[passage.QDISC] in right:
        return False
    port = observed.ports.get(desired.name)
    return port is None or port.qos is None or _is_own_qos(port, observed)


def _is_foreign_ingress(desired: Link, current: Link, observed: Observed) -> bool:
    """Whether another program processes a link's frames first. Open vSwitch does for policing and hardware offload, and
    libvirt on a guest's tap, for its <bandwidth>."""
    right = desired.passage.ingress
    if right is None or current.impeded[passage.INGRESS] in right:
        return False
    port = observed.ports.get(desired.name)
    return port is None or not port.polices


def _is_own_qos(port: OvsPort, observed: Observed) -> bool:
    return any(qos.uuid == port.qos and qos.type in _OWN_QOS for qos in observed.qos)
