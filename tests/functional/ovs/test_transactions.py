"""Port operations of different VIFs in ONE transaction: every pair of kinds, in both orders."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.world.world import World
from vifplug import errors
from vifplug.privileged.ovsdb import commands as ovsdb_rows
from vifplug.privileged.ovsdb.session import Session

_MARK = "vifplug-vif"
_QOS_TYPE = "linux-noop"
_KEPT_BRIDGE, _OTHER_BRIDGE = "br-int", "br-other"
Operation = dict[str, Any]


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    """A session as a helper has it, in this process."""
    world.add_bridge(_OTHER_BRIDGE)
    session = Session([f"unix:{world.socket}"], 10)
    yield session
    link = session.api.ovsdb_connection
    assert link.stop(10)


def _id(number: int) -> str:
    return f"{number:08x}-1a1b-4fd9-8f4a-7cab3f9a425b"


def _name(number: int) -> str:
    return ("qvo" + _id(number))[:14]


def _identity(number: int) -> Operation:
    return {"name": _name(number), "owner": _id(number), "uuid": ""}


def _make_port(world: World, number: int) -> None:
    """A port of ours with a QoS row of ours."""
    name, owner = _name(number), _id(number)
    world.vsctl(
        *("--no-wait", "add-port", _KEPT_BRIDGE, name, "--", "--id=@qos", "create", "QoS", f"type={_QOS_TYPE}"),
        *(f"external_ids:{_MARK}={owner}", "--", "set", "Port", name, f"external_ids:{_MARK}={owner}", "qos=@qos"),
        *("--", "set", "Interface", name, f"external_ids:iface-id={owner}"),
    )


def _bridge_of(world: World, number: int) -> str:
    return world.vsctl("port-to-br", _name(number))


def _qos_of(world: World, number: int) -> list[str]:
    return [row["_uuid"] for row in world.rows("QoS") if row["external_ids"].get(_MARK) == _id(number)]


class _Add:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        dress: Operation = {
            "bridge": _KEPT_BRIDGE,
            "tag": None,
            "vlan_mode": None,
            "trunks": [],
            "other_config": {},
            "qos": None,
        }
        ids = {"iface_ids": {"iface-id": _id(number)}, "external_ids": {}}
        # Every other one without a QoS row: such a row has no column of it at all until it is committed.
        return {"op": "add", **_identity(number), **dress, **ids, "qos_type": _QOS_TYPE if number % 2 else None}

    @staticmethod
    def holds(world: World, number: int) -> bool:
        return _bridge_of(world, number) == _KEPT_BRIDGE and len(_qos_of(world, number)) == number % 2


class _Set:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        _make_port(world, number)
        return {"op": "set", **_identity(number), "iface_ids": {"vm-uuid": "x"}, "external_ids": {}}

    @staticmethod
    def holds(world: World, number: int) -> bool:
        row = world.row("Interface", _name(number))
        return row is not None and row["external_ids"] == {"iface-id": _id(number), "vm-uuid": "x"}


class _Move:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        _make_port(world, number)
        return {"op": "move", **_identity(number), "bridge": _OTHER_BRIDGE}

    @staticmethod
    def holds(world: World, number: int) -> bool:
        return _bridge_of(world, number) == _OTHER_BRIDGE


class _Reattach:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        _make_port(world, number)
        return {"op": "reattach", **_identity(number)}

    @staticmethod
    def holds(world: World, number: int) -> bool:
        row = world.row("Interface", _name(number))
        return row is not None and bool(row["ofport_request"])


class _Delete:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        _make_port(world, number)
        return {"op": "delete", **_identity(number), "as_added": True}

    @staticmethod
    def holds(world: World, number: int) -> bool:
        return world.row("Port", _name(number)) is None and not _qos_of(world, number)


class _DeleteQos:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        world.vsctl("--no-wait", "create", "QoS", f"type={_QOS_TYPE}", f"external_ids:{_MARK}={_id(number)}")
        return {"op": "delete-qos", "owner": _id(number)}

    @staticmethod
    def holds(world: World, number: int) -> bool:
        return not _qos_of(world, number)


_KINDS: dict[str, Any] = {
    "add": _Add,
    "set": _Set,
    "move": _Move,
    "reattach": _Reattach,
    "delete": _Delete,
    "delete-qos": _DeleteQos,
}


def test_kinds_are_all_that_the_helper_knows() -> None:
    assert _KINDS.keys() == ovsdb_rows._COMMANDS.keys()


def test_every_pair_of_kinds_is_carried_out_in_one_transaction(world: World, session: Session) -> None:
    number = itertools.count(1)
    for first, second in itertools.product(_KINDS, repeat=2):
        pair = [(_KINDS[kind], next(number)) for kind in (first, second)]
        operations = [kind.prepare(world, each) for kind, each in pair]
        session.refresh()
        session.commit(ovsdb_rows.commands(session.api, operations))
        for kind, each in pair:
            assert kind.holds(world, each), f"{first} and {second}: {kind.__name__} of {_name(each)}"


def test_port_that_is_moved_and_reattached_gets_a_number_of_its_new_bridge(world: World, session: Session) -> None:
    _make_port(world, 1)
    world.vsctl("--no-wait", "add-port", _OTHER_BRIDGE, "first", "--", "set", "Interface", "first", "ofport_request=1")
    session.refresh()
    operations = [{"op": "move", **_identity(1), "bridge": _OTHER_BRIDGE}, {"op": "reattach", **_identity(1)}]
    session.commit(ovsdb_rows.commands(session.api, operations))
    row = world.row("Interface", _name(1))
    assert row is not None and row["ofport_request"] == 2


def test_row_that_a_failed_transaction_would_have_deleted_is_found_again(world: World, session: Session) -> None:
    _make_port(world, 1)
    session.refresh()
    delete = {"op": "delete", **_identity(1), "as_added": True}
    lost = {"op": "set", **_identity(2), "iface_ids": {}, "external_ids": {}}
    with pytest.raises(errors.OvsdbError):
        session.commit(ovsdb_rows.commands(session.api, [delete, {"op": "delete-qos", "owner": _id(1)}, lost]))
    assert len(_qos_of(world, 1)) == 1
    with session.lock:
        assert len(session.index.of_owner("QoS", _id(1))) == 1


def test_error_of_a_library_names_the_port(world: World, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_port(world, 1)
    session.refresh()

    def broken(*_arguments: object) -> None:
        raise AttributeError("Row instance has no attribute 'ofport'")

    monkeypatch.setattr(ovsdb_rows._Found, "free_ofport", broken)
    with pytest.raises(errors.OvsdbError) as caught:
        session.commit(ovsdb_rows.commands(session.api, [{"op": "reattach", **_identity(1)}]))
    assert caught.value.subject == _name(1)
    assert _name(1) in caught.value.message and "ofport" in caught.value.message


@pytest.mark.parametrize("operation", [{}, {"op": "add"}, {"op": ["add"]}, {"op": "move", "name": "x"}, {"op": None}])
def test_operation_that_lacks_a_key_is_refused(session: Session, operation: Operation) -> None:
    with pytest.raises(errors.PermissionDenied):
        ovsdb_rows.commands(session.api, [operation])
