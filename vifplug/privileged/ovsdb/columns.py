"""Columns of a port's rows, by the table of ``resources.ovs_port``: read, set and emptied.

Those that vifplug sets at creation are empty in every port that requests no value, and no control plane writes them.
The control plane owns tag, trunks, vlan_mode, qos, other_config, ingress_policing_* and foreign external_ids
(ovs-vswitchd.conf.db(5); Neutron's agents and its QoS driver write them): they are never among these. The first three
are vifplug's on a port of a VIF with a VLAN of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import Conflict, ResourceMissing
from vifplug.netlink import sysfs
from vifplug.privileged import arguments
from vifplug.privileged.links import configure
from vifplug.privileged.ovsdb.values import all_of, first, pairs
from vifplug.resources import ovs_port
from vifplug.resources.ovs_port import (
    DPDK,
    INTERFACE,
    INTERFACES,
    LISTENS,
    OF_VLANS,
    OPENFLOW,
    PORT,
    Column,
    Read,
    Writer,
)

_INTERFACE = {column.name: column for column in ovs_port.columns_of(INTERFACE, Writer.VIFPLUG)}
_PORT = {column.name: column for column in ovs_port.columns_of(PORT, Writer.VIFPLUG)}
_HOW: Mapping[Read, Callable[[Any, str], Any]] = {Read.MAP: pairs, Read.SET: all_of, Read.SINGLE: first}
_EMPTY: Mapping[Read, Callable[[], Any]] = {Read.MAP: dict, Read.SET: list, Read.SINGLE: lambda: None}


def _reader(column: Column) -> tuple[str, bool, Callable[[Any, str], Any], str, Callable[[], Any]]:
    empty = str if column.read is Read.SINGLE and column.type == "string" else _EMPTY[column.read]
    return column.field, column.row == PORT, _HOW[column.read], column.name, empty


_READERS = tuple(_reader(column) for column in ovs_port.COLUMNS if column.field)
"""Of each field: its name, whether the Port row has it, how it is read, its column, and what a missing row has."""
_socket_directory: list[str] = []
"""The directory of sockets that a port's columns may name: fixed at the helper's start, never taken from a call."""


def fix_socket_directory(directory: str) -> None:
    """Let columns name sockets below this directory. Called once, before the first request."""
    _socket_directory[:] = [directory] if directory else []


def fields(port: Any, interface: Any) -> dict[str, Any]:
    """The fields of ``OvsPort`` that represent a column each.

    :param interface: None for a port without one.
    """
    values = {}
    for field, is_of_port, read, name, empty in _READERS:
        row = port if is_of_port else interface
        values[field] = read(row, name) if row is not None else empty()
    return values


def set_vlans(port: Any, given: Mapping[str, Any]) -> None:
    """The VLANs that a recreated port had before.

    :raises PermissionDenied: a value is out of bounds.
    """
    if given.get("tag") is not None:
        port.tag = arguments.number("the tag", given["tag"], 0, ovs_port.DEAD_VLAN)
    if given.get("vlan_mode") is not None:
        port.vlan_mode = arguments.vlan_mode(given["vlan_mode"])
    if given.get("trunks"):
        port.trunks = [arguments.number("the trunk", vlan, 0, ovs_port.DEAD_VLAN) for vlan in given["trunks"]]


def replace_vlans(port: Any, given: Mapping[str, Any]) -> None:
    """The VLANs of a port whose VLAN vifplug owns, in place of whatever it has.

    :raises PermissionDenied: a value is out of bounds.
    """
    for column in OF_VLANS:
        setattr(port, column, [])
    set_vlans(port, given)


def has_vlans(port: Any) -> bool:
    """Whether a control plane has set VLANs on a port, verified in the transaction: they take precedence over a
    record."""
    for column in OF_VLANS:
        port.verify(column)
    return any(getattr(port, column) for column in OF_VLANS)


def give(port: Any, interfaces: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Set columns of a port of ours to the requested values.

    :raises PermissionDenied: the column is not vifplug's, or its table does not allow the value.
    :raises ResourceMissing: a socket's directory does not exist.
    :raises Conflict: another interface has the socket.
    """
    for name, value in given.items():
        column = _PORT.get(name) or _INTERFACE.get(name)
        if column is None or column.allows is None or not column.allows(value):
            raise arguments.refuse(f"for the OVSDB column {name!r:.40} the value", value)
        if name == "type" and value == LISTENS:
            _check_listening(interfaces)
        for key in set(column.sockets).intersection(value if column.sockets else ()):
            _check_socket(value[key])
            _refuse_foreign_socket(column, key, value[key], interfaces)
        for key in set(column.functions).intersection(value if column.functions else ()):
            _check_function(value[key])
            _refuse_foreign_function(column, key, value[key], interfaces)
        for row in (port,) if column.row == PORT else interfaces:
            setattr(row, name, value)
    if given.get("type") == DPDK:
        _check_represents(interfaces)


def _check_represents(interfaces: Sequence[Any]) -> None:
    """Check that a port of DPDK's is the representor of a virtual function that the configuration lists: without such
    arguments it would be another one's, once they are set.

    :raises PermissionDenied: for any other.
    """
    column = _INTERFACE["options"]
    for row in interfaces:
        options = _of_transaction(row, column)
        if set(options) != set(column.functions):
            raise arguments.refuse(f"for a port of type {DPDK!r} the options", dict(options))
        for key in column.functions:
            _check_function(options[key])


def _check_listening(interfaces: Sequence[Any]) -> None:
    """Check that the socket of a port on which Open vSwitch listens is no other file of its run directory.

    :raises PermissionDenied: for another name.
    """
    for row in interfaces:
        if not naming.may_listen(row.name):
            raise arguments.refuse(f"for a port of type {LISTENS!r} the name", row.name)


def _check_socket(path: str) -> None:
    """Check that a socket is a guest's: vswitchd runs as root and would open any.

    :raises PermissionDenied: the path is not below the fixed directory, or is or contains a symbolic link to another
        place.
    :raises ResourceMissing: its directory does not exist.
    """
    directory = next(iter(_socket_directory), "")
    if not directory or naming.socket_path_fault(path, directory):
        raise arguments.refuse("the path of a socket", path)
    parent = os.path.dirname(path)
    # Even if only its users may enter a directory, its existence is visible.
    if not os.path.isdir(parent):
        raise ResourceMissing(
            f"the directory {parent!r} of the vhost-user socket {path!r} is not there; create it, writable for the "
            "user of the guests' VMM, or set [ovs] vhostuser_socket_dir to the right one and restart",
            parent,
        )
    if os.path.islink(path):
        raise arguments.refuse("for a socket the symbolic link", path)
    if not f"{os.path.realpath(parent)}/".startswith(f"{os.path.realpath(directory)}/"):
        raise arguments.refuse(f"a socket outside of {directory!r}, where a symbolic link leads,", path)


def _check_function(devargs: str) -> None:
    """Check that the configuration lists the virtual function whose representor DPDK is asked for.

    :raises PermissionDenied: for any other, and for one that is not there: vswitchd would probe what it is given.
    """
    physical, number = ovs_port.function_of(devargs) or ("", 0)
    function = sysfs.address_of(physical, number)
    if not function:
        raise arguments.refuse("the representor of a virtual function that is not there,", devargs)
    configure.refuse_unlisted(function, physical)


def _refuse_foreign_function(column: Column, key: str, devargs: str, interfaces: Sequence[Any]) -> None:
    """Refuse a representor that another interface has: its guest would send as this one's.

    :raises Conflict: naming that interface.
    """
    for row in interfaces[0]._table.rows.values():
        if row not in interfaces and _of_transaction(row, column).get(key) == devargs:
            raise Conflict(
                f"the representor {devargs!r} is that of OVS interface {row.name!r}; give each VIF its own", row.name
            )


def _refuse_foreign_socket(column: Column, key: str, path: str, interfaces: Sequence[Any]) -> None:
    """Refuse a socket that another interface has: its guest would send as this one's.

    :raises Conflict: naming that interface.
    """
    for row in interfaces[0]._table.rows.values():
        if row not in interfaces and (
            _is_one_file(_of_transaction(row, column).get(key), path) or _listens_at(row, path)
        ):
            raise Conflict(
                f"the vhost-user socket {path!r} is that of OVS interface {row.name!r}; give each VIF its own", row.name
            )


def _is_one_file(path: str | None, other: str) -> bool:
    """Whether two paths name the same socket, also through a symbolic link to its directory."""
    if path is None or os.path.basename(path) != os.path.basename(other):
        return False
    return path == other or os.path.realpath(os.path.dirname(path)) == os.path.realpath(os.path.dirname(other))


def _listens_at(row: Any, path: str) -> bool:
    """Whether an interface's own socket may have this path. The directory of Open vSwitch's sockets depends on its
    configuration (other_config:vhost-sock-dir), so the name decides."""
    return bool(_single(row, "name") == os.path.basename(path) and _single(row, "type") == LISTENS)


def _single(row: Any, column: str) -> Any:
    """A column of one value, as ``_of_transaction``."""
    if row._data is None or column in (row._changes or {}):
        return getattr(row, column, None)
    return first(row, column)


def _of_transaction(row: Any, column: Column) -> Mapping[str, str]:
    """A map as the current transaction leaves it; if the transaction does not change it, as committed, which is cheaper
    to read (``values``)."""
    if row._data is None or column.name in (row._changes or {}):
        value: Mapping[str, str] = getattr(row, column.name, {})
        return value
    return pairs(row, column.name)


def settings(port: Any, interfaces: Sequence[Any]) -> dict[str, Any]:
    """Columns that are not empty, as plain values: what another program has set on a port of ours."""
    name = first(port, "name")
    values = _not_empty(port, _PORT)
    for interface in interfaces:
        if first(interface, "name") == name:
            values |= _not_empty(interface, _INTERFACE)
    names = [first(interface, "name") for interface in interfaces]
    if names != [name]:
        values[INTERFACES] = ", ".join(map(str, sorted(names))) or "none"
    return values


def polices(interface: Any, tables: Any) -> bool:
    """Whether ovs-vswitchd itself has an ingress queueing discipline on an interface's device."""
    if interface is not None and first(interface, "ingress_policing_rate"):
        return True
    rows = tables["Open_vSwitch"].rows.values()
    return any(pairs(row, "other_config").get("hw-offload") == "true" for row in rows)


def _not_empty(row: Any, columns: Mapping[str, Column]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    data = row._data
    for name, column in columns.items():
        if data.get(name) is None:  # ``is_default``, for a dozen columns of every port
            continue
        raw = pairs(row, name) if column.read is Read.MAP else first(row, name)
        value = ovs_port.shown(name, raw)
        if value is not None:
            values[name] = value
    return values


def empty(txn: Any, api: Any, port: Any, columns: Sequence[str]) -> None:
    """Reset columns of a port of ours to what its creation left; the caller chooses no value.

    :raises PermissionDenied: for another column; for VLANs of a port that a control plane knows.
    :raises Conflict: the interface of its name belongs to another port.
    """
    is_wired = any("iface-id" in interface.external_ids for interface in port.interfaces)
    vlans = () if is_wired else OF_VLANS
    for column in columns:
        if column not in (*_INTERFACE, *_PORT, *vlans, INTERFACES, OPENFLOW):
            raise arguments.refuse("the OVSDB column", column)
    if INTERFACES in columns:
        port.interfaces = [_own_interface(txn, api, port)]
    for column in columns:
        if column in _PORT or column in vlans:
            setattr(port, column, _PORT[column].empty if column in _PORT else [])
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
