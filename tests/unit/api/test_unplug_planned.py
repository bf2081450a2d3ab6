"""The plan of an unplug, the warning for a VIF whose guest is there, and the note on a bridge without an uplink."""

from __future__ import annotations

import uuid

import pytest

import vifplug
from vifplug.testing import FakeHost


def vif(vif_type: str = "ovs", **fields: object) -> vifplug.Vif:
    document = {"id": str(uuid.uuid4()), "vif_type": vif_type, "address": "02:00:00:00:00:01", **fields}
    return vifplug.load(document)


@pytest.mark.parametrize("vif_type", ["ovs", "ovs-hybrid"])
def test_plan_of_an_unplug_lists_what_it_deletes_and_changes_nothing(vif_type: str) -> None:
    with FakeHost() as host:
        plugged = vif(vif_type, network={"bridge": "br-int"})
        host.plug([plugged])
        before = host.get(plugged.id)
        plan = host.plan_unplug([plugged.id, str(uuid.uuid4())])
        assert [action.action for action in plan.actions] == ["delete-port", "delete-qos", "delete-links"]
        assert host.get(plugged.id) == before
        host.unplug([plugged.id])
        assert not host.plan_unplug([plugged.id])


def test_unplug_from_a_running_guest_is_a_warning() -> None:
    with FakeHost() as host:
        plugged = vif(network={"bridge": "br-int"})
        host.plug([plugged])
        host.start_guest(plugged.id)
        (report,) = host.unplug([plugged.id])
    tap = vifplug.naming.device("tap", plugged.id)
    assert report.warnings == (
        f"VIF {plugged.id} was unplugged while a guest had its tap {tap!r} open; that guest has lost its network",
    )


def test_unplug_without_a_guest_warns_of_nothing() -> None:
    with FakeHost() as host:
        plugged = vif(network={"bridge": "br-int"})
        host.plug([plugged])
        (report,) = host.unplug([plugged.id])
    assert report.warnings == ()


def test_bridge_that_leads_nowhere_is_noted_when_it_is_made() -> None:
    network = {"id": str(uuid.uuid4())}
    with FakeHost() as host:
        first, second = vif("bridge", network=network), vif("bridge", network=network, address="02:00:00:00:00:02")
        (made,) = host.plug([first])
        (again,) = host.plug([first])
        (later,) = host.plug([second])
    assert made.warnings == (
        f"Linux bridge {made.bridge!r} has no uplink: until something joins it to other hosts, only VIFs of this host "
        "reach each other on it",
    )
    assert (again.warnings, later.warnings) == ((), ())


def test_bridge_with_an_uplink_is_not_noted() -> None:
    uplink = {"type": "flat", "physical_network": "physnet1"}
    with FakeHost(physical_devices={"physnet1": "eth1"}) as host:
        (made,) = host.plug([vif("bridge", network={"id": str(uuid.uuid4()), "uplink": uplink})])
    assert made.warnings == ()
