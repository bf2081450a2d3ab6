"""Columns of a port's rows that vifplug owns by creation: they are empty in every port that it makes, and no control
plane writes them.

Tag, trunks, vlan_mode, qos, other_config, ingress_policing_* and foreign external_ids are the control plane's
(ovs-vswitchd.conf.db(5); Neutron's agents and its QoS driver write them): they are never among these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vifplug.errors import Conflict
from vifplug.privileged import arguments
from vifplug.privileged.ovsdb.values import first, pairs

_INTERFACE: dict[str, Any] = {
    "type": "",
    "options": {},
    "mtu_request": [],
    "mac": [],
    "lldp": {},
    "bfd": {},
    "cfm_mpid": [],
}
_PORT: dict[str, Any] = {"bond_mode": [], "lacp": [], "fake_bridge": False, "protected": False}
OPENFLOW = "openflow"
"""No column: the port's OpenFlow configuration, which is cleared behind the transaction."""
INTERFACES = "interfaces"
"""The column of Port: an interface of another name makes a bond of it."""
_SYSTEM = "system"
"""Another word for the empty type."""


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


def _not_empty(row: Any, columns: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, empty in columns.items():
        if empty == {}:
            value: Any = ", ".join(f"{key}={text}" for key, text in sorted(pairs(row, column).items()))
        else:
            value = first(row, column)
        if value not in (None, "", False) and not (column == "type" and value == _SYSTEM):
            found[column] = value
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
            setattr(port, column, _PORT[column])
        elif column in _INTERFACE:
            for interface in port.interfaces:
                setattr(interface, column, _INTERFACE[column])


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
