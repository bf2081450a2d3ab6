"""``vifplug.testing.FakeHost``: the contract without root, and what happens on a host from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

import vifplug
from tests.support import builders
from tests.support.world.users import Peer
from vifplug import errors
from vifplug.testing import FakeHost

if TYPE_CHECKING:

    def fake_host_is_a_host(fake: FakeHost) -> vifplug.Host:
        """A checker sees that it has every method."""
        return fake


KINDS = ("ovs-hybrid", "ovs", "bridge")


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        yield host


@pytest.fixture(params=KINDS)
def vif(request: pytest.FixtureRequest) -> vifplug.Vif:
    found: vifplug.Vif = builders.vif(request.param, instance={"uuid": builders.INSTANCE})
    return found


def states(host: FakeHost) -> list[str]:
    return [event.state for event in host.events()]


def test_vif_lives_from_plug_to_unplug(host: FakeHost, vif: vifplug.Vif) -> None:
    (plugged,) = host.plug([vif])
    assert (plugged.state, plugged.id) == ("plugged", vif.id)
    assert [each.state for each in host.wait([vif.id], "wired", timeout=0)] == ["wired"]
    host.start_guest(vif.id)
    assert host.get(vif.id).state == "active" and host.check().clean
    host.stop_guest(vif.id)
    assert host.get(vif.id).state == "wired" and host.check().clean
    assert [each.state for each in host.unplug([vif.id])] == ["unplugged"]
    assert states(host) == ["plugged", "wired", "active", "wired", "unplugged"]
    assert (host.list(), host.gc().orphans) == ([], ())
    with pytest.raises(errors.UnknownVif):
        host.get(vif.id)


def test_plug_again_writes_nothing(host: FakeHost, vif: vifplug.Vif) -> None:
    plan = host.plan([vif])
    host.plug([vif])
    assert [str(action) for action in host.applied] == [action.text for action in plan.actions]
    host.plug([vif])
    assert len(host.applied) == len(plan.actions) and not host.plan([vif])


def test_control_plane_has_its_time(vif: vifplug.Vif) -> None:
    with FakeHost(auto_wire=False) as host:
        with pytest.raises(errors.NotReached, match="is plugged, not wired"), host.expect([vif.id], timeout=0.01):
            host.plug([vif])
        threading.Timer(0.1, host.wire, [vif.id]).start()
        with host.expect([vif.id], timeout=10):
            assert host.get(vif.id).state == "plugged"
        assert host.get(vif.id).state == "wired"
        host.unwire(vif.id)
        assert host.get(vif.id).state == "plugged"
        host.give_up(vif.id)
        with pytest.raises(errors.VifFailed):
            host.wait([vif.id], timeout=10)
        assert states(host) == ["plugged", "wired", "plugged", "failed"]


def test_drift_is_seen_and_repaired(host: FakeHost, vif: vifplug.Vif) -> None:
    host.plug([vif])
    host.drift(vif.id)
    (found,) = host.check([vif.id]).vifs
    assert found.state == "drifted" and found.drift
    assert [each.state for each in host.repair([vif.id])] == ["wired"]
    host.delete(host.get(vif.id).devices[0].name if host.get(vif.id).devices else host.get(vif.id).ports[0].name)
    assert not host.check().clean
    host.repair()
    assert host.check().clean


def test_plug_that_fails_leaves_nothing(host: FakeHost) -> None:
    vifs = [builders.vif(kind) for kind in KINDS]
    for step in range(len(host.plan(vifs).actions)):
        host.fail_next(step=step)
        with pytest.raises(errors.LinkError, match="made to fail") as raised:
            host.plug(vifs)
        assert raised.value.step and raised.value.subject
        assert (host.list(), host.check().clean) == ([], True)
    host.plug(vifs)


def test_next_call_raises_what_it_is_given_once(host: FakeHost, vif: vifplug.Vif) -> None:
    for call in (lambda: host.plug([vif]), lambda: host.unplug([vif.id]), host.repair, lambda: host.gc(True)):
        host.fail_next(errors.Busy("another request works on it"))
        host.list()
        with pytest.raises(errors.Busy, match="works on it"):
            call()
        call()
    host.fail_next(errors.TimedOut("too slow"), step=0)
    with pytest.raises(errors.TimedOut, match="too slow"):
        host.plug([vif])


def test_failure_belongs_to_the_next_call_alone(host: FakeHost, vif: vifplug.Vif) -> None:
    host.plug([vif])
    host.fail_next(step=99)
    host.plug([vif])
    assert [each.state for each in host.unplug([vif.id])] == ["unplugged"]


def test_names_of_others_are_conflicts(host: FakeHost) -> None:
    host.hold("qbr71a6b0e4-1a")
    with pytest.raises(errors.Conflict, match="qbr71a6b0e4-1a"):
        host.plug([builders.vif()])
    assert host.list() == []


def test_lost_record_leaves_orphans(host: FakeHost, vif: vifplug.Vif) -> None:
    host.plug([vif])
    host.forget(vif.id)
    orphans = host.check().orphans
    assert orphans and not host.list()
    assert host.gc(delete=True).deleted == orphans
    assert host.check().clean


def test_open_vswitch_goes_and_comes_back(host: FakeHost) -> None:
    ovs, bridge = builders.vif("ovs"), builders.vif("bridge")
    host.plug([ovs])
    host.stop_ovs()
    with pytest.raises(errors.OvsUnavailable) as raised:
        host.plug([builders.vif("ovs-hybrid")])
    assert raised.value.retryable
    assert host.get(ovs.id).state == "wired"
    host.plug([bridge])
    host.start_ovs()
    host.plug([builders.vif("ovs-hybrid")])
    assert len(host.list()) == 3 and host.check().clean


def test_gc_unplugs_what_no_guest_has(host: FakeHost) -> None:
    kept, gone = builders.vif("ovs"), builders.vif("bridge")
    host.plug([kept, gone])
    found = host.gc(delete=True, keep=[kept.id], absent_for=0)
    assert [each.vif_id for each in found.unplugged] == [gone.id]
    assert [each.id for each in host.list()] == [kept.id]


def test_other_answers_are_a_real_hosts(host: FakeHost, vif: vifplug.Vif) -> None:
    host.plug([vif])
    assert host.guest(vif.id, "qemu").arguments and "<interface" in host.guest(vif.id, "libvirt").text
    assert host.path(vif.id).hops[0].kind == "guest"
    assert host.progress(vif.id).total == 0
    assert host.look([vif.id], "active").reached is False
    assert host.host_info().bridges == {"br-int": "system"}
    assert host.doctor().healthy
    host.diagnosis = vifplug.Diagnosis(findings=(vifplug.Finding(check="ovsdb", status="error"),))
    assert not host.doctor().healthy
    with pytest.raises(errors.InputError):
        host.plug([vif, vif])
    with pytest.raises(errors.BridgeMissing):
        host.plug([builders.vif("ovs", id=builders.INSTANCE, network={"bridge": "br-none"})])


def _frozen(value: Any) -> bool:
    if dataclasses.is_dataclass(value):
        return all(_frozen(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, tuple):
        return all(map(_frozen, value))
    return not isinstance(value, Sequence | Mapping) or isinstance(value, str)


def test_answers_are_frozen_to_the_bottom_and_the_same_after_their_journey(host: FakeHost, vif: vifplug.Vif) -> None:
    answers: list[Any] = [
        *host.plug([vif]),
        *host.list(),
        host.plan([vif]),
        host.path(vif.id),
        host.look([vif.id], "wired"),
    ]
    host.drift(vif.id)
    answers += [host.check(), host.check([vif.id]), *host.repair(), host.gc(), host.gc(keep=[], absent_for=0)]
    answers += [host.guest(vif.id, "qemu"), host.doctor(), *host.events(), *host.unplug([vif.id])]
    assert [each for each in answers if not _frozen(each)] == []
    for each in answers:
        read = type(each).from_json(json.loads(json.dumps(each.as_json())))
        assert read == (dataclasses.replace(each, warnings=()) if isinstance(each, vifplug.VifReport) else each)


@pytest.mark.parametrize("bridges", [(), "br-int"])
def test_host_needs_a_bridge(bridges: Sequence[str]) -> None:
    with pytest.raises(errors.InputError, match="bridges"):
        FakeHost(bridges=bridges)


@pytest.mark.parametrize(
    "call",
    [
        lambda host: host.fail_next(),
        lambda host: host.fail_next(ValueError("no")),
        lambda host: host.fail_next(step=-1),
        lambda host: host.fail_next(step=True),
        lambda host: host.delete("tap0"),
        lambda host: host.wire("no id"),
    ],
)
def test_wrong_steering_is_refused(host: FakeHost, call: Any) -> None:
    with pytest.raises(errors.InputError):
        call(host)


@pytest.mark.parametrize("call", ["wire", "unwire", "give_up", "start_guest", "stop_guest", "drift", "forget"])
def test_what_is_not_plugged_cannot_be_steered(host: FakeHost, call: str) -> None:
    with pytest.raises(errors.UnknownVif):
        getattr(host, call)(builders.TAP)


def test_device_is_held_once(host: FakeHost) -> None:
    host.hold("eth9")
    with pytest.raises(errors.InputError, match="eth9"):
        host.hold("eth9")
    host.delete("eth9")
    host.hold("eth9")


def test_hosts_are_worlds_of_their_own_and_leave_no_files(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with FakeHost() as each, FakeHost() as other:
        each.plug([builders.vif()])
        assert (len(each.list()), other.list()) == (1, [])
        assert len(os.listdir(tmp_path)) == 2
    assert os.listdir(tmp_path) == []


def _life(directory: str) -> list[str]:
    tempfile.tempdir = directory
    with FakeHost() as host:
        vif = builders.vif()
        host.plug([vif])
        host.start_guest(vif.id)
        host.unplug([vif.id])
        return [*states(host), str(os.geteuid())]


def test_it_needs_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        uid = 65534 if os.geteuid() == 0 else os.geteuid()
        nobody = Peer(uid=uid, gid=uid) if os.geteuid() == 0 else None
        lived = nobody.run(lambda: _life(directory)) if nobody is not None else _life(directory)
        assert lived == ["plugged", "wired", "active", "unplugged", str(uid)]


@pytest.mark.parametrize(
    "arguments",
    [
        *({"datapath": "foo"}, {"datapath": None}, {"mtu": 1}, {"mtu": "x"}, {"mtu": True}),
        *({"bridges": [5]}, {"bridges": ["a b"]}, {"bridges": []}, {"bridges": "br-int"}),
    ],
    ids=str,
)
def test_arguments_out_of_bounds_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.InputError, match=next(iter(arguments))):
        FakeHost(**arguments)


@pytest.mark.parametrize("name", [5, "a b", "eth%d", "", "x" * 16])
def test_name_that_no_device_can_have_is_not_held(host: FakeHost, name: Any) -> None:
    with pytest.raises(errors.InputError, match="no device can have that name"):
        host.hold(name)


def test_vif_whose_devices_another_program_deleted_can_lose_no_more(host: FakeHost, vif: vifplug.Vif) -> None:
    (report,) = host.plug([vif])
    for name in [*(device.name for device in report.devices), *(port.name for port in report.ports)]:
        with contextlib.suppress(errors.InputError):  # it went with its peer
            host.delete(name)
    host.stop_guest(vif.id)
    for name in [port.name for port in report.ports]:
        with contextlib.suppress(errors.InputError):
            host.delete(name)
    with pytest.raises(errors.InputError, match="no device and no port left"):
        host.drift(vif.id)


def test_port_of_the_vmms_comes_and_goes_with_its_guest() -> None:
    with FakeHost() as host:
        host.plug([builders.vif("ovs", create_port=False)])
        assert host.get(builders.TAP).waiting_for == "tap81ab5618-df"
        host.start_guest(builders.TAP)
        there = host.get(builders.TAP)
        assert (there.state, there.waiting_for, there.ports[0].bridge) == ("active", None, "br-int")
        with pytest.raises(errors.InputError, match="no device and no port"):
            host.drift(builders.TAP)
        host.stop_guest(builders.TAP)
        assert host.get(builders.TAP).waiting_for == "tap81ab5618-df"
        assert host.check().clean


def test_guest_that_nothing_shows_cannot_be_started() -> None:
    with FakeHost() as host:
        host.plug([builders.vif("external")])
        with pytest.raises(errors.InputError, match="it is wired at most"):
            host.start_guest(builders.EXTERNAL)
        host.stop_guest(builders.EXTERNAL)
        assert host.get(builders.EXTERNAL).state == "wired"
        assert host.unplug([builders.EXTERNAL])[0].state == "unplugged"


def test_guest_of_a_vhost_user_vif_uses_its_socket() -> None:
    vif = builders.vif("vhost-user")
    with FakeHost(datapath="netdev") as host:
        host.plug([vif])
        for act, state in ((host.start_guest, "active"), (host.stop_guest, "wired"), (host.start_guest, "active")):
            act(vif.id)
            assert host.get(vif.id).state == state and host.check().clean
        host.drift(vif.id)
        assert not host.check().clean
        host.repair([vif.id])
        host.unplug([vif.id])
        assert host.list() == []
    with FakeHost() as host, pytest.raises(errors.Conflict, match="needs 'netdev'"):
        host.plug([vif])


def test_devices_of_the_host_are_configured_and_put_back() -> None:
    function = "0000:3b:10.2"
    vf = builders.vif("vf", pci_device={"address": function, "vlan": 100})
    macvtap = builders.vif("macvtap", macvtap={"source": "eth1", "vlan": 100})
    with FakeHost(physical_devices=("eth1",), virtual_functions=(function,)) as host:
        reports = host.plug([vf, macvtap])
        assert [[device.name for device in report.devices] for report in reports] == [[function], ["eth1.100"]]
        assert [each.state for each in host.list()] == ["wired", "wired"] and host.check().clean
        made = host.applied
        host.plug([vf, macvtap])
        assert host.applied == made
        for each in (vf, macvtap):
            host.drift(each.id)
            assert not host.check().clean
            host.repair([each.id])
            assert host.check().clean
        host.unplug([vf.id, macvtap.id])
        assert (host.list(), host.check().clean) == ([], True)
        with pytest.raises(errors.InputError, match=r"there is no PCI device 0000:3b:10\.3"):
            host.plug([builders.vif("vf", pci_device={"address": "0000:3b:10.3"})])
        with pytest.raises(errors.InputError, match="physical_networks does not list device 'eth2'"):
            host.plug([builders.vif("macvtap", macvtap={"source": "eth2"})])


@pytest.mark.parametrize(
    "arguments",
    [
        *({"physical_devices": "eth1"}, {"physical_devices": ["a b"]}, {"virtual_functions": ["eth1"]}),
        *({"virtual_functions": functions} for functions in ({"0000:3b:10.2": "a b"}, {"eth1": "eth5"})),
    ],
    ids=str,
)
def test_devices_that_no_host_has_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.InputError, match=next(iter(arguments))):
        FakeHost(**arguments)


def test_representors_of_the_host_are_configured_and_put_back() -> None:
    function = "0000:3b:10.2"
    vif = builders.vif("host-device", pci_device={"address": function})
    with FakeHost(virtual_functions={function: "eth5"}) as host:
        (report,) = host.plug([vif])
        assert ([device.name for device in report.devices], [port.name for port in report.ports]) == (
            [function],
            ["eth5"],
        )
        assert host.check().clean
        made = host.applied
        host.plug([vif])
        assert host.applied == made
        host.drift(vif.id)
        (checked,) = host.check().vifs
        assert [(item.subject, item.attribute) for item in checked.drift] == [(function, "up")]
        host.repair([vif.id])
        host.delete("eth5")
        (checked,) = host.check().vifs
        assert (function, "netdev") in [(item.subject, item.attribute) for item in checked.drift]
        host.unplug([vif.id])
        assert (host.list(), host.check().clean) == ([], True)
        with pytest.raises(errors.InputError, match=r"there is no PCI device 0000:3b:10\.3"):
            host.plug([builders.vif("host-device", pci_device={"address": "0000:3b:10.3"})])
    with FakeHost(virtual_functions=[function]) as host, pytest.raises(errors.Conflict, match="is a vf"):
        host.plug([vif])


def test_socket_of_another_vif_is_a_conflict() -> None:
    first = builders.vif("vhost-user")
    second = builders.vif("vhost-user", id=builders.TAP)
    with FakeHost(datapath="netdev") as host:
        (report,) = host.plug([first])
        with pytest.raises(errors.Conflict, match=f"is that of OVS interface '{report.ports[0].name}'"):
            host.plug([second])
        assert [each.id for each in host.list()] == [first.id] and host.check().clean
