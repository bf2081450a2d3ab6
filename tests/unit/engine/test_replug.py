"""A VIF that is plugged again: what a request does not carry keeps its recorded value."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from typing import Any

import pytest

from tests.support import builders
from tests.support.builders import TAP, Plugger
from tests.support.fake_host import FakeHost
from vifplug import formats
from vifplug.drivers.contract import Options
from vifplug.engine.host import Asked, Scope
from vifplug.engine.plan import request
from vifplug.errors import Conflict
from vifplug.model.vif import Vif
from vifplug.resources.observed import Observed
from vifplug.store.records import Record

SAMPLE = pathlib.Path(__file__).parents[2] / "samples" / "nova_network_info_ovs_plain_create_tap.json"


@pytest.mark.parametrize("create_tap", [False, True])
def test_port_of_a_version_before_create_port_is_kept(plugger: Plugger, host: FakeHost, create_tap: bool) -> None:
    plugger.plug([builders.vif("ovs", create_tap=create_tap)])
    record, before = plugger.store.record(TAP), (dict(host.links), dict(host.ports))
    for _ in range(2):
        delegated = builders.vif("ovs", create_port=False)
        assert not plugger.plan([delegated])
        (report,) = plugger.plug([delegated])
        (warning,) = report.warnings
        assert "create_port false" in warning
        assert (host.links, host.ports, plugger.store.record(TAP)) == (*before, record)
    assert plugger.repair([TAP])[0].warnings == ()
    plugger.unplug([TAP])
    assert plugger.plug([builders.vif("ovs", create_port=False)])[0].warnings == ()
    assert host.ports == {}


def test_document_of_nova_that_was_plugged_is_plugged_again(plugger: Plugger, host: FakeHost) -> None:
    (document,) = json.loads(SAMPLE.read_text())
    document["details"]["ovs_create_tap"] = False
    vif = formats.load({**document, "delegate_create": False})
    assert vif.create_port is False
    plugger.plug([vif.model_copy(update={"create_port": None})])
    before = dict(host.ports)
    (report,) = plugger.plug([vif])
    assert any("create_port false" in text for text in report.warnings)
    assert host.ports == before != {}


def test_port_that_a_request_asked_for_is_not_left_to_the_vmm(plugger: Plugger) -> None:
    plugger.plug([builders.vif("ovs", create_port=True, create_tap=False)])
    with pytest.raises(Conflict, match="create_port"):
        plugger.plug([builders.vif("ovs", create_port=False)])


@pytest.mark.parametrize("age", [0.0, 60.0])
def test_observation_that_began_before_the_locks_is_used_while_it_is_new(
    plugger: Plugger, host: FakeHost, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    """Waiting for another request's turn, it may have become old: other programs change the host at any time."""
    vif, used = builders.vif("ovs-hybrid"), list[Scope]()
    plugger.plug([vif])

    def asking(scope: Scope) -> contextlib.AbstractContextManager[Asked]:
        def observe() -> Observed:
            used.append(scope)
            return host.observe(scope)

        return contextlib.nullcontext(Asked(scope, observe, time.monotonic() - age))

    monkeypatch.setattr(host, "asking", asking)
    plugger.plug([vif])
    assert len(used) == (0 if age else 1)


def test_new_vif_is_observed_under_its_locks(plugger: Plugger, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """``gc`` deletes what has no record, and writes nothing by which that would be noticed."""
    monkeypatch.setattr(host, "asking", lambda _scope: pytest.fail("asked before"))
    plugger.plug([builders.vif("ovs-hybrid")])


PARTS = [
    ("vf", "pci_device", {"address": "0000:3b:00.2", "vlan": 100, "trusted": True}, "address", "0000:3b:00.3"),
    ("macvtap", "macvtap", {"source": "eth1", "mode": "vepa", "vlan": 100}, "source", "eth2"),
    ("external", "vhost_user", {"socket": "/run/vpp/one", "mode": "client"}, "socket", "/run/vpp/two"),
]


def completed(vif: Vif, record: Record | None) -> Vif:
    return request.job(vif, record, Options()).vif


@pytest.mark.parametrize(("vif_type", "name", "part", "key", "other"), PARTS)
def test_part_keeps_of_the_same_device_what_a_request_leaves_out(
    vif_type: str, name: str, part: dict[str, Any], key: str, other: str
) -> None:
    first = completed(builders.vif(vif_type, **{name: part}), None)
    record = Record(vif=first, resources=(), state="plugged")
    again = completed(builders.vif(vif_type, **{name: {key: part[key]}}), record)
    assert again == first
    moved = completed(builders.vif(vif_type, **{name: {key: other}}), record)
    fresh = completed(builders.vif(vif_type, **{name: {key: other}}), None)
    assert getattr(moved, name) == getattr(fresh, name) != getattr(first, name)


def test_mode_has_its_default_without_a_record() -> None:
    vhost = completed(builders.vif("external", vhost_user={"socket": "/run/vpp/one"}), None).vhost_user
    macvtap = completed(builders.vif("macvtap"), None).macvtap
    assert vhost is not None and macvtap is not None
    assert (vhost.mode, macvtap.mode) == ("server", "bridge")


def test_value_that_a_request_gives_is_the_new_one() -> None:
    address = "0000:3b:00.2"
    part = {"address": address, "vlan": 100, "trusted": True}
    record = Record(vif=completed(builders.vif("vf", pci_device=part), None), resources=(), state="plugged")
    device = completed(builders.vif("vf", pci_device={**part, "trusted": False}), record).pci_device
    assert device is not None and (device.vlan, device.trusted) == (100, False)


def test_owner_of_a_tap_keeps_its_group() -> None:
    record = Record(
        vif=completed(builders.vif("ovs", tap_owner={"uid": 64055, "gid": 108}), None), resources=(), state="plugged"
    )
    owner = completed(builders.vif("ovs", tap_owner={"uid": 5}), record).tap_owner
    assert owner is not None and (owner.uid, owner.gid) == (5, 108)


def test_lone_tap_keeps_its_mac() -> None:
    record = Record(
        vif=completed(builders.vif("tap", tap={"address": "02:00:00:00:00:01"}), None), resources=(), state="plugged"
    )
    tap = completed(builders.vif("tap", tap={}), record).tap
    assert tap is not None and tap.address == "02:00:00:00:00:01"
