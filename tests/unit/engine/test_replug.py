"""A VIF that is plugged again: what a request does not carry keeps its recorded value."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.support import builders
from tests.support.builders import TAP, Plugger
from tests.support.fake_host import FakeHost
from vifplug import formats
from vifplug.errors import Conflict

SAMPLE = pathlib.Path(__file__).parents[2] / "samples" / "nova_network_info_ovs_plain_create_tap.json"


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def plugger(tmp_path: pathlib.Path, host: FakeHost) -> Plugger:
    return builders.plugger(tmp_path, host)


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
