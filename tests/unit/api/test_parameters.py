"""Wrong arguments of the library: InputError from every method, alike on both hosts, and nothing is touched."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import vifplug
from tests.support import builders
from tests.support.daemon.daemon_calls import ADMIN, Daemon, served
from vifplug.daemon.http.protocol import Access, Members
from vifplug.errors import InputError

ID = builders.TAP
VIF = builders.vif("ovs")
HALF = vifplug.Vif.model_construct(id=ID)
WRONG_INSIDE = VIF.model_copy(update={"address": None})
NO_LISTS: dict[str, Any] = {
    "None": None,
    "int": 5,
    "float": 0.5,
    "str": ID,
    "bytes": b"x",
    "dict": {"id": ID},
    "object": object(),
    "function": len,
}
NO_VIFS: dict[str, Any] = {
    **NO_LISTS,
    "Vif": VIF,
    "list of dict": [{"id": ID, "vif_type": "ovs", "address": VIF.address}],
    "list of str": [ID],
    "list of None": [None],
    "list of list": [[VIF]],
    "VIF and dict": [VIF, {}],
    "generator of dict": lambda: ({} for _ in range(1)),
    "half a VIF": [HALF],
    "wrong inside": [WRONG_INSIDE],
    "wrong network": [VIF.model_copy(update={"network": {"mtu": "big"}})],
    "twice": [VIF, VIF],
}
NO_IDS: dict[str, Any] = {**NO_LISTS, "Vif": VIF, "ints": [5], "VIFs": [VIF], "names": ["tap1"], "None in it": [None]}
NO_ID: dict[str, Any] = {**NO_LISTS, "str": "tap1", "list": [ID], "Vif": VIF, "padded": f" {ID}", "path": f"{ID}/x"}
NO_TIME: dict[str, Any] = {
    "None": None,
    "str": "5",
    "negative": -1,
    "nan": float("nan"),
    "inf": float("inf"),
    "huge": 10**400,
    "bool": True,
    "list": [5],
}
NO_NUMBER: dict[str, Any] = {"str": "5", "negative": -1, "float": 0.5, "bool": True, "huge": 2**63, "list": [5]}
NO_FLAG: dict[str, Any] = {"None": None, "str": "yes", "int": 1, "list": []}
NO_STATE: dict[str, Any] = {"None": None, "failed": "failed", "list": ["wired"], "int": 1, "dict": {}}
NO_WORD: dict[str, Any] = {"None": None, "int": 5, "list": ["qemu"], "bytes": b"qemu", "other": "xen/../x"}
Call = Callable[[Any, Any], Any]


def _entered(context: Any) -> None:
    with context:
        pass


def _exited_early(host: Any, ids: Any) -> None:
    with host.expect([ID], "plugged", 0) as expectation:
        expectation.exit_early(ids)


CALLS: dict[str, tuple[Call, dict[str, Any]]] = {
    "plug": (lambda host, given: host.plug(given), NO_VIFS),
    "plan": (lambda host, given: host.plan(given), NO_VIFS),
    "unplug": (lambda host, given: host.unplug(given), NO_IDS),
    "check": (lambda host, given: host.check(given), {key: each for key, each in NO_IDS.items() if key != "None"}),
    "repair": (lambda host, given: host.repair(given), {key: each for key, each in NO_IDS.items() if key != "None"}),
    "wait": (lambda host, given: host.wait(given, "plugged", 0), NO_IDS),
    "look": (lambda host, given: host.look(given, "plugged"), NO_IDS),
    "expect": (lambda host, given: _entered(host.expect(given, "plugged", 0)), NO_IDS),
    "exit_early": (_exited_early, {key: each for key, each in NO_IDS.items() if key != "str"}),
    "get": (lambda host, given: host.get(given), NO_ID),
    "path": (lambda host, given: host.path(given), NO_ID),
    "progress": (lambda host, given: host.progress(given), NO_ID),
    "guest": (lambda host, given: host.guest(given, "qemu"), NO_ID),
    "guest's format": (lambda host, given: host.guest(ID, given), NO_WORD),
    "guest's model": (lambda host, given: host.guest(ID, "qemu", model=given), NO_WORD),
    "guest's queues": (lambda host, given: host.guest(ID, "qemu", queues=given), NO_NUMBER),
    "gc": (lambda host, given: host.gc(given), NO_FLAG),
    "events since": (lambda host, given: host.events(since=given), NO_NUMBER),
    "events follow": (lambda host, given: host.events(follow=given), NO_FLAG),
    "wait's state": (lambda host, given: host.wait([ID], given, 0), NO_STATE),
    "wait's time": (lambda host, given: host.wait([ID], "plugged", given), NO_TIME),
    "look's state": (lambda host, given: host.look([ID], given), NO_STATE),
    "expect's state": (lambda host, given: _entered(host.expect([ID], given, 0)), NO_STATE),
    "expect's time": (lambda host, given: _entered(host.expect([ID], "plugged", given)), NO_TIME),
    "expect's callback": (
        lambda host, given: _entered(host.expect([ID], "plugged", 0, given)),
        {"str": "x", "int": 5, "list": []},
    ),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, str]]:
    everybody = Access(admins=Members(uids=frozenset({ADMIN, os.getuid()})), operators=Members(), readers=Members())
    directory = tmp_path_factory.mktemp("daemon")
    daemon = Daemon(directory, access=everybody)
    with served(daemon.app, directory / "s"):
        yield daemon, str(directory / "s")


@pytest.fixture(params=["local", "connect"])
def host(request: pytest.FixtureRequest, daemon: tuple[Daemon, str]) -> Iterator[Any]:
    each, path = daemon
    if request.param == "local":
        yield each.host
    else:
        with vifplug.connect(path) as host:
            yield host


@pytest.mark.parametrize("call", CALLS)
def test_wrong_argument_is_an_input_error_and_touches_nothing(daemon: tuple[Daemon, str], host: Any, call: str) -> None:
    act, given = CALLS[call]
    fake = daemon[0].fake
    # Another test of this module, which plugs on the same daemon, may have run before.
    applied = len(fake.applied)
    for name, value in given.items():
        with pytest.raises(InputError) as caught:
            act(host, value() if name == "generator of dict" else value)
        said = str(caught.value)
        assert said and said.isprintable() and len(said) < 400, (name, said)
    assert not (fake.links or fake.ports or fake.applied[applied:])
    assert host.list() == []


def test_both_hosts_take_what_is_no_list_but_may_be_one(host: Any) -> None:
    assert [vif.id for vif in host.plug(vif for vif in (VIF,))] == [ID]
    assert [vif.id for vif in host.check({ID.upper(): 1}.keys()).vifs] == [ID]
    assert [vif.id for vif in host.repair((ID, ID.upper()))] == [ID]
    assert [vif.state for vif in host.unplug(iter([ID.upper(), ID]))] == ["unplugged"]
    assert host.plug([]) == host.unplug([]) == host.repair([]) == []
    assert host.list() == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"id": "x"}, "id: 'x': it must be a UUID such as 71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b (and 2 more)"),
        ({}, "id: it is missing, and a VIF needs it (and 2 more)"),
        (
            {"id": ID, "vif_type": "ovs", "address": VIF.address, "color": 1},
            "unknown key 'color'; valid keys: id, vif_type",
        ),
        ({"id": ID, "vif_type": "ovs", "address": VIF.address, "network": 5}, "network: 5: it must be an object"),
        (
            {"id": ID, "vif_type": "ovs", "address": VIF.address, "network": {"bridge": "br%d"}},
            "network.bridge: 'br%d': it must be a device name",
        ),
    ],
)
def test_vif_that_is_none_is_an_input_error(given: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        vifplug.Vif(**given)
    assert str(caught.value).startswith(message)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_parts_of_a_vif_are_refused_alike() -> None:
    for make in (lambda: vifplug.Instance(uuid="x"), lambda: vifplug.Network(mtu="big")):
        with pytest.raises(InputError):
            make()
    assert vifplug.Vif.model_validate(VIF.model_dump()) == VIF


WRONG_FORMATS: tuple[Any, ...] = (None, 5, ["vif"], {}, "xml", b"vif")
DOCUMENTS: dict[str, Any] = {
    **{key: each for key, each in NO_VIFS.items() if not key.startswith(("list of dict", "VIF and", "generator"))},
    "set": {ID},
    "path": pathlib.Path("/etc/passwd"),
    "file": open,
    "no JSON": "{",
    "no UTF-8": b"\xff",
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_no_document_is_an_input_error(document: str) -> None:
    for load in (vifplug.load, vifplug.load_all):
        with pytest.raises(InputError):
            load(DOCUMENTS[document])


@pytest.mark.parametrize(
    "said",
    [
        *({"format": wrong} for wrong in WRONG_FORMATS),
        *({"instance": instance} for instance in (5, "x", ["x"], {"uuid": "x"}, {5: 6}, {"name": 5}, {"colour": "x"})),
        *({"mtu": mtu} for mtu in ("1500", 0, -1, 10**9, True, 1500.5, [1500])),
    ],
)
def test_wrong_word_beside_a_document_is_an_input_error(said: dict[str, Any]) -> None:
    document = VIF.model_dump(exclude_none=True)
    for load in (vifplug.load, vifplug.load_all):
        with pytest.raises(InputError):
            load(document, **said)


@pytest.mark.parametrize("given", [5, b"/x", ["/x"], "a\0b", object()])
def test_what_is_no_path_is_an_input_error(given: Any) -> None:
    for enter in (vifplug.local, vifplug.connect):
        with pytest.raises(InputError), enter(given):
            pass
    with pytest.raises(InputError), vifplug.connect(config_file=given):
        pass


@pytest.mark.parametrize("given", NO_TIME)
def test_what_is_no_time_to_repeat_is_an_input_error(given: str) -> None:
    with pytest.raises(InputError), vifplug.connect("/nowhere", retry=NO_TIME[given]):
        pass
