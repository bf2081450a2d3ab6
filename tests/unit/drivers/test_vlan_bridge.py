"""Bridge VIFs with VLANs of their own on one bridge that filters by VLAN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from tests.support import builders
from tests.support.builders import BRIDGE, Plugger
from tests.support.fake_host import FakeHost
from vifplug.engine.commands import reconcile
from vifplug.errors import Conflict, LinkError, StoreError
from vifplug.model.vif import Vif
from vifplug.resources.bridge import Bridge
from vifplug.resources.tap import Tap
from vifplug.store import records
from vifplug.store.records import Record
from vifplug.store.store import Store

NAME = "br-vlan"
OTHER = "4fe5648f-4734-49a7-9fef-daa6f86f6799"
NETWORK, ANOTHER = builders.NETWORK, "24ec4c8b-001b-49c3-89fb-bf84c4f41e24"
TAP, OTHERS_TAP = (f"tap{identity}"[:14] for identity in (BRIDGE, OTHER))


def vif(vlan: Any = 5, network: str | None = NETWORK, **more: Any) -> Vif:
    return builders.vif("bridge", vlan=vlan, **{"network": {"id": network, "bridge": NAME, "mtu": 1450}, **more})


def other(vlan: Any = 6, network: str | None = ANOTHER) -> Vif:
    return vif(vlan, network, id=OTHER, address="fa:16:3e:95:3a:3e")


def record_of(plugger: Plugger) -> Record:
    return plugger.store.contents([BRIDGE]).records[BRIDGE]


def test_vifs_of_several_networks_share_the_bridge_that_they_name(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([vif()])
    plugger.plug([other()])
    made = host.links[NAME]
    assert isinstance(made, Bridge) and (made.vlan_filtering, made.vlan_default_pvid) == (1, 0)
    assert (host.links[TAP].bridge_vlan, host.links[OTHERS_TAP].bridge_vlan) == (5, 6)
    for again in (vif(), vif(None), other(), other(None)):
        assert not plugger.plan([again])
    plugger.unplug([BRIDGE])
    assert NAME in host.links
    plugger.unplug([OTHER])
    assert not host.links


def test_bridge_by_the_naming_rule_is_the_networks(plugger: Plugger, host: FakeHost) -> None:
    request = builders.vif("bridge", vlan=5)
    for _turn in range(2):
        plugger.plug([request])
        (name,) = (name for name in host.links if name.startswith("brq"))
        assert (host.links[name].owner, host.links[name].vlan_filtering) == (f"net:{NETWORK}", 1)
    plugger.unplug([BRIDGE])
    assert not host.links


@pytest.mark.parametrize(("first", "second"), [(5, None), (None, 5)])
@pytest.mark.parametrize("at_once", [False, True])
def test_vif_without_a_vlan_and_one_with_share_no_bridge(
    plugger: Plugger, host: FakeHost, first: int | None, second: int | None, at_once: bool
) -> None:
    requests = [vif(first, None), other(second, None)]
    if not at_once:
        plugger.plug(requests[:1])
    before = dict(host.links)
    with pytest.raises(Conflict, match=f"bridge '{NAME}' is used by VIFs with .* all of them need one, or none"):
        plugger.plug(requests if at_once else requests[1:])
    assert host.links == before


def test_filtering_that_another_program_turned_off_is_no_conflict(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([vif(), other()])
    for again in ([vif()], [vif(), other()]):
        host.links[NAME] = host.links[NAME].replaced(vlan_filtering=0)
        (check, _other) = builders.local_host(plugger).check().vifs
        assert {item.attribute for item in check.drift} == {"vlan_filtering"}
        plugger.plug(again)
        assert host.links[NAME].vlan_filtering == 1


def test_filtering_of_a_bridge_of_vifs_without_vlans_is_still_drift(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif("bridge")])
    (name,) = (name for name in host.links if name.startswith("brq"))
    host.links[name] = host.links[name].replaced(vlan_filtering=1, impeded={"vlan_filtering": 1})
    (check,) = builders.local_host(plugger).check().vifs
    assert {item.attribute for item in check.drift} == {"vlan_filtering"}
    plugger.repair([BRIDGE])
    assert (host.links[name].vlan_filtering, host.links[name].impeded) == (0, {})


@pytest.mark.parametrize(("before", "vlan"), [(None, 5), (5, "none")])
def test_kind_of_bridge_is_not_changed_in_place(plugger: Plugger, host: FakeHost, before: Any, vlan: Any) -> None:
    plugger.plug([vif(before)])
    links = dict(host.links)
    with pytest.raises(Conflict, match="in place; unplug it first"):
        plugger.plug([vif(vlan)])
    assert host.links == links
    plugger.unplug([BRIDGE])
    plugger.plug([vif(vlan)])


@pytest.mark.parametrize("seen", [5, "1 pvid untagged", "none"])
def test_failed_replug_leaves_the_recorded_vlan(plugger: Plugger, host: FakeHost, seen: int | str) -> None:
    plugger.plug([vif()])
    host.links[TAP] = replace(host.links[TAP], bridge_vlan=seen)
    record = record_of(plugger)
    with mock.patch.object(Store, "save_records", side_effect=StoreError("full")), pytest.raises(StoreError):
        plugger.plug([vif(6)])
    assert (host.links[TAP].bridge_vlan, record_of(plugger)) == (5, record)
    host.fail_at = len(host.applied)
    with pytest.raises(LinkError):
        plugger.plug([vif(6)])
    assert (host.links[TAP].bridge_vlan, record_of(plugger)) == (5, record)


def test_interrupted_replug_is_settled_as_recorded(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([vif()])
    record = record_of(plugger)
    with builders.intents_of(plugger, host) as seen:
        plugger.plug([vif(6)])
    plugger.store.save_records([record])
    plugger.store.begin(seen[-1:], {BRIDGE: records.claims_of(record)}, is_new=False)
    plugger.repair([BRIDGE])
    assert host.links[TAP].bridge_vlan == 5


def guests_tap(**more: Any) -> Tap:
    return Tap(name=TAP, ifindex=99, address="fe:16:3e:95:3a:3d", up=True, **more)


def test_tap_that_the_vmm_puts_on_the_bridge_gets_its_vlan(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([vif(create_tap=False)])
    assert builders.local_host(plugger).check().clean
    for seen in ("none", "1 pvid untagged", 6):
        host.links[TAP] = guests_tap(master=NAME, bridge_vlan=seen)
        (check,) = builders.local_host(plugger).check().vifs
        assert [(item.subject, item.attribute, item.desired) for item in check.drift] == [(TAP, "bridge_vlan", 5)]
        assert reconcile.repair(plugger, [BRIDGE]) == {BRIDGE: None}
        assert host.links[TAP].bridge_vlan == 5
        assert builders.local_host(plugger).check().clean


def test_tap_of_the_vmm_comes_back_with_its_vlan(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([vif(create_tap=False)])
    host.links[TAP] = guests_tap(master=NAME, bridge_vlan=5)
    plugger.plug([vif(create_tap=False)])
    host.remove(NAME)
    plugger.repair([BRIDGE])
    assert (host.links[TAP].master, host.links[TAP].bridge_vlan) == (NAME, 5)


def test_bridge_of_another_program_must_filter(plugger: Plugger, host: FakeHost) -> None:
    host.links[NAME] = Bridge(name=NAME, ifindex=7, up=True)
    with pytest.raises(Conflict, match=f"bridge '{NAME}' for vlan 5 is another program's, and does not filter"):
        plugger.plug([vif()])
    host.links[NAME] = Bridge(name=NAME, ifindex=7, up=True, vlan_filtering=1, vlan_default_pvid=1)
    with pytest.raises(Conflict, match="has a tap of the VMM's"):
        plugger.plug([vif(create_tap=False)])
    before = host.links[NAME]
    plugger.plug([vif()])
    assert host.links[TAP].bridge_vlan == 5
    plugger.unplug([BRIDGE])
    assert host.links == {NAME: before}
