"""Port operations as ovsdbapp commands: each reads the rows again inside its transaction.

``vifplug.resources.ownership`` determines a port's owner. The values it depends on are verified in the transaction, so
that it starts over if a row changes meanwhile.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ovsdbapp.backend.ovs_idl import command as ovsdbapp_command

from vifplug import naming
from vifplug.errors import BridgeMissing, Conflict, OvsdbError, VifplugError
from vifplug.privileged import arguments
from vifplug.privileged import ownership as link_ownership
from vifplug.privileged.links import configure
from vifplug.privileged.ovsdb import columns
from vifplug.privileged.ovsdb.values import is_open
from vifplug.resources import ownership
from vifplug.resources.ovs_port import PATCH, PEER
from vifplug.resources.ownership import SeenPort

LOG = logging.getLogger(__name__)

_OFPORT_MAX = 65279
"""OpenFlow's largest port that is not reserved (OFPP_MAX 0xff00), less one."""

Operation = Mapping[str, Any]


def _values(row: Any, column: str) -> list[Any]:
    """A set as the current transaction leaves it.

    A row that the transaction inserts has only the columns that it sets (ovs.db.idl.Row.__getattr__): vswitchd sets an
    Interface's ofport later.
    """
    values: list[Any] = getattr(row, column, [])
    return values


class TransactionState:
    """State that the commands of one transaction share; a transaction may be tried again."""

    def __init__(self, idl: Any) -> None:
        self._idl = idl
        self._txn: Any = None
        self._free: dict[Any, Iterator[int]] = {}
        self.moved: dict[Any, Any] = {}
        """The bridges of ports that an earlier command of the transaction moves, by the port's UUID."""
        self.made: dict[str, Any] = {}
        """The bridges that an earlier command of the transaction makes, by name."""

    def begin(self, txn: Any) -> None:
        """Clear the state of an earlier try of the transaction."""
        if self._txn is not txn:
            self._txn = txn
            self._free.clear()
            self.moved.clear()
            self.made.clear()

    def bridge(self, name: str) -> Any:
        """The bridge of a name, or None."""
        return self.made.get(name) or self._idl.index.row("Bridge", name)

    def join(self, bridge: Any, port: Any) -> None:
        """Put a port on a bridge."""
        if bridge.name in self.made:
            # A column of a row that the transaction inserts is set, not changed.
            bridge.ports = [*bridge.ports, port]
        else:
            bridge.addvalue("ports", port)

    def is_bridge_of(self, bridge: Any, owner: str) -> bool:
        """Whether vifplug made, or makes, a bridge for an owner; verified in the transaction."""
        if bridge.name in self.made:
            return naming.is_bridge_of(bridge.name, owner)
        bridge.verify("external_ids")
        seen = self._idl.index.seen_bridge(bridge)
        if not seen.mark and seen.local_mark:
            bridge.verify("ports")
            self._idl.index.row("Port", seen.name).verify("external_ids")
        return ownership.bridge_is_ours(seen, owner)

    def holder(self, port: Any) -> Any:
        """The bridge that a port is on.

        :raises OvsdbError: it is on none.
        """
        bridge = self.moved.get(port.uuid) or self._idl.index.bridge_of(port)
        if bridge is None:
            raise OvsdbError(f"OVS port {port.name!r} is on no bridge", port.name)
        return bridge

    def free_ofport(self, bridge: Any) -> int | None:
        """An OpenFlow port number that no port of a bridge has or requests, and that was not assigned before."""
        if bridge.uuid not in self._free:
            rows = [interface for port in bridge.ports for interface in _values(port, "interfaces")]
            taken = {number for row in rows for number in (*_values(row, "ofport"), *_values(row, "ofport_request"))}
            self._free[bridge.uuid] = (number for number in range(1, _OFPORT_MAX) if number not in taken)
        return next(self._free[bridge.uuid], None)

    def qos_of(self, owner: str) -> list[Any]:
        """An owner's QoS rows."""
        rows: list[Any] = self._idl.index.of_owner("QoS", owner)
        return rows


class Command(ovsdbapp_command.BaseCommand):  # type: ignore[misc]
    """One operation of a transaction."""

    subject = ""

    def __init__(self, api: Any, operation: Operation, state: TransactionState) -> None:
        super().__init__(api)
        self.operation, self.state = operation, state
        self.owner = arguments.owner(operation["owner"])

    def run_idl(self, txn: Any) -> None:
        """Called by ovsdbapp, in the IDL's thread.

        :raises OvsdbError: for errors of python-ovs or ovsdbapp, with the name of this operation's object.
        """
        self.state.begin(txn)
        try:
            self.carry_out(txn)
        except VifplugError:
            raise
        except Exception as error:
            LOG.exception("%s of %s failed", self.operation["op"], self.subject)
            reason = f"{type(error).__name__}: {error}"
            raise OvsdbError(
                f"could not {self.operation['op']} {self.subject!r} in OVSDB: {reason}", self.subject
            ) from error

    def carry_out(self, txn: Any) -> None:
        """Change rows inside the transaction."""
        raise NotImplementedError


def missing_bridge(index: Any, name: str) -> BridgeMissing:
    """The error for a missing bridge, or for a name that is not a bridge to Open vSwitch."""
    fake = index.fake_bridges().get(name)
    if fake is not None:
        return BridgeMissing(naming.fake_bridge(name, *fake), name)
    return BridgeMissing(f"no OVS bridge {name!r}; create it first: vifplug never creates one", name)


class _PortCommand(Command):
    """The base of all operations on one port."""

    def require_patch_of_ours(self, port: Any, bridge: Any) -> None:
        """Refuse a patch that would join bridges of other programs.

        :raises PermissionDenied: it is not an end of the patch between a VIF's own bridge and another one.
        """
        for interface in port.interfaces:
            if getattr(interface, "type", "") == PATCH:
                peer = interface.options.get(PEER, "")
                is_own = bridge.name == naming.port_bridge(self.owner) and self.state.is_bridge_of(bridge, self.owner)
                if not ownership.patch_is_right(self.name, peer, self.owner, is_on_own_bridge=is_own):
                    raise arguments.refuse(f"on bridge {bridge.name!r} the patch port {self.name!r} to", peer)

    def __init__(self, api: Any, operation: Operation, state: TransactionState) -> None:
        super().__init__(api, operation, state)
        self.name = self.subject = arguments.row_name(operation["name"])

    def bridge(self, name: str) -> Any:
        """The bridge of that name.

        :raises BridgeMissing: there is none.
        """
        row = self.state.bridge(arguments.name(name))
        if row is None:
            raise missing_bridge(self.api.idl.index, name)
        return row

    def owned_port(self) -> Any:
        """The port, or None.

        :raises Conflict: it is not its owner's; it was left alone.
        """
        port = self.api.idl.index.row("Port", self.name)
        if port is None:
            return None
        port.verify("external_ids")
        seen = self._seen(port)
        if ownership.port_is_ours(seen, self.owner) or self._may_mark(seen):
            return port
        if ownership.port_is_ours(
            seen._replace(on_our_link=link_ownership.is_on_own_link(self.name, self.owner)), self.owner
        ):
            return port
        ids = ", ".join(sorted(seen.iface_ids)) or "none"
        raise Conflict(
            f"refused to touch OVS port {self.name!r}: nothing on it shows that it belongs to {self.owner} (mark "
            f"{seen.mark or 'none'}, iface-id {ids}); it was left alone. If it does: ovs-vsctl set Port {self.name} "
            f"external_ids:{naming.OWNER_KEY}={self.owner}",
            self.name,
        )

    def _seen(self, port: Any) -> SeenPort:
        """The row as this transaction leaves it: an earlier operation may have marked it."""
        ids = (getattr(interface, "external_ids", {}).get("iface-id", "") for interface in port.interfaces)
        seen = SeenPort(
            name=self.name,
            mark=port.external_ids.get(naming.OWNER_KEY, ""),
            iface_ids=frozenset(filter(None, ids)),
            known=self.api.idl.index.was_ours(port, self.owner),
        )
        if not seen.mark and not seen.known and (self.owner in seen.iface_ids or not seen.iface_ids):
            # The mark of its QoS row stays after its own is removed.
            has_qos = any(ownership.qos_is_ours(qos.external_ids, self.owner) for qos in _values(port, "qos"))
            seen = seen._replace(known=has_qos and self.name in ownership.port_names(self.owner))
        return seen

    def _may_mark(self, seen: SeenPort) -> bool:
        """Whether this operation may mark an unmarked row."""
        return False


class _Add(_PortCommand):
    """Create a port with everything it needs, including isolation and QoS, in one transaction."""

    def carry_out(self, txn: Any) -> None:
        operation, settings = self.operation, self.operation.get("settings") or {}
        is_patch = settings.get("type") == PATCH
        if not is_patch:
            arguments.name(self.name)
        bridge = self.bridge(operation["bridge"])
        there = self.api.idl.index.row("Port", self.name)
        if there is not None and str(there.uuid) == operation.get("uuid"):
            return  # it was to be restored, but was never deleted
        if there is not None:
            raise Conflict(f"could not add OVS port {self.name!r}: the name is taken", self.name)
        iface_ids = self._checked_identity(arguments.external_ids(operation["iface_ids"]), has_device=not is_patch)
        interface = txn.insert(self.api.idl.tables["Interface"])
        interface.name = self.name
        interface.external_ids = iface_ids
        port = txn.insert(self.api.idl.tables["Port"])
        port.name = self.name
        port.external_ids = {**arguments.external_ids(operation["external_ids"]), naming.OWNER_KEY: self.owner}
        port.interfaces = [interface]
        columns.give(port, [interface], settings)
        self.require_patch_of_ours(port, bridge)
        self._dress(port)
        qos = self._known_qos(operation.get("qos"))
        if qos is not None:
            port.qos = qos
        elif operation.get("qos_type"):
            port.qos = self._qos(txn, arguments.qos_type(operation["qos_type"]))
        self.state.join(bridge, port)

    def _checked_identity(self, iface_ids: Mapping[str, str], *, has_device: bool) -> Mapping[str, str]:
        """Check that the keys of the new interface, and its device, are the owner's.

        :raises PermissionDenied: the iface-id is another VIF's.
        :raises Conflict: the device is foreign, or a port that is not ours has the iface-id.
        """
        arguments.own_identity(iface_ids, self.owner)
        index = self.api.idl.index
        guest_address = self.operation.get("guest_address") or iface_ids.get("attached-mac", "")
        # A device that is not there yet is the rule's matter, as for every port.
        if self.operation.get("function") and link_ownership.read(self.name) is not None:
            configure.listed_representor(self.operation["function"], self.name)
        elif has_device:
            link_ownership.refuse_foreign_device(
                self.name,
                self.owner,
                arguments.address(guest_address) if guest_address else "",
                lambda address: index.is_address_of_another(address, self.owner),
            )
        in_trunk = naming.is_trunk_bridge(self.operation["bridge"])
        patches = naming.trunk_patches(self.owner) if in_trunk else ()
        for port in index.ports_of(index.interfaces(self.owner)):
            if port.name in patches:
                continue  # Neutron's agent gives the parent port's identity to its patch
            if not (
                ownership.port_is_ours(index.seen(port, self.owner), self.owner)
                or link_ownership.is_on_own_link(port.name, self.owner)
            ):
                raise Conflict(
                    f"refused to add OVS port {self.name!r}: port {port.name!r}, which is not vifplug's, carries "
                    f"iface-id {self.owner}; it was left alone",
                    port.name,
                )
        return iface_ids

    def _qos(self, txn: Any, kind: str) -> Any:
        """A new QoS row; or the one that the owner has left from a port that another program deleted."""
        for row in self.state.qos_of(self.owner):
            if row.type == kind and ownership.qos_is_ours(row.external_ids, self.owner):
                row.verify("external_ids")
                return row
        row = txn.insert(self.api.idl.tables["QoS"])
        row.type = kind
        row.external_ids = {naming.OWNER_KEY: self.owner}
        return row

    def _known_qos(self, number: str | None) -> Any:
        """A QoS row to restore: the owner's, or one that a control plane had put on the owner's port.

        :raises Conflict: for any other.
        """
        key = uuid.UUID(arguments.owner(number)) if number else None
        row = self.api.idl.tables["QoS"].rows.get(key) if key else None
        if row is None:
            return None
        if self.api.idl.index.had_qos(self.owner, key) or ownership.qos_is_ours(row.external_ids, self.owner):
            return row
        raise Conflict(f"refused QoS row {number} for OVS port {self.name!r}: it was never on it", self.name)

    def _dress(self, port: Any) -> None:
        operation = self.operation
        columns.set_vlans(port, operation)
        if operation.get("other_config"):
            port.other_config = arguments.external_ids(operation["other_config"])


class _Set(_PortCommand):
    """Set keys of a port's or its interface's external_ids; None removes a key. Other keys stay."""

    def carry_out(self, txn: Any) -> None:
        marks = self.operation.get("external_ids") or {}
        if dict(marks) not in ({}, {naming.OWNER_KEY: self.owner}, {naming.OWNER_KEY: None}):
            raise arguments.refuse("the port's keys", marks)
        iface_ids = arguments.identity(self.operation.get("iface_ids") or {}, self.owner)
        port = self.owned_port()
        if port is None:
            raise OvsdbError(f"could not change OVS port {self.name!r}: no such port", self.name)
        # Do not overwrite those that a control plane has set meanwhile.
        if self.operation.get("vlans") and not columns.has_vlans(port):
            columns.set_vlans(port, self.operation["vlans"])
        if self.operation.get("own_vlans"):
            columns.replace_vlans(port, self.operation["own_vlans"])
        columns.empty(txn, self.api, port, self.operation.get("columns", ()))
        given = self.operation.get("settings") or {}
        columns.give(port, port.interfaces, given)
        if given:
            self.require_patch_of_ours(port, self.state.holder(port))
        _set_keys(port, marks)
        for interface in port.interfaces:
            _set_keys(interface, iface_ids)

    def _may_mark(self, seen: SeenPort) -> bool:
        marks = self.operation.get("external_ids") or {}
        return bool(marks.get(naming.OWNER_KEY)) and ownership.port_is_adoptable(seen, self.owner)


def _set_keys(row: Any, keys: Mapping[str, str | None]) -> None:
    for key, value in keys.items():
        if value is None:
            row.delkey("external_ids", key)
        else:
            row.setkey("external_ids", key, value)


class _Move(_PortCommand):
    """Move a port to another bridge with its row: what the control plane wrote on it moves along."""

    def carry_out(self, txn: Any) -> None:
        port = self.owned_port()
        if port is None:
            raise OvsdbError(f"could not move OVS port {self.name!r}: no such port", self.name)
        source = self.state.holder(port)
        target = self.bridge(self.operation["bridge"])
        if source != target:
            self.require_patch_of_ours(port, target)
            source.delvalue("ports", port)
            self.state.join(target, port)
            self.state.moved[port.uuid] = target


class _Reattach(_PortCommand):
    """Make vswitchd open the device again: a changed ofport_request causes that, and keeps the row.

    Closing a device takes 10 ms and more, and interrupts the guest: after a boot vswitchd has opened most of them by
    itself.
    """

    def carry_out(self, txn: Any) -> None:
        port = self.owned_port()
        if port is None:
            raise OvsdbError(f"could not re-attach OVS port {self.name!r}: no such port", self.name)
        if self.operation.get("if_closed") and all(is_open(interface) for interface in port.interfaces):
            return
        free = self.state.free_ofport(self.state.holder(port))
        if free is None:
            raise OvsdbError(f"could not re-attach OVS port {self.name!r}: no free OpenFlow port", self.name)
        for interface in port.interfaces:
            interface.ofport_request = free


class _Delete(_PortCommand):
    """Delete a port with its interfaces; absent counts as deleted. One ``as_added`` has our mark, and its QoS is
    deleted too."""

    def carry_out(self, txn: Any) -> None:
        port = self.owned_port()
        as_added = bool(self.operation.get("as_added"))
        if port is None or (as_added and self.owner != port.external_ids.get(naming.OWNER_KEY)):
            return
        # The server deletes a row without references; until then the row would keep its QoS.
        self.state.holder(port).delvalue("ports", port)
        for qos in port.qos:
            if as_added and ownership.qos_is_ours(qos.external_ids, self.owner):
                qos.delete()
        port.qos = []


class _DeleteQos(Command):
    """Delete every QoS row of an owner, unless another owner's port uses it."""

    def __init__(self, api: Any, operation: Operation, state: TransactionState) -> None:
        super().__init__(api, operation, state)
        self.subject = f"QoS of {self.owner}"

    def carry_out(self, txn: Any) -> None:
        own = self.state.qos_of(self.owner)
        ports = self.api.idl.tables["Port"].rows.values() if own else ()
        used = {qos.uuid for port in ports for qos in _values(port, "qos")}
        for row in own:
            if row.uuid not in used and ownership.qos_is_ours(row.external_ids, self.owner):
                row.verify("external_ids")
                row.delete()


OPERATIONS: Mapping[str, type[Command]] = {
    "add": _Add,
    "set": _Set,
    "move": _Move,
    "reattach": _Reattach,
    "delete": _Delete,
    "delete-qos": _DeleteQos,
}
