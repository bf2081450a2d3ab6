"""What is another program's: configured and put back, or only referenced. By two kinds of this test's own."""

from __future__ import annotations

import logging
import pathlib
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.configured_kinds import TYPE, Nic, Wired, driver
from tests.support.fake_host import FakeHost
from vifplug import naming
from vifplug.engine.apply import transaction
from vifplug.engine.commands import inspect, recover
from vifplug.engine.plan.actions import ConfigureLink
from vifplug.errors import Conflict, InputError, LinkError, ResourceMissing, UnknownKind
from vifplug.linux import encode
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.store import records

VIF, OTHER = builders.TAP, builders.HYBRID
__all__ = ["driver"]
NETWORK = naming.network_owner(builders.NETWORK)


class World:
    """A host in memory with eth1 and gate0, and a driver that needs them."""

    def __init__(self, directory: pathlib.Path, driver: Wired) -> None:
        self.host, self.driver = FakeHost(), driver
        self.host.links = {
            "eth1": Link(name="eth1", ifindex=2, mtu=1500, promiscuous=False, up=True, other_kind=""),
            "gate0": Link(name="gate0", ifindex=3, mtu=1500, up=True, other_kind="vxlan"),
        }
        self.plugger: Plugger = builders.plugger(directory, self.host, configurable=("eth*", "gate0"))

    @property
    def eth1(self) -> tuple[int | None, bool | None]:
        found = self.host.links["eth1"]
        return found.mtu, found.promiscuous

    def set_eth1(self, **values: Any) -> None:
        self.host.links["eth1"] = replace(self.host.links["eth1"], **values)

    def recorded(self, vif_id: str = VIF) -> Link:
        record = self.plugger.store.record(vif_id)
        assert record is not None
        return next(item for item in kinds.links_in(record.resources) if item.name == "eth1")


@pytest.fixture
def world(tmp_path: pathlib.Path, driver: Wired) -> World:
    return World(tmp_path, driver)


def vif(vif_id: str = VIF) -> Vif:
    return builders.vif("ovs").model_copy(update={"vif_type": TYPE, "id": vif_id})


def configurations(world: World) -> list[str]:
    return [str(action) for action in world.host.applied if isinstance(action, ConfigureLink)]


def test_configured_device_is_set_and_remembered(world: World) -> None:
    (report,) = world.plugger.plug([vif()])
    assert world.eth1 == (9000, True)
    assert configurations(world) == ["configure test-nic eth1: mtu 9000, promiscuous on"]
    assert world.recorded().former == {"mtu": 1500, "promiscuous": False}
    assert world.recorded().ifindex is None
    assert [device["kind"] for device in report.devices] == ["tap", "test-nic", "test-gate"]
    assert inspect.check(world.plugger).clean


def test_replug_changes_nothing_and_remembers_what_was_there_first(world: World) -> None:
    world.plugger.plug([vif()])
    world.host.applied.clear()
    world.plugger.plug([vif()])
    assert not world.host.applied
    assert world.recorded().former == {"mtu": 1500, "promiscuous": False}


def test_drift_is_put_right_and_does_not_count_as_what_was_there(world: World) -> None:
    world.plugger.plug([vif()])
    world.set_eth1(mtu=1400)
    (checked,) = inspect.check(world.plugger).vifs
    assert [(item.subject, item.attribute, item.observed, item.desired) for item in checked.drift] == [
        ("eth1", "mtu", 1400, 9000)
    ]
    world.plugger.repair([VIF])
    assert world.eth1 == (9000, True)
    assert world.recorded().former["mtu"] == 1500


def test_unplug_puts_back(world: World) -> None:
    world.plugger.plug([vif()])
    (report,) = world.plugger.unplug([VIF])
    assert world.eth1 == (1500, False)
    assert configurations(world)[-1] == "put back test-nic eth1: mtu 1500, promiscuous off"
    assert not report.warnings
    assert "gate0" in world.host.links
    assert not world.plugger.store.contents().records


def test_unplug_leaves_what_another_program_has_changed_since(world: World) -> None:
    world.plugger.plug([vif()])
    world.set_eth1(mtu=4000)
    (report,) = world.plugger.unplug([VIF])
    assert world.eth1 == (4000, False)
    assert list(report.warnings) == [
        "mtu of test-nic 'eth1' was left: it is 4000, neither what vifplug set (9000) nor what was there before (1500)"
        ", so another program has changed it since"
    ]


def test_unplug_says_nothing_of_what_is_as_before_or_gone(world: World) -> None:
    world.plugger.plug([vif()])
    world.set_eth1(mtu=1500)
    (report,) = world.plugger.unplug([VIF])
    assert (world.eth1, list(report.warnings)) == ((1500, False), [])
    world.plugger.plug([vif()])
    del world.host.links["eth1"]
    (report,) = world.plugger.unplug([VIF])
    assert not report.warnings


@pytest.mark.parametrize("step", range(6))
def test_failed_plug_puts_back(world: World, step: int) -> None:
    actions = len(world.plugger.plan([vif()]).actions)
    world.host.fail_at = step
    if step < actions:
        with pytest.raises(LinkError):
            world.plugger.plug([vif()])
        assert world.eth1 == (1500, False)
        assert set(world.host.links) == {"eth1", "gate0"}
        assert not world.plugger.store.contents().intents
    else:
        assert step >= 3, "the plan has fewer actions than this test takes for granted"


def test_failed_plug_leaves_what_another_program_has_changed_since(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    apply = world.host.apply

    def built(*arguments: Any) -> Any:
        apply(*arguments)
        world.set_eth1(mtu=4000)
        raise LinkError("could not read the host's links: made to fail")

    world.host.apply = built  # type: ignore[assignment, method-assign]
    with caplog.at_level(logging.WARNING), pytest.raises(LinkError):
        world.plugger.plug([vif()])
    assert world.eth1 == (4000, False)
    assert "mtu of test-nic 'eth1' was left: it is 4000" in caplog.text


def test_killed_plug_is_settled_by_putting_back(world: World) -> None:
    """What was there before is in the intent, which is written before the first change."""
    store = world.plugger.store
    with builders.intents_of(world.plugger, world.host) as seen:
        world.plugger.plug([vif()])
    (intent,) = seen
    store.forget([VIF])
    store.begin([intent], {}, is_new=True)
    recover.settle(world.plugger)
    assert world.eth1 == (1500, False)
    assert not store.contents().intents


@pytest.mark.parametrize("before", [None, {"mtu": 9000}])
def test_killed_replug_is_settled_by_putting_back_what_the_record_does_not_hold(
    world: World, before: dict[str, Any] | None
) -> None:
    nic, world.driver.nic, world.driver.has_nic = world.driver.nic, before or {}, before is not None
    world.plugger.plug([vif()])
    record = world.plugger.store.record(VIF)
    assert record is not None
    world.driver.nic, world.driver.has_nic = nic, True
    with builders.intents_of(world.plugger, world.host) as seen:
        world.plugger.plug([vif()])
    assert world.eth1 == (9000, True)
    world.plugger.store.save_records([record])
    world.plugger.store.begin(seen, {}, is_new=False)
    world.driver.nic, world.driver.has_nic = before or {}, before is not None  # what the recorded request asks for
    recover.settle(world.plugger)
    assert world.eth1 == ((9000, False) if before else (1500, False))
    after = world.plugger.store.record(VIF)
    assert after is not None
    assert after.resources == record.resources
    assert not world.plugger.store.contents().intents
    world.plugger.unplug([VIF])
    assert world.eth1 == (1500, False)


def test_attribute_that_is_asked_for_no_longer_is_put_back(world: World) -> None:
    world.plugger.plug([vif()])
    world.driver.nic = {"mtu": 9000}
    world.plugger.plug([vif()])
    assert world.eth1 == (9000, False)
    assert world.recorded().former == {"mtu": 1500}


def test_device_that_is_asked_for_no_longer_is_put_back(world: World) -> None:
    world.plugger.plug([vif()])
    world.driver.has_nic = False
    world.set_eth1(promiscuous=False, mtu=4000)
    (report,) = world.plugger.plug([vif()])
    assert world.eth1 == (4000, False)
    assert ["mtu of test-nic 'eth1' was left: it is 4000" in words for words in report.warnings] == [True]


def stored(world: World) -> tuple[Any, Any, dict[str, Any]]:
    (link,) = world.plugger.store.shared_links().values()
    return link.mtu, link.promiscuous, dict(link.former)


def test_shared_device_is_put_back_with_the_last_vif_only(world: World) -> None:
    world.driver.nic_owner = NETWORK
    world.plugger.plug([vif()])
    world.plugger.plug([vif(OTHER)])
    assert stored(world) == (9000, True, {"mtu": 1500, "promiscuous": False})
    assert world.recorded(OTHER).former == {}
    world.plugger.unplug([VIF])
    assert world.eth1 == (9000, True)
    world.plugger.unplug([OTHER])
    assert world.eth1 == (1500, False)
    assert not world.plugger.store.shared_links()


@pytest.mark.parametrize("first", [VIF, OTHER])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("leaves", [VIF, OTHER])
def test_shared_device_does_not_depend_on_who_was_plugged_last(
    world: World, first: str, together: bool, leaves: str
) -> None:
    world.driver.nic_owner = NETWORK
    world.driver.nic_of = {VIF: {"mtu": 9000}, OTHER: {"mtu": 4000, "promiscuous": True}}
    vifs = [vif(first), vif(VIF if first == OTHER else OTHER)]
    for part in [vifs] if together else [[one] for one in vifs]:
        world.plugger.plug(part)
    assert world.eth1 == (9000, True)
    assert stored(world) == (9000, True, {"mtu": 1500, "promiscuous": False})
    assert inspect.check(world.plugger).clean
    world.host.applied.clear()
    for request in reversed(vifs):
        world.plugger.plug([request])
    assert not world.host.applied
    world.plugger.unplug([leaves])
    assert world.eth1 == (9000, True)
    assert inspect.check(world.plugger).clean
    (report,) = world.plugger.unplug([VIF if leaves == OTHER else OTHER])
    assert (world.eth1, list(report.warnings)) == ((1500, False), [])


def test_shared_device_is_refused_another_value_that_cannot_hold_for_both(world: World) -> None:
    world.driver.nic_owner = NETWORK
    world.driver.nic_of = {VIF: {"promiscuous": True}, OTHER: {"promiscuous": False}}
    for request in ([vif(), vif(OTHER)], [vif()], [vif(OTHER)]):
        if request == [vif()]:
            world.plugger.plug(request)
            continue
        applied = list(world.host.applied)
        with pytest.raises(Conflict, match=r"test-nic 'eth1' has promiscuous on for VIFs of .* and off is asked for"):
            world.plugger.plug(request)
        assert world.host.applied == applied
    world.driver.nic_of[VIF] = {"mtu": 4000}
    world.plugger.plug([vif()])
    assert world.eth1 == (4000, False), "its only VIF may ask for something else"
    assert stored(world) == (4000, None, {"mtu": 1500})
    world.plugger.unplug([VIF])
    assert world.eth1 == (1500, False)


@pytest.mark.parametrize("has_first", [False, True])
def test_failed_plug_takes_back_what_is_kept_of_a_shared_device(world: World, has_first: bool) -> None:
    world.driver.nic_owner = NETWORK
    world.driver.nic_of = {VIF: {"mtu": 4000}, OTHER: {"mtu": 9000, "promiscuous": True}}
    if has_first:
        world.plugger.plug([vif()])
    before = world.plugger.store.shared_links()
    world.host.fail_at = len(world.host.applied) + len(world.plugger.plan([vif(OTHER)]).actions) - 1
    with pytest.raises(LinkError):
        world.plugger.plug([vif(OTHER)])
    assert world.plugger.store.shared_links() == before
    assert world.eth1 == ((4000, False) if has_first else (1500, False))
    if has_first:
        (report,) = world.plugger.unplug([VIF])
        assert (world.eth1, list(report.warnings)) == ((1500, False), [])


def test_killed_plug_of_a_second_vif_leaves_a_shared_device_to_be_put_back_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.driver.nic_owner = NETWORK
    world.driver.nic_of = {VIF: {"mtu": 4000}, OTHER: {"mtu": 9000, "promiscuous": True}}
    world.plugger.plug([vif()])
    apply = world.host.apply

    def applied(*arguments: Any) -> Any:
        apply(*arguments)
        raise KeyboardInterrupt

    world.host.apply = applied  # type: ignore[assignment, method-assign]
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "take_back", lambda *arguments: None)
        with pytest.raises(KeyboardInterrupt):
            world.plugger.plug([vif(OTHER)])
    world.host.apply = apply  # type: ignore[method-assign]
    assert world.eth1 == (9000, True)
    recover.settle(world.plugger)
    assert not world.plugger.store.contents().intents
    world.plugger.unplug([VIF])
    assert world.eth1 == (1500, False)
    assert not world.plugger.store.shared_links()


def test_shared_device_is_put_back_although_a_record_is_damaged(world: World) -> None:
    world.driver.nic_owner = NETWORK
    world.plugger.plug([vif()])
    with world.plugger.store._transaction() as database:
        database.execute("UPDATE records SET body = '{'")
    assert world.plugger.store.is_damaged(VIF)
    world.plugger.unplug([VIF])
    assert world.eth1 == (1500, False)
    assert not world.plugger.store.shared_links()


def test_vif_that_leaves_a_shared_device_puts_it_back_unless_others_use_it(world: World) -> None:
    world.driver.nic_owner = NETWORK
    world.plugger.plug([vif(), vif(OTHER)])
    world.driver.has_nic = False
    world.plugger.plug([vif()])
    assert world.eth1 == (9000, True)
    world.plugger.plug([vif(OTHER)])
    assert world.eth1 == (1500, False)
    assert not world.plugger.store.shared_links()


def test_what_is_kept_and_cannot_be_read_is_left(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.driver.nic_owner = NETWORK
    world.plugger.plug([vif()])
    with world.plugger.store._transaction() as database:
        database.execute("UPDATE shared SET body = '{'")
    world.plugger.unplug([VIF])
    assert world.eth1 == (9000, True)
    assert "what was set on 'eth1' for" in caplog.text


def test_device_is_one_owners_to_configure(world: World) -> None:
    world.plugger.plug([vif()])
    with pytest.raises(Conflict):
        world.plugger.plug([vif(OTHER)])
    assert world.eth1 == (9000, True)


@pytest.mark.parametrize("name", ["eth1", "gate0"])
def test_missing_device_is_a_typed_error_and_nothing_is_touched(world: World, name: str) -> None:
    del world.host.links[name]
    with pytest.raises(ResourceMissing, match=name) as raised:
        world.plugger.plug([vif()])
    assert (raised.value.subject, world.host.applied) == (name, [])


def test_referenced_device_that_went_is_drift_and_its_attributes_are_none(world: World) -> None:
    world.plugger.plug([vif()])
    world.host.links["gate0"] = replace(world.host.links["gate0"], mtu=68, up=False)
    assert inspect.check(world.plugger).clean
    del world.host.links["gate0"]
    (checked,) = inspect.check(world.plugger).vifs
    assert [(item.subject, item.attribute) for item in checked.drift] == [("gate0", "present")]


@pytest.mark.parametrize(("listed", "name"), [((), "eth1"), (("eth1",), "gate0"), (("eth[[]1]", "gate?"), "eth1")])
def test_device_that_no_option_lists_is_refused_and_nothing_is_touched(
    world: World, listed: tuple[str, ...], name: str
) -> None:
    world.plugger.options = replace(world.plugger.options, configurable=listed)
    with pytest.raises(InputError, match=rf"\[bridge\] physical_networks does not list device '{name}'") as raised:
        world.plugger.plug([vif()])
    assert (raised.value.subject, raised.value.exit_code, world.host.applied) == (name, 2, [])


def test_own_device_is_not_configured(world: World) -> None:
    world.set_eth1(owner=OTHER, alias=naming.alias(OTHER))
    with pytest.raises(Conflict, match="one that vifplug made"):
        world.plugger.plug([vif()])


def test_record_is_json_and_back(world: World) -> None:
    world.plugger.plug([vif()])
    record = world.plugger.store.record(VIF)
    assert record is not None
    assert records.from_json(VIF, records.to_json(record)) == record


def test_configuration_as_the_helper_takes_it() -> None:
    nic = Nic(name="eth1", owner=VIF, role="nic", mtu=9000)
    change = ConfigureLink(nic, (("mtu", 1500, 9000),))
    identity = {
        "op": "configure",
        "kind": "test-nic",
        "name": "eth1",
        "owner": VIF,
        "role": "nic",
        "birth_address": None,
    }
    assert encode.of_link(change) == {**identity, "values": {"mtu": 9000}, "expected": {}}
    back = change.inverse()
    assert back is not None
    assert encode.of_link(back) == {**identity, "values": {"mtu": 1500}, "expected": {"mtu": 9000}}


def test_kind_that_is_not_registered_is_an_error_at_once(world: World) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Unknown(Link):
        kind: ClassVar[str] = "test-unknown"

    world.driver.resources = lambda vif, options: [Unknown(name="x", owner=vif.id)]  # type: ignore[method-assign]
    with pytest.raises(UnknownKind):
        world.plugger.plug([vif()])
    with pytest.raises(UnknownKind):
        kinds.to_dict(Unknown(name="x"))
    assert not world.host.applied
