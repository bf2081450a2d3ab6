"""Columns of a port's rows, by the table of ``resources.ovs_port``: read, set and emptied.

vifplug's own by creation are empty in every port that does not ask for a value, and no control plane writes them. Tag,
trunks, vlan_mode, qos, other_config, ingress_policing_* and foreign external_ids are the control plane's
(ovs-vswitchd.conf.db(5); Neutron's agents and its QoS driver write them): they are never among these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vifplug.errors import Conflict
from vifplug.privileged import arguments
from vifplug.privileged.ovsdb.values import all_of, first, pairs
from vifplug.resources import ovs_port
from vifplug.resources.ovs_port import INTERFACE, INTERFACES, OPENFLOW, PORT, Column, Read, Writer

_INTERFACE = {column.name: column for column in ovs_port.columns_of(INTERFACE, Writer.VIFPLUG)}
_PORT = {column.name: column for column in ovs_port.columns_of(PORT, Writer.VIFPLUG)}
_READ = [column for column in ovs_port.COLUMNS if column.field]
_LAST_SEEN = ("tag", "vlan_mode", "trunks")
"""Of the control plane's, what a port that is made again gets back."""


def fields(port: Any, interface: Any) -> dict[str, Any]:
    """The fields of ``OvsPort`` that stand for a column each.

    :param interface: None for a port that has none.
    """
    return {column.field: _read(port if column.row == PORT else interface, column) for column in _READ}


def _read(row: Any, column: Column) -> Any:
    match column.read:
        case Read.MAP:
            return pairs(row, column.name) if row is not None else {}
        case Read.SET:
            return all_of(row, column.name) if row is not None else []
        case Read.ONE:
            empty = "" if column.type == "string" else None
            return first(row, column.name) if row is not None else empty


def set_vlans(port: Any, given: Mapping[str, Any]) -> None:
    """VLANs that a port had before it was made again.

    :raises PermissionDenied: for a value out of bounds.
    """
    if given.get("tag") is not None:
        port.tag = arguments.number("the tag", given["tag"], 0, ovs_port.DEAD_VLAN)
    if given.get("vlan_mode") is not None:
        port.vlan_mode = arguments.vlan_mode(given["vlan_mode"])
    if given.get("trunks"):
        port.trunks = [arguments.number("the trunk", vlan, 0, ovs_port.DEAD_VLAN) for vlan in given["trunks"]]


def has_vlans(port: Any) -> bool:
    """Whether a control plane has set VLANs on a port, verified in the transaction: it knows better than a record."""
    for column in _LAST_SEEN:
        port.verify(column)
    return any(getattr(port, column) for column in _LAST_SEEN)


def give(port: Any, interfaces: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Set columns of a port of ours to what it asks for.

    :raises PermissionDenied: for a column that is not vifplug's, or a value that its table does not allow.
    """
    for name, value in given.items():
        column = _PORT.get(name) or _INTERFACE.get(name)
        if column is None or column.allows is None or not column.allows(value):
            raise arguments.refuse(f"for the OVSDB column {name!r:.40} the value", value)
        for row in (port,) if column.row == PORT else interfaces:
            setattr(row, name, value)


def settings(port: Any, interfaces: Sequence[Any]) -> dict[str, Any]:
    """Those that are not empty, as plain values: what another program has set on a port of ours."""
    name = first(port, "name")
    found = _not_empty(port, _PORT)
    for interface in interfaces:
        if first(interface, "name") == name:
            found |= _not_empty(interface, _INTERFACE)
    names = [first(interface, "name") for interface in interfaces]
    if names != [name]:
        found[INTERFACES] = ", ".join(map(str, sorted(names))) or "none"
    return found


def polices(interface: Any, tables: Any) -> bool:
    """Whether ovs-vswitchd itself has an ingress queueing discipline on an interface's device."""
    if interface is not None and first(interface, "ingress_policing_rate"):
        return True
    rows = tables["Open_vSwitch"].rows.values()
    return any(pairs(row, "other_config").get("hw-offload") == "true" for row in rows)


def _not_empty(row: Any, columns: Mapping[str, Column]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, column in columns.items():
        raw = pairs(row, name) if column.read is Read.MAP else first(row, name)
        value = ovs_port.shown(name, raw)
        if value is not None:
            found[name] = value
    return found


def empty(txn: Any, api: Any, port: Any, columns: Sequence[str]) -> None:
    """Make columns of a port of ours as its creation left them; no caller chooses a value.

    :raises PermissionDenied: for a column that is not one of these.
    :raises Conflict: where the interface of its name is another port's.
    """
    for column in columns:
        if column not in (*_INTERFACE, *_PORT, INTERFACES, OPENFLOW):
            raise arguments.refuse("the OVSDB column", column)
    if INTERFACES in columns:
        port.interfaces = [_own_interface(txn, api, port)]
    for column in columns:
        if column in _PORT:
            setattr(port, column, _PORT[column].empty)
        elif column in _INTERFACE:
            for interface in port.interfaces:
                setattr(interface, column, _INTERFACE[column].empty)


def _own_interface(txn: Any, api: Any, port: Any) -> Any:
    interface = next((row for row in port.interfaces if row.name == port.name), None)
    if interface is not None:
        return interface
    others = api.idl.index.other_ports_with(port.name)
    if others:
        raise Conflict(f"OVS interface {port.name!r} is in Port {others[0].name!r}; it was left alone", port.name)
    interface = txn.insert(api.idl.tables["Interface"])
    interface.name = port.name
    return interface
