"""Converts actions for the privileged side: primitives that name an operation and the object's owner. Pure."""

from __future__ import annotations

from typing import Any

from vifplug.engine.plan import actions, configured
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.nftables import filters
from vifplug.errors import UnknownKind
from vifplug.resources import ovs_bridge
from vifplug.resources.contract import Creation
from vifplug.resources.link import Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.ovs_port import OvsPort, Vlans
from vifplug.resources.schema import Form


def _identity(link: Link) -> dict[str, Any]:
    """What the helper needs to check a link's owner."""
    device = {"netdev": link.netdev} if link.netdev else {}
    own = {"name": link.called or link.name, "owner": link.owner, "role": link.role, "birth_address": link.address}
    return {**own, **device}


def _made(link: Link) -> dict[str, Any]:
    """The values for a link's creation. The mark is derived from the owner."""
    table = link.attributes
    named = [
        attribute for attribute in table.attributes if attribute.name in table.made_with and attribute.name != "alias"
    ]
    values = {attribute.name: getattr(link, attribute.name) for attribute in named}
    if link.creation is not Creation.TAP:
        return {**_identity(link), **values}
    # By ioctl, which needs a value for each.
    flags = {attribute.name: bool(values[attribute.name]) for attribute in named if attribute.form is Form.FLAG}
    return {**_identity(link), **values, **flags}


def of_link(action: Action) -> dict[str, Any]:
    """A change of links, for the verb of that name."""
    match action:
        case actions.CreateLink(link=link, other=None):
            return {"op": action.name, **_made(link)}
        case actions.CreateLink(link=near, other=far) if far is not None:
            return {"op": action.name, "ends": [_made(near), _made(far)]}
        case actions.RenameLink(link=link, old=old):
            return {"op": "rename", **_identity(link), "name": old, "ifindex": link.ifindex, "to": link.name}
        case actions.SetLink(link=link, changes=changes, adopt=adopt):
            values = {attribute: after for attribute, _before, after in changes}
            # Fixed values of its creation determine how it is opened.
            made = {name: bool(getattr(link, name)) for name in link.attributes.remade_for}
            return {"op": "set", **_identity(link), **made, "values": values, "adopt": adopt}
        case actions.ConfigureLink(link=link, changes=changes, puts_back=puts_back):
            return {
                "op": "configure",
                **_identity(link),
                "kind": link.kind,
                "values": {attribute: after for attribute, _before, after in changes},
                "expected": {attribute: before for attribute, before, _after in changes} if puts_back else {},
            }
        case configured.FreeDevice(link=link):
            return {"op": "free", **_identity(link), "kind": link.kind}
        case actions.JoinGuest(bridge=bridge, ifindex=ifindex, vif_id=vif_id):
            return {
                "op": "join",
                **_identity(bridge),
                "guest": bridge.guest,
                "guest_address": bridge.guest_address,
                "guest_vlan": bridge.guest_vlan,
                "guest_ifindex": ifindex,
                "vif_id": vif_id,
            }
        case actions.ForgetStation(link=link, station=entry):
            return {"op": "forget-station", **_identity(link), "port": entry.port, "station": entry.address}
        case actions.DeleteLinks(links=links):
            entries = [{**_identity(link), "spare_members": link.has_members and link.shared} for link in links]
            return {"op": "delete", "links": entries}
    raise UnknownKind(f"no link operation for {action!r}")


def of_filter(action: Action) -> dict[str, Any]:
    """A change of filters."""
    match action:
        case filters.PutFilter(filter=wanted):
            return {"op": "put", **wanted_filter(wanted)}
        case filters.DeleteFilter(filter=gone):
            return {"op": "delete", "owner": gone.owner, "place": gone.place}
    raise UnknownKind(f"no filter operation for {action!r}")


def wanted_filter(wanted: Filter) -> dict[str, Any]:
    """A filter as it should be."""
    values = {key: getattr(wanted, key) for key in ("name", "owner", "place", "address")}
    return {**values, "allowed": list(wanted.allowed)}


def of_port(action: Action) -> dict[str, Any]:
    """A change of rows, for the verb of that name."""
    match action:
        case actions.DeleteQos(owner=owner):
            return {"op": "delete-qos", "owner": owner}
        case actions.SetPort(
            port=port, iface_changes=iface, port_changes=own, emptied=emptied, given=given, again=again, vlans=vlans
        ):
            return {
                "op": "set",
                **_port_identity(port),
                "iface_ids": {key: after for key, _before, after in iface},
                "external_ids": {key: after for key, _before, after in own},
                "columns": list(emptied),
                "settings": dict(given),
                "vlans": _vlans(port.vlans) if again else None,
                "own_vlans": _vlans(vlans[1]) if vlans is not None else None,
            }
        case actions.MovePort(port=port):
            return {"op": "move", **_port_identity(port), "bridge": port.bridge}
        case actions.ReattachPort(port=port, if_closed=if_closed):
            return {"op": "reattach", **_port_identity(port), "if_closed": if_closed}
        case actions.DeletePort(port=port, as_added=as_added):
            return {"op": "delete", **_port_identity(port), "as_added": as_added}
        case actions.AddBridge(bridge=bridge) | actions.DeleteBridge(bridge=bridge):
            return {"op": action.name, "name": bridge.name, "owner": bridge.owner, "like": bridge.like}
        case actions.SetBridge(bridge=bridge, changes=changes):
            identity = {"name": bridge.name, "owner": bridge.owner, "like": bridge.like}
            # Mark and datapath are set each time; every other column is reset to the value of the bridge's creation.
            columns = [key for key, _before, _after in changes if key in ovs_bridge.SETTINGS]
            return {"op": action.name, **identity, "columns": columns}
        case actions.AddPort(port=port):
            fields = ("bridge", "qos", "qos_type")
            return {
                "op": "add",
                **_port_identity(port),
                **{key: getattr(port, key) for key in fields},
                **_vlans(port.vlans),
                "iface_ids": dict(port.iface_ids),
                "external_ids": dict(port.external_ids),
                "other_config": dict(port.other_config),
                "settings": dict(port.settings),
                "guest_address": port.device_address if port.waits_for_device else "",
                "function": port.function if port.has_device else "",
            }
    raise UnknownKind(f"no port operation for {action!r}")


def _vlans(vlans: Vlans) -> dict[str, Any]:
    return {"tag": vlans.tag, "vlan_mode": vlans.vlan_mode, "trunks": list(vlans.trunks)}


def _port_identity(port: OvsPort) -> dict[str, Any]:
    return {
        "name": port.name,
        "owner": port.owner,
        "uuid": port.uuid or "",
    }
