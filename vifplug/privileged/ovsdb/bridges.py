"""OVS bridges: their rows, and operations on those that vifplug makes, a trunk's and a VIF's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vifplug import naming
from vifplug.errors import Conflict, OvsdbError
from vifplug.privileged import arguments
from vifplug.privileged.ovsdb.commands import Command, TransactionState, missing_bridge
from vifplug.privileged.ovsdb.index import RowIndex
from vifplug.privileged.ovsdb.values import first, pairs, referred
from vifplug.resources import ovs_bridge, ovs_port
from vifplug.resources.ovs_bridge import DATAPATH
from vifplug.resources.ovs_port import PATCH

_OVN, _AGENT = "ovn", "neutron-agent"
_OVN_BRIDGE = "br-int"
"""ovn-controller(8): the integration bridge, unless external_ids:ovn-bridge names another one."""
_EMPTY = {column.name: column.empty for column in ovs_bridge.COLUMNS if column.name in ovs_bridge.SETTINGS}


def described(tables: Any, index: RowIndex | None = None) -> dict[str, dict[str, Any]]:
    """Each bridge's datapath_type and control_plane, by name; from columns that cost the same for any number of ports.

    :param index: of these tables, for more columns of bridges that vifplug may have made.
    """
    by_ovn = {ovn_bridge for row in tables["Open_vSwitch"].rows.values() if (ovn_bridge := ovn_marks(row))}
    bridges: dict[str, dict[str, Any]] = {}
    for row in tables["Bridge"].rows.values():
        name = first(row, "name")
        if name:
            plane = _OVN if name in by_ovn else _AGENT if is_agents(row) else ""
            bridges[name] = {DATAPATH: first(row, DATAPATH), "control_plane": plane}
            if index is not None and naming.may_be_made(name):
                bridges[name] |= _of_made(row, tables, index)
    return bridges


def _of_made(row: Any, tables: Any, index: RowIndex) -> dict[str, Any]:
    seen = index.seen_bridge(row)
    columns = {name: ovs_port.shown(name, first(row, name)) for name in ovs_bridge.SETTINGS}
    return {
        "owner": seen.mark,
        "born_to": seen.local_mark,
        "members": sorted(_members(row, tables)),
        "settings": {name: value for name, value in columns.items() if value is not None},
    }


def _members(row: Any, tables: Any) -> Iterator[str]:
    """Ports except the local one and patch ports, which Neutron's agent makes and deletes on a trunk's bridge."""
    for port in referred(row, "ports", tables, "Port"):
        interfaces = referred(port, "interfaces", tables, "Interface")
        name = first(port, "name")
        if name != first(row, "name") and not all(first(interface, "type") == PATCH for interface in interfaces):
            yield name


def ovn_marks(row: Any) -> str:
    """The bridge that OVN wires, from an Open_vSwitch row's external_ids; "" without OVN. Other keys are not read."""
    ids = pairs(row, "external_ids")
    return ids.get("ovn-bridge", _OVN_BRIDGE) if ids.get("ovn-remote") else ""


def is_agents(bridge: Any, before: Mapping[str, Any] | None = None) -> bool:
    """Whether Neutron's OVS agent controls the bridge: it is the OpenFlow controller, and the bridge forwards nothing
    without it.

    :param before: values of columns to use instead of the bridge's own.
    """
    columns = {name: (before or {}).get(name, bridge._data[name]) for name in ("fail_mode", "controller")}
    modes = {atom.value for atom in columns["fail_mode"].values}
    return "secure" in modes and bool(columns["controller"].values)


class _BridgeCommand(Command):
    """The base of all operations on one bridge: its name must be one that vifplug makes for the owner."""

    def __init__(self, api: Any, operation: Mapping[str, Any], state: TransactionState) -> None:
        super().__init__(api, operation, state)
        self.name = self.subject = arguments.name(operation["name"])
        if not naming.is_bridge_of(self.name, self.owner):
            raise arguments.refuse(f"for {self.owner} the OVS bridge", self.name)

    def owned_bridge(self) -> Any:
        """The bridge, or None.

        :raises Conflict: it is not its owner's; it was left alone.
        """
        row = self.api.idl.index.row("Bridge", self.name)
        if row is None or self.state.is_bridge_of(row, self.owner):
            return row
        raise Conflict(
            f"refused to touch OVS bridge {self.name!r}: nothing on it shows that vifplug made it for {self.owner}; it "
            f"was left alone. If it did: ovs-vsctl br-set-external-id {self.name} {naming.OWNER_KEY} {self.owner}",
            self.name,
        )

    def datapath(self) -> str:
        """The datapath_type of the bridge that it is to resemble.

        :raises BridgeMissing: that bridge does not exist.
        """
        like = arguments.name(self.operation["like"])
        row = self.api.idl.index.row("Bridge", like)
        if row is None:
            raise missing_bridge(self.api.idl.index, like)
        row.verify(DATAPATH)
        return str(row.datapath_type)


class _AddBridge(_BridgeCommand):
    """Create a bridge with its local port, both with our mark; nothing to do if it exists."""

    def carry_out(self, txn: Any) -> None:
        index, tables = self.api.idl.index, self.api.idl.tables
        if self.owned_bridge() is not None or self.name in self.state.made:
            return
        if index.row("Port", self.name) is not None or index.row("Interface", self.name) is not None:
            raise Conflict(f"could not add OVS bridge {self.name!r}: a port has the name", self.name)
        mark = {naming.OWNER_KEY: self.owner}
        interface = txn.insert(tables["Interface"])
        interface.name, interface.type = self.name, "internal"
        port = txn.insert(tables["Port"])
        port.name, port.external_ids, port.interfaces = self.name, mark, [interface]
        bridge = txn.insert(tables["Bridge"])
        bridge.name, bridge.datapath_type, bridge.external_ids = self.name, self.datapath(), mark
        bridge.ports = [port]
        for root in tables["Open_vSwitch"].rows.values():
            root.addvalue("bridges", bridge)
        self.state.made[self.name] = bridge


class _SetBridge(_BridgeCommand):
    """Reset a bridge of ours to what its creation leaves."""

    def carry_out(self, txn: Any) -> None:
        bridge = self.owned_bridge()
        if bridge is None:
            raise OvsdbError(f"could not change OVS bridge {self.name!r}: no such bridge", self.name)
        bridge.setkey("external_ids", naming.OWNER_KEY, self.owner)
        bridge.datapath_type = self.datapath()
        for column in self.operation["columns"]:
            if column not in _EMPTY:
                raise arguments.refuse("the OVSDB column", column)
            setattr(bridge, column, _EMPTY[column])


class _DeleteBridge(_BridgeCommand):
    """Delete a bridge of ours that has only patch ports; absent counts as deleted."""

    def carry_out(self, txn: Any) -> None:
        bridge = self.owned_bridge()
        if bridge is None:
            return
        bridge.verify("ports")
        others = [port.name for port in bridge.ports if port.name != self.name and not _is_patch(port)]
        if others:
            raise Conflict(
                f"OVS bridge {self.name!r} of {self.owner} was left: port {', '.join(map(repr, sorted(others)))} is on "
                "it",
                self.name,
            )
        for root in self.api.idl.tables["Open_vSwitch"].rows.values():
            root.delvalue("bridges", bridge)


def _is_patch(port: Any) -> bool:
    return all(interface.type == PATCH for interface in port.interfaces)


OPERATIONS: Mapping[str, type[Command]] = {
    "add-bridge": _AddBridge,
    "set-bridge": _SetBridge,
    "delete-bridge": _DeleteBridge,
}
