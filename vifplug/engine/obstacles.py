"""What stops frames on links that are ours, or lets them out where they must not go. Pure.

What is set on a link or a port of ours is drift. What is set on somebody else's (a tap that the VMM made, a network's
bridge that another program made, the OVS bridge) is not vifplug's to change; the doctor names it.
"""

from __future__ import annotations

from vifplug import passage
from vifplug.reports import DriftItem
from vifplug.resources import Bridge, Link, Observed, OvsPort, Tap

_OF_OVS = "openvswitch"
"""The kernel's word for the master of a port of OVS's kernel datapath."""
_OWN_QOS = ("linux-noop", "")
"""QoS types with which ovs-vswitchd leaves the device's queueing discipline alone."""


def on_link(desired: Link, found: Link, observed: Observed) -> list[DriftItem]:
    """Everything on one link of ours that stops its frames or leaks them."""
    items = [_item(found, name) for name in found.impeded if _concerns(name, desired, found, observed)]
    if desired.master is None and found.master is not None and found.slave_kind != _OF_OVS:
        items.append(DriftItem(subject=found.name, attribute="master", observed=found.master, desired=None))
    return items


def on_foreign_link(found: Link, observed: Observed) -> list[DriftItem]:
    """The same of a link that is not ours, as far as it is wrong whoever made it."""
    names = (name for name in found.impeded if name not in (passage.QDISC, passage.INGRESS))
    kept = [name for name in names if name != passage.PORT_STATE or _is_stopped(found, observed)]
    kept += [passage.QDISC] if found.impeded.get(passage.QDISC, "noop") not in passage.QDISCS_OF_TAP else []
    return [_item(found, name) for name in kept if name != passage.TX_QUEUE or isinstance(found, Tap)]


def _item(found: Link, name: str) -> DriftItem:
    return DriftItem(subject=found.name, attribute=name, observed=found.impeded[name], desired=passage.RIGHT[name])


def _concerns(name: str, desired: Link, found: Link, observed: Observed) -> bool:
    match name:
        case passage.QDISC:
            return _is_foreign_qdisc(desired, found, observed)
        case passage.TX_QUEUE:
            return isinstance(desired, Tap)
        case passage.PORT_STATE:
            return found.master == desired.master and _is_stopped(found, observed)
        case _ if name.startswith(passage.PORT_PREFIX):
            # On a bridge that it is taken from, its flags go with the port.
            return found.master == desired.master
        case _:
            return name not in passage.BRIDGE or isinstance(desired, Bridge)


def _is_stopped(found: Link, observed: Observed) -> bool:
    """Whether a port passes nothing though its device could: not where the bridge is down, nor where another program's
    bridge runs STP, whose decision it is."""
    master = observed.links.get(found.master or "")
    if not isinstance(master, Bridge) or not master.up or not found.carrier:
        return False
    return bool(master.owner) or not master.stp


def _is_foreign_qdisc(desired: Link, found: Link, observed: Observed) -> bool:
    """Whether somebody put a queueing discipline on it. That of a port's QoS is the control plane's."""
    if isinstance(desired, Bridge):
        return False  # what a bridge forwards does not pass its own queue
    kind = found.impeded[passage.QDISC]
    if isinstance(desired, Tap) and kind in passage.QDISCS_OF_TAP:
        return False
    port = observed.ports.get(desired.name)
    return port is None or port.qos is None or _is_own_qos(port, observed)


def _is_own_qos(port: OvsPort, observed: Observed) -> bool:
    return any(qos.uuid == port.qos and qos.type in _OWN_QOS for qos in observed.qos)
