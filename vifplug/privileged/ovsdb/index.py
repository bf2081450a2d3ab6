"""Rows by several keys, so that finding a port among a thousand costs the same.

Updated as rows appear and change; a row is checked again before it is returned, so stale entries for changed or deleted
rows, or of an earlier connection, do no harm.
"""

from __future__ import annotations

import collections
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from ovs.db import data, idl, types

from vifplug import naming
from vifplug.privileged.ovsdb import values as ovsdb_values
from vifplug.resources import ownership
from vifplug.resources.ownership import SeenBridge, SeenPort

_IFACE_ID = "iface-id"
_LAST_MAX = 4096
"""The number of owners whose last port is remembered."""


class RowIndex:
    """Ports, interfaces and QoS rows of a replica.

    :param tables: the replica's.
    """

    def __init__(self, tables: Any) -> None:
        self._tables = tables
        self._names: dict[tuple[str, str], Any] = {}
        self._keys: dict[tuple[str, str], set[Any]] = collections.defaultdict(set)
        """UUIDs by table and the value of that table's key."""
        self._ports_of: dict[Any, set[Any]] = collections.defaultdict(set)
        """Interface -> the ports that have had it: OVSDB lets several have one."""
        self._fakes: set[Any] = set()
        """UUIDs of ports that are fake bridges."""
        self._seen_owned: dict[Any, tuple[str, frozenset[Any]]] = {}
        """Ports that were observed as an owner's, by UUID: that owner, and their QoS rows."""
        self._last_qos: OrderedDict[str, frozenset[Any]] = OrderedDict()
        """The QoS rows of an owner's last port when it was deleted: it may be restored with them."""

    def note(self, event: str, row: Any) -> None:
        """A row was added, changed or deleted."""
        table = row._table.name
        if table in ("Bridge", "Port", "Interface"):
            named = table, ovsdb_values.first(row, "name")
            if event != idl.ROW_DELETE:
                self._names[named] = row.uuid
            elif self._names.get(named) == row.uuid:
                del self._names[named]
        if table not in ("Port", "Interface", "QoS"):
            return
        key = self._key(table, row)
        if table == "Port":
            self._note_owned(event, row, key)
            is_fake = event != idl.ROW_DELETE and ovsdb_values.first(row, "fake_bridge")
            (self._fakes.add if is_fake else self._fakes.discard)(row.uuid)
        if event == idl.ROW_DELETE:
            self._ports_of.pop(row.uuid, None)
            if key is not None:
                self._forget(table, key, row.uuid)
            return
        if key is not None:
            self._keys[table, key].add(row.uuid)
        if table == "Port":
            for interface in ovsdb_values.all_of(row, "interfaces"):
                self._ports_of[interface].add(row.uuid)

    def _note_owned(self, event: str, row: Any, mark: str | None) -> None:
        """Remember which ports had a valid mark: it may be removed, and the row is still the same."""
        if event == idl.ROW_DELETE:
            owner, qos = self._seen_owned.pop(row.uuid, ("", frozenset()))
            if owner and qos:
                self._last_qos[owner] = qos
                self._last_qos.move_to_end(owner)
                while len(self._last_qos) > _LAST_MAX:
                    self._last_qos.popitem(last=False)
            return
        known = self._seen_owned.get(row.uuid)
        owner = known[0] if known else mark or ""
        if not owner or (known is None and not ownership.port_is_ours(self.seen(row, owner), owner)):
            return
        qos = frozenset(ovsdb_values.all_of(row, "qos"))
        self._seen_owned[row.uuid] = owner, qos

    def seen(self, port: Any, owner: str) -> SeenPort:
        """A row in the form that the rule takes, without the link of its name."""
        interfaces = ovsdb_values.referred(port, "interfaces", self._tables, "Interface")
        ids = (ovsdb_values.value_of(interface, "external_ids", _IFACE_ID) for interface in interfaces)
        return SeenPort(
            name=ovsdb_values.first(port, "name"),
            mark=ovsdb_values.value_of(port, "external_ids", naming.OWNER_KEY) or "",
            iface_ids=frozenset(filter(None, ids)),
            known=self.was_ours(port, owner),
        )

    def seen_bridge(self, bridge: Any) -> SeenBridge:
        """A bridge in the form that the rule takes. A port of its name on another bridge is not its local port."""
        name = ovsdb_values.first(bridge, "name")
        local = self.row("Port", name)
        if local is not None and local.uuid not in ovsdb_values.all_of(bridge, "ports"):
            local = None
        return SeenBridge(
            name=name,
            mark=ovsdb_values.value_of(bridge, "external_ids", naming.OWNER_KEY) or "",
            local_mark=(ovsdb_values.value_of(local, "external_ids", naming.OWNER_KEY) or "") if local else "",
        )

    def was_ours(self, port: Any, owner: str) -> bool:
        """Whether this very row was observed as an owner's before."""
        return self._seen_owned.get(port.uuid, ("",))[0] == owner

    def had_qos(self, owner: str, qos: Any) -> bool:
        """Whether a port of an owner has, or last had, this QoS row, including another program's."""
        now = (rows for row_owner, rows in self._seen_owned.values() if row_owner == owner)
        return qos in self._last_qos.get(owner, ()) or any(qos in rows for rows in now)

    def row(self, table: str, name: str) -> Any:
        """The row of a name, or None. Not one that the current transaction has inserted."""
        row = self._row(table, self._names.get((table, name)))
        return row if row is not None and ovsdb_values.first(row, "name") == name else None

    def of_owner(self, table: str, owner: str) -> list[Any]:
        """Ports, or QoS rows, with an owner's mark."""
        return self._rows_of(table, owner)

    def owned(self, table: str) -> list[Any]:
        """Ports, or QoS rows, with the mark of any owner."""
        owners = [key for kind, key in self._keys if kind == table]
        return [row for owner in owners for row in self._rows_of(table, owner)]

    def interfaces(self, iface_id: str) -> list[Any]:
        """Interfaces with an iface-id."""
        return self._rows_of("Interface", iface_id)

    def is_address_of_another(self, address: str, owner: str) -> bool:
        """Whether an interface with another iface-id than the owner's has a MAC as its guest's.

        Not indexed by MAC, because it is rarely needed: only for a guest's tap with another name.
        """
        rows = self._tables["Interface"].rows.values()
        carried = (getattr(row, "external_ids", {}) for row in rows)
        return any(ids.get("attached-mac") == address and ids.get(_IFACE_ID) != owner for ids in carried)

    def ports_of(self, interfaces: Iterable[Any]) -> list[Any]:
        """The ports that interfaces belong to."""
        return [port for interface in interfaces for port in self._holders(interface.uuid)]

    def other_ports_with(self, name: str) -> list[Any]:
        """Ports of another name that have the interface of this name: usually a bond."""
        interface = self.row("Interface", name)
        holders = [] if interface is None else self._holders(interface.uuid)
        return [port for port in holders if ovsdb_values.first(port, "name") != name]

    def _holders(self, interface: Any) -> list[Any]:
        uuids = self._ports_of.get(interface, ())
        ports = [port for uuid in list(uuids) if (port := self._row("Port", uuid)) is not None]
        return [port for port in ports if interface in ovsdb_values.all_of(port, "interfaces")]

    def bridge_of(self, port: Any) -> Any:
        """The bridge that a port is on, or None."""
        atom = data.Atom(types.UuidType, port.uuid)
        for bridge in self._tables["Bridge"].rows.values():
            # As the replica stores it: bridge.ports would be built again, row by row.
            if atom in bridge._data["ports"].values:
                return bridge
        return None

    def fake_bridges(self) -> dict[str, tuple[str, int]]:
        """Fake bridges (ovs-vsctl add-br NAME PARENT VLAN) by name: ports, each with its bridge and VLAN."""
        fakes: dict[str, tuple[str, int]] = {}
        for uuid in list(self._fakes):
            row = self._row("Port", uuid)
            parent = self.bridge_of(row) if row is not None else None
            if parent is not None:
                vlan = ovsdb_values.first(row, "tag") or 0
                fakes[ovsdb_values.first(row, "name")] = ovsdb_values.first(parent, "name"), vlan
        return fakes

    def _rows_of(self, table: str, key: str) -> list[Any]:
        rows = []
        for uuid in list(self._keys.get((table, key), ())):
            row = self._row(table, uuid)
            if row is not None and self._key(table, row) == key:
                rows.append(row)
            elif self._tables[table].idl.txn is None:
                # Inside a transaction a row that it deletes is away, and returns if the transaction fails.
                self._forget(table, key, uuid)
        return rows

    def _row(self, table: str, uuid: Any) -> Any:
        rows = self._tables[table].rows
        return rows[uuid] if uuid in rows.data else None  # a UserDict, whose get() takes three calls

    def _forget(self, table: str, key: str, uuid: Any) -> None:
        uuids = self._keys[table, key]
        uuids.discard(uuid)
        if not uuids:
            del self._keys[table, key]

    @staticmethod
    def _key(table: str, row: Any) -> str | None:
        return ovsdb_values.value_of(row, "external_ids", _IFACE_ID if table == "Interface" else naming.OWNER_KEY)
