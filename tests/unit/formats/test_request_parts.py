"""The parts of a request: which there are, and that one belongs to the vif_types it names."""

from __future__ import annotations

import pytest

from tests.support import builders
from vifplug.errors import InputError
from vifplug.model import vif as model
from vifplug.model.vif import Vif


def test_part_that_belongs_to_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {**builders.vif("ovs").model_dump(mode="json", exclude_none=True), "tap_owner": {"uid": 107}}
    assert Vif(**document).tap_owner == model.TapOwner(uid=107)
    monkeypatch.setattr(model.TapOwner, "vif_types", frozenset({"tap"}))
    with pytest.raises(InputError, match="tap_owner: it is for VIFs of type tap only"):
        Vif(**document)
    document["tap_owner"] = None
    assert Vif(**document).tap_owner is None


def test_what_a_request_may_omit() -> None:
    assert set(model.optional_fields()) == {
        "instance",
        "create_tap",
        "create_port",
        "join_tap",
        "tap_up",
        "tap_owner",
        "tap",
        "allowed_addresses",
        "port_security",
        "multiqueue",
        "isolate",
        "vlan",
        "per_port_bridge",
        "pci_device",
        "vhost_user",
        "macvtap",
    }
    parts = {"network", "instance", "tap_owner", "tap", "names", "pci_device", "vhost_user", "macvtap"}
    assert set(model.sub_models()) == parts
