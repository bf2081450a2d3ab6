"""The OVSDB verbs: read ports, change ports in one transaction, wait for vswitchd."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import Conflict, OvsdbError, PermissionDenied
from vifplug.privileged import arguments
from vifplug.privileged.helper.context import net
from vifplug.privileged.ovsdb import bridges, columns, openflow
from vifplug.privileged.ovsdb import commands as port_commands
from vifplug.privileged.ovsdb.session import Commit, Session
from vifplug.privileged.ovsdb.values import first, is_open, pairs, referred, value_of
from vifplug.resources import ownership
from vifplug.resources.ovs_bridge import DATAPATH_USERSPACE
from vifplug.resources.ovs_port import OPENFLOW
from vifplug.resources.ownership import SeenPort

LOG = logging.getLogger(__name__)

WAIT_SECONDS_MAX = 300
FOLLOW_SECONDS_MAX = 5
_CONNECTION_SECONDS = 0.5
"""A healthy server answers within some hundredths of a second."""

_sessions: list[Session] = []


def fix_address(remotes: Sequence[str], timeout: float) -> None:
    """Choose the OVSDB of this process, once; it connects when it is first needed."""
    if _sessions:
        raise PermissionDenied("refused to change the OVSDB address of a running helper")
    _sessions.append(Session(remotes, timeout))


def session() -> Session:
    """The session of this process."""
    return _sessions[0]


@net.entrypoint
def read(
    names: Sequence[str],
    iface_ids: Sequence[str],
    owners: Sequence[str],
    everything: bool,
    fresh: bool,
    thorough: bool = False,
) -> dict[str, Any]:
    """Bridges, and the ports of these names, with these iface-ids or of these owners; or every port of ours.

    :param fresh: with all changes before this call. Else with those known, which include those of a ``wait`` of the
        same caller.
    :param thorough: with the OpenFlow configuration of ports, if their bridge answers in time.
    :raises OvsUnavailable: OVSDB does not answer in time.
    """
    session = _sessions[0]
    with _Flags(session) as flags:
        if thorough:
            flags.ask_about(names)
        if fresh:
            session.refresh()
        rows = _read(session, names, iface_ids, owners, everything)
        if thorough:
            flags.add_to(rows["ports"])
    return rows


class _Flags:
    """The OpenFlow configuration of ports, which their bridges are asked for while OVSDB is.

    vswitchd's answer takes as long as that of OVSDB.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: dict[str, openflow.Question | None] = {}

    def __enter__(self) -> _Flags:
        return self

    def __exit__(self, *_about: object) -> None:
        for question in filter(None, self._asked.values()):
            question.close()

    def ask_about(self, names: Sequence[str]) -> None:
        """Ask the bridges that ports of these names are on, according to the present replica."""
        if not self._session.has_replica():
            return
        with self._session.lock:
            index = self._session.index
            ports = [row for name in names if (row := index.row("Port", name)) is not None]
            bridges = {first(bridge, "name") for port in ports if (bridge := index.bridge_of(port)) is not None}
        for bridge in bridges:
            self._ask(bridge)

    def add_to(self, ports: Sequence[dict[str, Any]]) -> None:
        """Add the flags to the settings of ports, if their bridge answers in time."""
        flagged = {bridge: self._of(bridge) for bridge in {port["bridge"] for port in ports}}
        for port in ports:
            words = flagged[port["bridge"]].get(port["name"])
            port["settings"] |= {OPENFLOW: words} if words else {}

    def _ask(self, bridge: str) -> openflow.Question | None:
        if bridge not in self._asked:
            self._asked[bridge] = None
            path = openflow.socket_path(self._session.remotes, bridge)
            try:
                self._asked[bridge] = openflow.Question(path) if path else None
            except OSError as error:
                LOG.debug("the OpenFlow configuration of %s was not read: %s", bridge, error)
        return self._asked[bridge]

    def _of(self, bridge: str) -> dict[str, str]:
        question = self._ask(bridge)
        try:
            return question.flags() if question is not None else {}
        except OSError as error:
            LOG.debug("the OpenFlow configuration of %s was not read: %s", bridge, error)
            return {}


def _clear_flags(session: Session, operations: Sequence[Mapping[str, Any]]) -> None:
    """Operations that are not part of the transaction, which has checked each port's owner.

    :raises OvsdbError: vswitchd does not carry them out.
    """
    for operation in operations:
        if operation["op"] != "set" or OPENFLOW not in operation.get("columns", ()):
            continue
        with session.lock:
            port = session.index.row("Port", operation["name"])
            bridge = session.index.bridge_of(port) if port is not None else None
            path = openflow.socket_path(session.remotes, first(bridge, "name")) if bridge is not None else None
        if path is not None:
            openflow.clear(path, operation["name"])


def _read(
    session: Session, names: Sequence[str], iface_ids: Sequence[str], owners: Sequence[str], everything: bool
) -> dict[str, Any]:
    with session.lock:
        index = session.index
        carriers = {iface_id: interfaces for iface_id in iface_ids if (interfaces := index.interfaces(iface_id))}
        ports = [row for name in names if (row := index.row("Port", name)) is not None]
        ports += [row for owner in owners for row in index.of_owner("Port", owner)]
        ports += index.ports_of(interface for interfaces in carriers.values() for interface in interfaces)
        ports += index.owned("Port") if everything else []
        each = {port.uuid: port for port in ports}.values()
        placed = [(port, bridge) for port in each if (bridge := index.bridge_of(port)) is not None]
        # The local port of a bridge is part of it.
        placed = [(port, bridge) for port, bridge in placed if first(port, "name") != first(bridge, "name")]
        marked = index.owned("QoS") if everything else [row for owner in owners for row in index.of_owner("QoS", owner)]
        return {
            "bridges": bridges.described(session.tables, index),
            "fake_bridges": index.fake_bridges(),
            "ports": [_port(port, first(bridge, "name"), session.tables) for port, bridge in placed],
            "port_count": len(session.tables["Port"].rows),
            "held": {name: first(port, "name") for name in names for port in index.other_ports_with(name)},
            "iface_ids": {
                iface_id: [first(interface, "name") for interface in interfaces]
                for iface_id, interfaces in carriers.items()
            },
            "qos": [
                {
                    "uuid": str(row.uuid),
                    "type": first(row, "type"),
                    "owner": (owner := value_of(row, "external_ids", naming.OWNER_KEY)),
                    "is_copied": not ownership.qos_is_ours(pairs(row, "external_ids"), owner or ""),
                }
                for row in marked
            ],
        }


def _port(port: Any, bridge: str, tables: Any) -> dict[str, Any]:
    interfaces = referred(port, "interfaces", tables, "Interface")
    name = first(port, "name")
    # The interface of the port's own name; a bond has others besides.
    interface = next((row for row in interfaces if first(row, "name") == name), next(iter(interfaces), None))
    fields, qos = columns.fields(port, interface), first(port, "qos")
    return {
        "name": name,
        "bridge": bridge,
        "uuid": str(port.uuid),
        **fields,
        "owner": fields["external_ids"].get(naming.OWNER_KEY, ""),
        "qos": str(qos) if qos else None,
        "settings": columns.settings(port, interfaces),
        "polices": columns.polices(interface, tables),
    }


def ports_about(name: str, owner: str) -> list[SeenPort]:
    """The port of a name, those with an owner's mark and those with its iface-id; none without an OVSDB.

    :raises OvsUnavailable: OVSDB does not answer in time.
    """
    session = _sessions[0]
    if not session.is_there:
        return []
    session.refresh()
    with session.lock:
        index = session.index
        named = index.row("Port", name)
        rows = [*([named] if named is not None else []), *index.of_owner("Port", owner)]
        rows += index.ports_of(index.interfaces(owner))
        return [index.seen(row, owner) for row in {row.uuid: row for row in rows}.values()]


def has_port(name: str) -> bool:
    """Whether Open vSwitch has a port of a name.

    :raises OvsUnavailable: as ``ports_about``.
    """
    return any(port.name == name for port in ports_about(name, ""))


def is_lost(name: str, owner: str) -> bool:
    """Whether there is no port of a name, or one of the owner's whose device ovs-vswitchd could not open.

    :raises OvsUnavailable: as ``ports_about``.
    """
    if not has_port(name):
        return True
    session = _sessions[0]
    with session.lock:
        port = session.index.row("Port", name)
        if port is None or not ownership.port_is_ours(session.index.seen(port, owner), owner):
            return port is None
        return not any(map(is_open, referred(port, "interfaces", session.tables, "Interface")))


def refuse_foreign_port(name: str, owner: str) -> bool:
    """Refuse to make a device that vswitchd would open as the device of another program's port, or of another VIF's.

    A port may wait for its device: a link of that name would join that port's network. For names of the naming rule the
    present replica is used; if OVSDB does not answer and there is no replica, they may be made, so that devices on
    Linux bridges do not wait for an Open vSwitch that hangs.

    :returns: whether a port of the owner's waits for it, on a bridge whose vswitchd sets flags of its devices itself.
    :raises Conflict: naming the port.
    :raises OvsUnavailable: a request chose the name, and there is an OVSDB that does not answer in time.
    """
    session, by_rule = _sessions[0], naming.is_derived(name, owner)
    if by_rule and not session.has_replica_soon(_CONNECTION_SECONDS):
        return False
    if not by_rule and session.is_there:
        session.refresh()
    port = _port_with(session, name, owner)
    if port is None or ownership.port_is_ours(port, owner) or ownership.port_is_adoptable(port, owner):
        return port is not None and _is_userspace(session, name)
    ids = ", ".join(sorted(port.iface_ids)) or "none"
    raise Conflict(
        f"refused to make device {name!r} for {owner}: OVS port {port.name!r} (mark {port.mark or 'none'}, iface-id "
        f"{ids}) waits for a device of that name; choose another name, or delete that port if it is not needed",
        name,
    )


def _is_userspace(session: Session, name: str) -> bool:
    with session.lock:
        port = session.index.row("Port", name)
        bridge = session.index.bridge_of(port) if port is not None else None
        return bridge is not None and first(bridge, "datapath_type") == DATAPATH_USERSPACE


def is_foreign_port(name: str, owner: str) -> bool:
    """Whether the present replica has a port of that name that shows no sign of the owner.

    :raises OvsUnavailable: there is an OVSDB, no replica, and no answer in time.
    """
    port = _port_with(_sessions[0], name, owner)
    return port is not None and not ownership.port_is_ours(port, owner)


def is_address_of_another(address: str, owner: str) -> bool:
    """Whether the present replica has an interface of another VIF with that MAC as its guest's.

    :raises OvsUnavailable: as ``is_foreign_port``.
    """
    session = _sessions[0]
    if not session.has_replica():
        return False
    with session.lock:
        return session.index.is_address_of_another(address, owner)


def _port_with(session: Session, name: str, owner: str) -> SeenPort | None:
    """The port with an interface of a name, according to the replica; None if there is none.

    :raises OvsUnavailable: there is an OVSDB, no replica, and no answer in time.
    """
    if not session.has_replica():
        return None
    index = session.index
    # Without the lock, which a transaction may hold while OVSDB does not answer: two look-ups in dictionaries.
    if index.row("Port", name) is None and index.row("Interface", name) is None:
        return None
    with session.lock:
        named = index.row("Port", name)
        ports = [*([named] if named is not None else []), *index.other_ports_with(name)]
        return index.seen(ports[0], owner) if ports else None


OPERATIONS: Mapping[str, type[port_commands.Command]] = {**port_commands.OPERATIONS, **bridges.OPERATIONS}
_MAKING = ("add", "add-bridge")


def commands(api: Any, operations: Sequence[Mapping[str, Any]]) -> list[port_commands.Command]:
    """The ovsdbapp commands for the operations of one transaction.

    :raises PermissionDenied: an operation does not exist, or an argument is out of bounds.
    """
    state = port_commands.TransactionState(api.idl)
    made = []
    for operation in operations:
        try:
            made.append(OPERATIONS[operation["op"]](api, operation, state))
        except (LookupError, TypeError) as error:  # an operation that does not exist, or that lacks a key
            raise arguments.refuse("the OVSDB operation", operation) from error
    return made


def are_new(operations: Sequence[Mapping[str, Any]], devices: Container[str]) -> bool:
    """Whether all operations add ports of these devices."""
    return all(operation["op"] == "add" and operation["name"] in devices for operation in operations)


def change(operations: Sequence[Mapping[str, Any]]) -> int:
    """Carry out port operations in ONE transaction: all or none.

    Rows are as its caller has just read them, or newer. If OVSDB refuses a transaction based on them, they are read
    again, so that the obstacle can be named.

    :returns: the next_cfg that ``wait`` takes.
    :raises OvsdbError, BridgeMissing, Conflict, PermissionDenied, OvsUnavailable: nothing was changed.
    :raises TimedOut: vswitchd is behind, and a port is to be added; nothing was changed.
    """
    with changing(operations) as commit:
        pass
    return commit.next_cfg


@contextlib.contextmanager
def changing(operations: Sequence[Mapping[str, Any]]) -> Iterator[Commit]:
    """As ``change``; the body runs once the transaction is sent, and while OVSDB works on it.

    :returns: as a context, the answer, which is there after the body. If the body raises, the change remains, or not.
    """
    session, is_sent, has_failed = _sessions[0], False, False
    if any(operation["op"] in _MAKING and not operation.get("uuid") for operation in operations):
        # vswitchd treats a port that was deleted and added again since its last look as the same one, on the deleted
        # device: it reports a number and no error, and forwards no frame.
        session.wait_for_all()
    try:
        with session.committing(commands(session.api, operations)) as commit:
            is_sent = has_failed = True
            yield commit
            has_failed = False
    except OvsdbError:
        if has_failed:
            raise
        session.refresh()
        if is_sent:
            commit.next_cfg = session.commit(commands(session.api, operations))
        else:
            with session.committing(commands(session.api, operations)) as commit:
                yield commit
    _clear_flags(session, operations)


@net.entrypoint
def wait(next_cfg: int, seconds: float, opening: Sequence[str]) -> None:
    """Return once vswitchd has carried out a transaction of ours.

    :param opening: ports whose devices it must have opened by then, or have failed to open.
    :raises TimedOut: it has not within ``seconds``.
    """
    arguments.number("next_cfg", next_cfg, 0, 2**63)
    session, patience = _sessions[0], arguments.seconds(seconds, WAIT_SECONDS_MAX)
    names, until = [arguments.row_name(name) for name in opening], time.monotonic() + patience
    session.wait(next_cfg, patience)
    if names:
        session.wait_until_open(names, max(until - time.monotonic(), 0))


@net.entrypoint
def changes(generation: int, number: int, connected: bool, seconds: float) -> dict[str, Any]:
    """Changes of OVSDB since a number of a generation; waits for at most 5 s for any.

    :param connected: the state that the caller last received.
    :returns: see ``changes.Changes.since``.
    """
    session = _sessions[0]
    patience = arguments.seconds(seconds, FOLLOW_SECONDS_MAX)
    if not connected:
        session.attempt(patience)
    return session.changes.since(generation, number, connected, patience)
