"""Port operations of different VIFs in ONE transaction: every pair of kinds, in both orders."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.world.world import World
from vifplug import errors
from vifplug.privileged import ownership
from vifplug.privileged.ovsdb import commands as port_commands
from vifplug.privileged.ovsdb import verbs as ovsdb
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
    ownership.start()  # close the socket that was opened in this process


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
        ids: Operation = {"iface_ids": {"iface-id": _id(number)}, "external_ids": {}}
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


def _bridge_name(number: int) -> str:
    return ("pb" + _id(number))[:14]


def _bridge_operation(verb: str, number: int) -> Operation:
    return {"op": f"{verb}-bridge", "name": _bridge_name(number), "owner": _id(number), "like": _KEPT_BRIDGE}


def _make_bridge(world: World, number: int) -> None:
    """A bridge of ours."""
    name, mark = _bridge_name(number), f"external_ids:{_MARK}={_id(number)}"
    world.vsctl("--no-wait", "add-br", name, "--", "set", "Bridge", name, mark, "--", "set", "Port", name, mark)


class _AddBridge:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        return _bridge_operation("add", number)

    @staticmethod
    def holds(world: World, number: int) -> bool:
        row, like = world.row("Bridge", _bridge_name(number)), world.row("Bridge", _KEPT_BRIDGE)
        assert row is not None and like is not None
        return bool(row["external_ids"] == {_MARK: _id(number)} and row["datapath_type"] == like["datapath_type"])


class _SetBridge:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        _make_bridge(world, number)
        name = _bridge_name(number)
        world.vsctl("--no-wait", "set", "Bridge", name, "fail_mode=secure", "--", "br-set-external-id", name, _MARK)
        return {**_bridge_operation("set", number), "columns": ["fail_mode"]}

    @staticmethod
    def holds(world: World, number: int) -> bool:
        row = world.row("Bridge", _bridge_name(number))
        return row is not None and (row["external_ids"], row["fail_mode"]) == ({_MARK: _id(number)}, [])


class _DeleteBridge:
    @staticmethod
    def prepare(world: World, number: int) -> Operation:
        _make_bridge(world, number)
        return _bridge_operation("delete", number)

    @staticmethod
    def holds(world: World, number: int) -> bool:
        return world.row("Bridge", _bridge_name(number)) is None


_KINDS: dict[str, Any] = {
    "add": _Add,
    "set": _Set,
    "move": _Move,
    "reattach": _Reattach,
    "delete": _Delete,
    "delete-qos": _DeleteQos,
    "add-bridge": _AddBridge,
    "set-bridge": _SetBridge,
    "delete-bridge": _DeleteBridge,
}


def test_kinds_are_all_that_the_helper_knows() -> None:
    assert _KINDS.keys() == ovsdb.OPERATIONS.keys()


def test_every_pair_of_kinds_is_carried_out_in_one_transaction(world: World, session: Session) -> None:
    number = itertools.count(1)
    for first, second in itertools.product(_KINDS, repeat=2):
        pair = [(_KINDS[kind], next(number)) for kind in (first, second)]
        operations = [kind.prepare(world, each) for kind, each in pair]
        session.refresh()
        session.commit(ovsdb.commands(session.api, operations))
        for kind, each in pair:
            assert kind.holds(world, each), f"{first} and {second}: {kind.__name__} of {_name(each)}"


def test_port_that_is_moved_and_reattached_gets_a_number_of_its_new_bridge(world: World, session: Session) -> None:
    _make_port(world, 1)
    world.vsctl("--no-wait", "add-port", _OTHER_BRIDGE, "first", "--", "set", "Interface", "first", "ofport_request=1")
    session.refresh()
    operations = [{"op": "move", **_identity(1), "bridge": _OTHER_BRIDGE}, {"op": "reattach", **_identity(1)}]
    session.commit(ovsdb.commands(session.api, operations))
    row = world.row("Interface", _name(1))
    assert row is not None and row["ofport_request"] == 2


def test_row_that_a_failed_transaction_would_have_deleted_is_found_again(world: World, session: Session) -> None:
    _make_port(world, 1)
    session.refresh()
    delete = {"op": "delete", **_identity(1), "as_added": True}
    lost = {"op": "set", **_identity(2), "iface_ids": {}, "external_ids": {}}
    with pytest.raises(errors.OvsdbError):
        session.commit(ovsdb.commands(session.api, [delete, {"op": "delete-qos", "owner": _id(1)}, lost]))
    assert len(_qos_of(world, 1)) == 1
    with session.lock:
        assert len(session.index.of_owner("QoS", _id(1))) == 1


def test_error_of_a_library_names_the_port(world: World, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_port(world, 1)
    session.refresh()

    def broken(*_arguments: object) -> None:
        raise AttributeError("Row instance has no attribute 'ofport'")

    monkeypatch.setattr(port_commands.TransactionState, "free_ofport", broken)
    with pytest.raises(errors.OvsdbError) as caught:
        session.commit(ovsdb.commands(session.api, [{"op": "reattach", **_identity(1)}]))
    assert caught.value.subject == _name(1)
    assert _name(1) in caught.value.message and "ofport" in caught.value.message


@pytest.mark.parametrize("operation", [{}, {"op": "add"}, {"op": ["add"]}, {"op": "move", "name": "x"}, {"op": None}])
def test_operation_that_lacks_a_key_is_refused(session: Session, operation: Operation) -> None:
    with pytest.raises(errors.PermissionDenied):
        ovsdb.commands(session.api, [operation])


# -- bridges --------------------------------------------------------------------------------------------------


def _patch(number: int, end: str, bridge: str) -> Operation:
    """An end of the patch between a VIF's own bridge and another one."""
    near, far = f"pbp{_id(number)}", f"ibp{_id(number)}"
    name, peer = (near, far) if end == "near" else (far, near)
    ids: Operation = {"iface_ids": {}, "external_ids": {}, "qos": None, "qos_type": None}
    settings = {"settings": {"type": "patch", "options": {"peer": peer}}}
    return {"op": "add", "name": name, "owner": _id(number), "uuid": "", "bridge": bridge, **ids, **settings}


def _both_ends(number: int) -> list[Operation]:
    return [_patch(number, "near", _bridge_name(number)), _patch(number, "far", _KEPT_BRIDGE)]


def _rows(world: World) -> dict[str, Any]:
    """Of links vswitchd lets go a little later."""
    return {key: row for key, row in world.snapshot().items() if not key.startswith("link ")}


def test_bridge_and_all_that_is_on_it_come_in_one_transaction_and_go_in_one(world: World, session: Session) -> None:
    before = _rows(world)
    operations = [_bridge_operation("add", 1), *_both_ends(1), {**_Add.prepare(world, 3), "bridge": _bridge_name(1)}]
    session.commit(ovsdb.commands(session.api, operations))
    names = [operation["name"] for operation in operations[1:]]
    assert set(world.vsctl("list-ports", _bridge_name(1)).split()) == {names[0], names[2]}
    session.refresh()
    gone = [{"op": "delete", "name": _name(3), "owner": _id(3), "uuid": "", "as_added": True}]
    gone += [{"op": "delete", "name": name, "owner": _id(1), "uuid": ""} for name in names[:2]]
    session.commit(ovsdb.commands(session.api, [*gone, _bridge_operation("delete", 1)]))
    assert _rows(world) == before


def test_bridge_with_a_port_of_another_program_is_not_deleted_and_one_with_patches_is(
    world: World, session: Session
) -> None:
    _make_bridge(world, 1)
    world.vsctl("--no-wait", "add-port", _bridge_name(1), "tpt-1", "--", "set", "Interface", "tpt-1", "type=patch")
    world.vsctl("--no-wait", "add-port", _bridge_name(1), "theirs")
    session.refresh()
    with pytest.raises(errors.Conflict, match="'theirs' is on it"):
        session.commit(ovsdb.commands(session.api, [_bridge_operation("delete", 1)]))
    world.vsctl("--no-wait", "del-port", "theirs")
    session.refresh()
    session.commit(ovsdb.commands(session.api, [_bridge_operation("delete", 1)]))
    assert world.row("Bridge", _bridge_name(1)) is None


@pytest.mark.parametrize("verb", ["add", "set", "delete"])
def test_bridge_that_nothing_shows_to_be_ours_is_left(world: World, session: Session, verb: str) -> None:
    world.vsctl("--no-wait", "add-br", _bridge_name(1))
    before = world.snapshot()
    session.refresh()
    with pytest.raises(errors.Conflict, match="br-set-external-id"):
        session.commit(ovsdb.commands(session.api, [{**_bridge_operation(verb, 1), "columns": []}]))
    assert world.snapshot() == before


@pytest.mark.parametrize("verb", ["add", "set", "delete"])
@pytest.mark.parametrize("name", [_KEPT_BRIDGE, "pb00000009-1a1", "tbr-00000001-1", "pb"])
def test_bridge_of_another_name_is_refused_whatever_its_mark(
    world: World, session: Session, verb: str, name: str
) -> None:
    if world.row("Bridge", name) is None:
        world.vsctl("--no-wait", "add-br", name)
    world.vsctl("--no-wait", "br-set-external-id", name, _MARK, _id(1))
    before = world.snapshot()
    session.refresh()
    with pytest.raises(errors.PermissionDenied):
        session.commit(ovsdb.commands(session.api, [{**_bridge_operation(verb, 1), "name": name, "columns": []}]))
    assert world.snapshot() == before


def test_column_that_is_not_vifplugs_is_refused(world: World, session: Session) -> None:
    _make_bridge(world, 1)
    session.refresh()
    for column in ("controller", "ports", "name"):
        with pytest.raises(errors.PermissionDenied):
            operation = {**_bridge_operation("set", 1), "columns": [column]}
            session.commit(ovsdb.commands(session.api, [operation]))


def test_patch_between_bridges_of_others_is_refused(world: World, session: Session) -> None:
    """With such a pair a captured worker would join the integration bridge to an uplink's."""
    before = world.snapshot()
    stranger = {"type": "patch", "options": {"peer": "elsewhere"}}
    wrong = [
        [_patch(1, "near", _OTHER_BRIDGE)],
        [_bridge_operation("add", 1), _patch(1, "far", _bridge_name(1))],
        [{**_patch(1, "far", _KEPT_BRIDGE), "settings": stranger}],
        [{**_Add.prepare(world, 1), "settings": stranger}],
    ]
    for operations in wrong:
        with pytest.raises(errors.PermissionDenied):
            session.commit(ovsdb.commands(session.api, operations))
    assert world.snapshot() == before
    session.commit(ovsdb.commands(session.api, [_bridge_operation("add", 1), *_both_ends(1)]))
    session.refresh()
    near = {"name": f"pbp{_id(1)}", "owner": _id(1), "uuid": ""}
    for operation in (
        {"op": "move", **near, "bridge": _OTHER_BRIDGE},
        {"op": "set", **near, "settings": stranger},
    ):
        with pytest.raises(errors.PermissionDenied):
            session.commit(ovsdb.commands(session.api, [operation]))


def test_vlans_of_a_port_that_a_control_plane_knows_are_not_emptied(world: World, session: Session) -> None:
    session.commit(ovsdb.commands(session.api, [_bridge_operation("add", 1), *_both_ends(1)]))
    _make_port(world, 2)
    for name in (f"pbp{_id(1)}", _name(2)):
        world.vsctl("--no-wait", "set", "Port", name, "tag=7")
    session.refresh()
    empty = {"op": "set", "uuid": "", "columns": ["tag"]}
    session.commit(ovsdb.commands(session.api, [{**empty, "name": f"pbp{_id(1)}", "owner": _id(1)}]))
    with pytest.raises(errors.PermissionDenied):
        session.commit(ovsdb.commands(session.api, [{**empty, "name": _name(2), "owner": _id(2)}]))
    assert (world.vsctl("get", "Port", f"pbp{_id(1)}", "tag"), world.vsctl("get", "Port", _name(2), "tag")) == (
        "[]",
        "7",
    )
