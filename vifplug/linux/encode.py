"""Actions as the privileged side takes them: primitives that name an operation and whose the object is. Pure."""

from __future__ import annotations

from typing import Any

from vifplug.engine.plan import actions
from vifplug.engine.plan.actions import Action
from vifplug.resources.observed import Bridge, Link, OvsPort, Tap


def _identity(link: Link) -> dict[str, Any]:
    """What the helper needs to see whose a link is."""
    return {"name": link.called or link.name, "owner": link.owner, "role": link.role, "birth_address": link.address}


def of_link(action: Action) -> dict[str, Any]:
    """A change of links, for the verb of that name."""
    match action:
        case actions.CreateBridge(bridge=bridge):
            settings = {
                key: getattr(bridge, key) for key in ("stp", "forward_delay", "ageing_time", "multicast_snooping")
            }
            return {
                "op": "create-bridge",
                **_identity(bridge),
                "address": bridge.address,
                "mtu": bridge.mtu,
                **settings,
            }
        case actions.CreateVeth(near=near, far=far):
            ends = [
                {**_identity(end), "address": end.address, "mtu": end.mtu, "master": end.master} for end in (near, far)
            ]
            return {"op": "create-veth", "ends": ends}
        case actions.CreateTap(tap=tap):
            fields = {key: getattr(tap, key) for key in ("address", "mtu", "uid", "gid")}
            return {"op": "create-tap", **_identity(tap), **fields, "multiqueue": bool(tap.multiqueue)}
        case actions.RenameLink(link=link, old=old):
            return {"op": "rename", **_identity(link), "name": old, "ifindex": link.ifindex, "to": link.name}
        case actions.SetLink(link=link, changes=changes, adopt=adopt):
            values = {attribute: after for attribute, _before, after in changes}
            multiqueue = bool(link.multiqueue) if isinstance(link, Tap) else False
            return {"op": "set", **_identity(link), "values": values, "adopt": adopt, "multiqueue": multiqueue}
        case actions.JoinGuest(bridge=bridge, ifindex=ifindex, vif_id=vif_id):
            return {
                "op": "join",
                **_identity(bridge),
                "guest": bridge.guest,
                "guest_address": bridge.guest_address,
                "guest_ifindex": ifindex,
                "vif_id": vif_id,
            }
        case actions.ForgetStation(link=link, station=entry):
            return {"op": "forget-station", **_identity(link), "port": entry.port, "station": entry.address}
        case actions.DeleteLinks(links=links):
            entries = [{**_identity(link), "spare_members": isinstance(link, Bridge) and link.shared} for link in links]
            return {"op": "delete", "links": entries}
    raise TypeError(f"no link operation for {action!r}")


def of_port(action: Action) -> dict[str, Any]:
    """A change of rows, for the verb of that name."""
    match action:
        case actions.DeleteQos(owner=owner):
            return {"op": "delete-qos", "owner": owner}
        case actions.SetPort(port=port, iface_changes=iface, port_changes=own, emptied=emptied, again=again):
            return {
                "op": "set",
                **_port_identity(port),
                "iface_ids": {key: after for key, _before, after in iface},
                "external_ids": {key: after for key, _before, after in own},
                "columns": list(emptied),
                "vlans": _vlans(port) if again else None,
            }
        case actions.MovePort(port=port):
            return {"op": "move", **_port_identity(port), "bridge": port.bridge}
        case actions.ReattachPort(port=port, if_closed=if_closed):
            return {"op": "reattach", **_port_identity(port), "if_closed": if_closed}
        case actions.DeletePort(port=port, as_added=as_added):
            return {"op": "delete", **_port_identity(port), "as_added": as_added}
        case actions.AddPort(port=port):
            fields = ("bridge", "qos", "qos_type")
            return {
                "op": "add",
                **_port_identity(port),
                **{key: getattr(port, key) for key in fields},
                **_vlans(port),
                "iface_ids": dict(port.iface_ids),
                "external_ids": dict(port.external_ids),
                "other_config": dict(port.other_config),
            }
    raise TypeError(f"no port operation for {action!r}")


def _vlans(port: OvsPort) -> dict[str, Any]:
    return {"tag": port.tag, "vlan_mode": port.vlan_mode, "trunks": list(port.trunks)}


def _port_identity(port: OvsPort) -> dict[str, Any]:
    return {
        "name": port.name,
        "owner": port.owner,
        "uuid": port.uuid or "",
    }
