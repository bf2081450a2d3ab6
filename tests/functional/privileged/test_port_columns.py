"""A port that asks for columns of its own: what a vif_type without a netdev needs of Open vSwitch.

Stood for by a tunnel, which every Open vSwitch can make; its table lets nothing be given by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.drivers import builders, registry
from vifplug.drivers.contract import Options
from vifplug.drivers.guest_end import GuestEnd, VhostUser
from vifplug.drivers.ovs import Ovs
from vifplug.model.vif import Vif
from vifplug.privileged.ovsdb import columns
from vifplug.resources.contract import Resource

PORT = "vhu00000001-d1c"
VIF = faults.vif("ovs", 1).model_copy(update={"vif_type": "tunnel"})


class Tunnel(Ovs):
    """A port with a type and options, and no device."""

    vif_type = "tunnel"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"type": "vxlan", "options": {"remote_ip": "192.0.2.1"}}

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        return [replace(builders.ovs_port(vif, options, PORT), qos_type=None, settings=self.settings)]

    def guest_end(self, vif: Vif) -> GuestEnd:
        return VhostUser("/run/x", is_server=True)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Tunnel:
    made = Tunnel()
    monkeypatch.setattr(registry, "drivers", lambda: {"tunnel": made})
    return made


@pytest.fixture
def host(world: World, driver: Tunnel, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    allowed = {"type": lambda value: value == "vxlan", "options": lambda value: set(value) == {"remote_ip"}}
    for name, allows in allowed.items():
        monkeypatch.setitem(columns._INTERFACE, name, replace(columns._INTERFACE[name], allows=allows))
    with vifplug.local(str(world.config_file)) as host:
        yield host


def interface(world: World) -> dict[str, Any]:
    row = world.row("Interface", PORT)
    assert row is not None
    return row


def test_port_gets_what_it_asks_for_and_keeps_it(world: World, host: LocalHost, driver: Tunnel) -> None:
    (report,) = host.plug([VIF])
    assert report.waiting_for is None
    assert interface(world)["type"] == "vxlan"
    assert host.check([VIF.id]).clean
    assert not host.plan([VIF]).actions
    world.vsctl("set", "Interface", PORT, "options:remote_ip=192.0.2.9", "mtu_request=1300")
    (checked,) = host.check([VIF.id]).vifs
    drift = {item.attribute: (item.observed, item.desired) for item in checked.drift}
    assert drift["options"] == ("remote_ip=192.0.2.9", "remote_ip=192.0.2.1")
    assert drift["mtu_request"] == (1300, None)
    host.repair([VIF.id])
    assert host.check([VIF.id]).clean
    driver.settings = {"type": "vxlan", "options": {"remote_ip": "192.0.2.2"}}
    host.plug([VIF])
    assert interface(world)["options"] == {"remote_ip": "192.0.2.2"}
    host.unplug([VIF.id])
    assert world.row("Interface", PORT) is None


def test_values_that_the_table_does_not_allow_are_refused(world: World, host: LocalHost, driver: Tunnel) -> None:
    for settings in (
        {"type": "geneve"},
        {"options": {"remote_ip": "192.0.2.1", "key": "1"}},
        {"bfd": {"enable": "true"}},
    ):
        driver.settings = settings
        with pytest.raises(errors.PermissionDenied):
            host.plug([VIF])
    assert world.row("Interface", PORT) is None
    assert not host.list()
