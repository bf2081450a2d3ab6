"""A plug that fails, at every step and for every reason to be had, leaves the host as it was."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from unittest import mock

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import (
    CASES,
    NETWORK,
    cut,
    device,
    document,
    plan_length,
    raising,
    stored,
    vif,
)
from tests.support.world.world import Row, World
from vifplug import errors
from vifplug.linux.host import LinuxHost
from vifplug.model.vif import Vif
from vifplug.privileged import apply
from vifplug.privileged.links import batch
from vifplug.privileged.links import verbs as links
from vifplug.privileged.ovsdb import verbs as ovsdb
from vifplug.store.store import Store

INJECTED = "injected by a test"
E = TypeVar("E", bound=BaseException)


def assert_as_before(world: World, before: dict[str, Row], what: object = "") -> None:
    """Nothing on the host and nothing in the store."""
    assert world.snapshot() == before, f"{what}: the host is not as it was"
    assert stored(world) == {}, f"{what}: the store is not as it was"


def fail_to_plug(world: World, vifs: Sequence[Vif], error: type[E]) -> E:
    """The error of a plug that must fail with one."""
    with vifplug.local(str(world.config_file)) as host, pytest.raises(error) as caught:
        host.plug(vifs)
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_error_at_every_action_is_undone(world: World, case: str) -> None:
    before, vifs = world.snapshot(), CASES[case]
    for after in range(plan_length(world, vifs) + 1):
        error = errors.LinkError(INJECTED, "some link", f"step {after}")
        with cut(after, raising(error)):
            raised = fail_to_plug(world, vifs, errors.LinkError)
        assert (raised.message, raised.step, raised.subject) == (INJECTED, f"step {after}", "some link")
        assert_as_before(world, before, f"after {after} actions")
    with vifplug.local(str(world.config_file)) as host:
        assert {report.state for report in host.plug(vifs)} == {"plugged"}
    assert faults.vexed_ports(world) == []


def test_sixty_at_once_are_undone_and_plugged(world: World) -> None:
    before, vifs = world.snapshot(), [vif("ovs-hybrid", number + 1) for number in range(60)]
    with cut(plan_length(world, vifs), raising(errors.LinkError(INJECTED))):
        fail_to_plug(world, vifs, errors.LinkError)
    assert_as_before(world, before)
    with vifplug.local(str(world.config_file)) as host:
        host.plug(vifs)
        assert host.check().clean
    assert len(world.rows("Port")) == len(vifs) + 1
    assert faults.vexed_ports(world) == []


def test_interrupt_at_every_action_is_undone(world: World) -> None:
    before, vifs = world.snapshot(), CASES["batch"]
    for after in range(plan_length(world, vifs) + 1):
        with cut(after, raising(KeyboardInterrupt())):
            fail_to_plug(world, vifs, KeyboardInterrupt)
        assert_as_before(world, before, f"after {after} actions")


@pytest.mark.parametrize("interrupt", [False, True])
@pytest.mark.parametrize("owner, method", [(LinuxHost, "_settle"), (Store, "begin"), (Store, "save_records")])
def test_error_outside_of_actions_is_undone(world: World, owner: type, method: str, interrupt: bool) -> None:
    before = world.snapshot()
    error = KeyboardInterrupt() if interrupt else errors.StoreError(INJECTED)
    real, fallen = getattr(owner, method), list[bool]()

    def fail(*arguments: object, **named: object) -> object:
        if not fallen:
            fallen.append(True)
            raise error
        return real(*arguments, **named)

    with mock.patch.object(owner, method, fail):
        fail_to_plug(world, CASES["batch"], type(error))
    assert_as_before(world, before)


def test_interrupt_after_the_record_was_written_is_undone(world: World) -> None:
    before, real = world.snapshot(), Store.save_records

    def keep(store: Store, records: Any, **more: Any) -> None:
        real(store, records, **more)
        raise KeyboardInterrupt

    with mock.patch.object(Store, "save_records", keep):
        fail_to_plug(world, CASES["batch"], KeyboardInterrupt)
    with vifplug.local(str(world.config_file)) as host:
        report = host.check()
    # The record says what is there: whole, or nothing.
    assert report.clean
    assert_as_before(world, before)


@pytest.mark.parametrize("interrupt", [False, True])
def test_failed_replug_leaves_the_vif_as_it_was(world: World, interrupt: bool) -> None:
    world.add_bridge("br-two")
    old = vif("ovs-hybrid", network={"mtu": 1500})
    new = vif(
        "ovs-hybrid",
        address="fa:16:3e:99:99:99",
        network={"mtu": 1400, "bridge": "br-two"},
        instance={"uuid": NETWORK},
    )
    with vifplug.local(str(world.config_file)) as host:
        host.plug([old])
    before, store = world.snapshot(), stored(world)
    length = plan_length(world, [new])
    assert length >= 4
    for after in range(length + 1):
        error = KeyboardInterrupt() if interrupt else errors.LinkError(INJECTED)
        with cut(after, raising(error)):
            fail_to_plug(world, [new], type(error))
        assert world.snapshot() == before, f"after {after} actions"
        assert stored(world) == store
    assert world.vifplug_json("check")["clean"] is True


STRANGER = ("address", "02:00:00:00:00:99")


@pytest.mark.parametrize("kind", ["bridge", "veth"])
@pytest.mark.parametrize("prefix", ["qbr", "qvb", "qvo"])
def test_name_taken_in_between_is_a_conflict_and_the_stranger_stays(world: World, prefix: str, kind: str) -> None:
    name = device(prefix, vif("ovs-hybrid"))
    peer = ("peer", "foreign", "address", "02:00:00:00:00:98") if kind == "veth" else ()
    add = ("link", "add", name, *STRANGER, "type", kind, *peer)
    world.ip(*add)
    before = world.snapshot()
    world.ip("link", "delete", name)
    with faults.before("links", lambda: world.ip(*add)):
        raised = fail_to_plug(world, [vif("ovs-hybrid")], errors.Conflict)
    assert raised.subject in (name, device("qvb", vif("ovs-hybrid")))  # a veth is made as a pair
    assert_as_before(world, before)


def test_tap_name_taken_in_between_is_a_conflict_and_the_others_of_the_batch_go(world: World) -> None:
    name = device("tap", faults.batch()[1])

    def take() -> None:
        world.ip("tuntap", "add", name, "mode", "tap")
        world.ip("link", "set", name, *STRANGER)

    take()
    before = world.snapshot()
    world.ip("link", "delete", name)
    with faults.before("links", take):
        raised = fail_to_plug(world, faults.batch(), errors.Conflict)
    assert raised.subject == name
    assert_as_before(world, before)


def test_port_name_taken_in_between_is_a_conflict_and_the_stranger_stays(world: World) -> None:
    name = device("qvo", vif("ovs-hybrid"))
    add = ("--no-wait", "add-port", "br-int", name)
    world.vsctl(*add)
    before = world.snapshot()
    world.vsctl("--no-wait", "del-port", name)
    with faults.before("ports", lambda: world.vsctl(*add)):
        raised = fail_to_plug(world, [vif("ovs-hybrid")], errors.Conflict)
    assert raised.subject == name
    assert_as_before(world, before)


@pytest.mark.parametrize("case", ["few", faults.AMONG_MANY])
def test_failed_replug_under_other_names_leaves_the_live_port(world: World, case: str) -> None:
    old = vif("ovs-hybrid")
    new = vif("ovs-hybrid", names={"qvb": "qvbother", "qvo": "qvoother"})
    with vifplug.local(str(world.config_file)) as host:
        host.plug([old])
    add = ("link", "add", "qvbother", *STRANGER, "type", "bridge")
    world.ip(*add)
    before, store = world.snapshot(), stored(world)
    world.ip("link", "delete", "qvbother")
    with faults.before("links", lambda: world.ip(*add)):
        fail_to_plug(world, [new], errors.Conflict)
    assert world.snapshot() == before, "the port has another row, or the links are not as they were"
    assert stored(world) == store


def test_failed_batch_leaves_no_bridge_that_it_shared(world: World) -> None:
    name = device("qbr", vif("ovs-hybrid"))
    add = ("link", "add", name, *STRANGER, "type", "bridge")
    world.ip(*add)
    before = world.snapshot()
    world.ip("link", "delete", name)
    with faults.before("links", lambda: world.ip(*add)):
        fail_to_plug(world, faults.batch(), errors.Conflict)
    assert_as_before(world, before)


@pytest.mark.parametrize("kind", ["ovs-hybrid", "ovs", "batch"])
@pytest.mark.parametrize("plane", [apply.LINKS, apply.PORTS])
def test_error_inside_the_one_call_is_undone(world: World, plane: str, kind: str) -> None:
    """The helper, which is forked, does a stage and then reports that it failed."""
    before = world.snapshot()

    left = [errors.LinkError(INJECTED)]

    def runs(operations: Any) -> Iterator[Any]:
        yield from links.runs(operations)
        if left:
            raise left.pop()

    def change(operations: Any) -> int:
        number = ovsdb.change(operations)
        if left:
            raise left.pop()
        return number

    @contextlib.contextmanager
    def changing(operations: Any) -> Iterator[Any]:
        with ovsdb.changing(operations) as commit:
            yield commit
        if left:
            raise left.pop()

    if plane == apply.LINKS:
        name, failing = "links", mock.Mock(wraps=links, runs=runs)
    else:
        name, failing = "ovsdb", mock.Mock(wraps=ovsdb, change=change, changing=changing)
    with mock.patch.object(apply, name, failing):
        raised = fail_to_plug(world, CASES[kind], errors.LinkError)
    assert raised.step
    assert_as_before(world, before)


@pytest.mark.parametrize("count", [1, 3])
def test_link_error_while_ovsdb_works_on_the_ports_is_undone(world: World, count: int) -> None:
    """The links come up while the transaction of their ports is under way; it succeeds, and they do not."""
    before = world.snapshot()
    number = int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg"))
    left, whole = [errors.LinkError(INJECTED, device("qvo", vif("ovs-hybrid")), "1")], batch.Run.finish

    def finish(run: batch.Run, operations: Any) -> None:
        whole(run, operations)
        if left:
            raise left.pop()

    with mock.patch.object(batch.Run, "finish", finish):
        raised = fail_to_plug(world, [vif("ovs-hybrid", number) for number in range(count)], errors.LinkError)
    assert raised.subject == device("qvo", vif("ovs-hybrid"))
    assert int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg")) == number + 2, "ports added, and deleted again"
    assert_as_before(world, before)


def test_device_gone_before_ovs_opens_it_is_an_error_in_its_own_words(world: World) -> None:
    before = world.snapshot()
    name = device("qvo", vif("ovs-hybrid"))

    def vanish() -> None:
        world.ip("link", "delete", name)
        world.resume_vswitchd()

    number = int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg"))
    with faults.before("ports", world.pause_vswitchd), faults.before("settle", vanish):
        raised = fail_to_plug(world, [vif("ovs-hybrid")], errors.HostError)
    assert raised.subject == name
    assert raised.step
    assert "could not open network device" in raised.message
    # The port added, vswitchd told to look again, the port taken back.
    assert int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg")) == number + 3
    assert_as_before(world, before)


# -- the store's disk -----------------------------------------------------------------------------------------


def test_store_that_fills_up_at_any_moment(world: World) -> None:
    before = world.snapshot()

    def plug() -> None:
        with vifplug.local(str(world.config_file)) as host:
            host.plug(CASES["batch"])

    outcomes = []
    # Beyond what the database takes by itself there is the room that is kept for unplugs and repairs (reserve.py).
    for limit in (*range(0, 200_000, 8192), *range(200_000, 1_000_000, 100_000)):
        shutil.rmtree(world.state_dir, ignore_errors=True)
        outcomes.append(faults.in_child(limited(limit, plug)))
        if outcomes[-1] == 0:
            break
        assert world.snapshot() == before, f"with files of at most {limit} bytes"
        with vifplug.local(str(world.config_file)) as host:
            assert host.check().clean
        assert_as_before(world, before)
    assert outcomes[-1] == 0
    assert set(outcomes[:-1]) == {1}
    assert len(outcomes) > 5


def limited(limit: int, work: Callable[[], None]) -> Callable[[], None]:
    """The work, with no file growing beyond ``limit`` bytes."""

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        work()

    return run


@pytest.mark.parametrize("used_before", [False, True])
def test_store_that_cannot_be_written(world: World, used_before: bool) -> None:
    if used_before:
        with vifplug.local(str(world.config_file)) as host:
            assert host.check().clean
    world.state_dir.mkdir(exist_ok=True)
    before = world.snapshot()
    mount = f"mount --bind {world.state_dir} {world.state_dir} && mount -o remount,ro,bind {world.state_dir}"
    argv = " ".join(world.vifplug_argv("-o", "json", "plug", "-"))
    result = world.run(
        "unshare", "--mount", "sh", "-c", f"{mount} && exec {argv}", input=document([vif("ovs-hybrid")]), check=False
    )
    assert result.returncode == 1, result.stderr
    said = json.loads(result.stderr)["error"]
    assert said["type"] == "StoreError"
    assert "ead-only file system" in said["message"] or "readonly" in said["message"]
    assert_as_before(world, before)
