"""A guest's end that is no tap, and a driver of the first contract."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.fake_host import FakeHost
from vifplug.drivers import guest_end, registry
from vifplug.drivers.contract import Options
from vifplug.drivers.guest_end import GuestEnd
from vifplug.drivers.ovs import Ovs
from vifplug.engine import wiring
from vifplug.engine.commands import inspect
from vifplug.engine.plan import guest_absence
from vifplug.errors import InputError
from vifplug.guest import libvirt
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource
from vifplug.resources.observed import Observed

ENDS = [
    None,
    guest_end.VhostUser("/var/lib/vhost_sockets/vhu0", is_server=True),
    guest_end.HostDevice("0000:3b:10.2"),
    guest_end.Macvtap("eth1", "bridge"),
]


SOCKET = (
    "a guest whose driver uses socket '/var/lib/vhost_sockets/vhu0' of Interface 'tap81ab5618-df' (link_state unknown)"
)


class Elsewhere(Ovs):
    """A VIF whose guest opens no tap."""

    def __init__(self, end: GuestEnd) -> None:
        self.end = end

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        return super().resources(vif.model_copy(update={"create_tap": False}), options)[-1:]

    def guest_end(self, vif: Vif) -> GuestEnd:
        return self.end


class First:
    """A driver as they were written when the contract asked for a tap's name."""

    vif_type = "ovs"
    makes_tap = False

    def guest_link(self, vif: Vif) -> str:
        return "first0"

    resources = Ovs.resources
    switch = Ovs.switch


@pytest.fixture
def plugger(tmp_path: pathlib.Path) -> Plugger:
    return builders.plugger(tmp_path, FakeHost())


@pytest.mark.parametrize("end", ENDS)
def test_guest_without_a_link_is_not_waited_for(
    plugger: Plugger, end: GuestEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "drivers", lambda: {"ovs": Elsewhere(end)})
    monkeypatch.setattr(registry, "_OWN_BY_TYPE", {})
    vif = builders.vif("ovs")
    (report,) = plugger.plug([vif])
    assert report.waiting_for is None
    assert [hop.kind for hop in inspect.path(plugger, vif.id).hops] == ["guest", "ovs-port", "ovs-bridge"]
    record = plugger.store.record(vif.id)
    assert record is not None
    assert not guest_absence.is_absent(record, Observed())
    # Nothing here shows whether the guest is up, so nothing says that it is.
    assert wiring.state_of(record, Observed(), plugger.wiring()) == ("wired", None)
    awaited = wiring.awaited(record, Observed(), plugger.wiring(), "active")
    is_socket = isinstance(end, guest_end.VhostUser)
    assert awaited == (SOCKET if is_socket else "a guest whose end this host does not show")
    if is_socket:
        assert 'path="/var/lib/vhost_sockets/vhu0" mode="server"' in libvirt.text(vif)
    elif isinstance(end, guest_end.HostDevice):
        assert '<address type="pci" domain="0x0000" bus="0x3b" slot="0x10" function="0x2"' in libvirt.text(vif)
    elif isinstance(end, guest_end.Macvtap):
        assert '<source dev="eth1" mode="bridge"' in libvirt.text(vif)
    else:
        with pytest.raises(InputError, match="is not known"):
            libvirt.text(vif)


def test_driver_of_the_first_contract_names_a_tap(plugger: Plugger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "drivers", lambda: {"ovs": First()})
    monkeypatch.setattr(registry, "_OWN_BY_TYPE", {})
    vif = builders.vif("ovs")
    assert registry.guest_end(vif) == guest_end.Tap("first0")
    (report,) = plugger.plug([vif])
    assert report.waiting_for == "first0"
    assert 'dev="first0"' in libvirt.text(vif)


def test_guest_of_a_driver_that_is_gone_is_the_tap_by_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "drivers", lambda: {})
    monkeypatch.setattr(registry, "_OWN_BY_TYPE", {})
    assert registry.guest_end(builders.vif("ovs")) == guest_end.Tap("tap81ab5618-df")
