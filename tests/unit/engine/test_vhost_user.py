"""A VIF whose guest's end is a vhost-user socket: what it asks of its port, when it is active, what is taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.fake_host import FakeHost
from vifplug.engine import wiring
from vifplug.engine.commands import reconcile
from vifplug.engine.host import Scope
from vifplug.engine.plan.actions import SetPort
from vifplug.errors import Conflict, InputError, OvsdbError
from vifplug.model.vif import Vif

ID = "3fe5648f-4734-49a7-9fef-daa6f86f6799"
PORT = "vhu3fe5648f-47"
SOCKET = f"/var/lib/vhost_sockets/{PORT}"


def vif(mode: str = "server", mtu: int = 1450, **changes: Any) -> Vif:
    document = {"id": ID, "vif_type": "vhost-user", "address": "fa:16:3e:95:3a:3d", "network": {"mtu": mtu}}
    return Vif.model_validate({**document, "vhost_user": {"socket": SOCKET, "mode": mode}, **changes})


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("server", {"type": "dpdkvhostuserclient", "options": f"vhost-server-path={SOCKET}", "mtu_request": 1450}),
        ("client", {"type": "dpdkvhostuser", "mtu_request": 1450}),
    ],
)
def test_port_has_the_other_part_at_the_socket(
    plugger: Plugger, host: FakeHost, mode: str, settings: dict[str, Any]
) -> None:
    (report,) = plugger.plug([vif(mode)])
    assert host.ports[PORT].settings == settings
    assert (report.devices, report.waiting_for) == ((), None)
    assert [port.name for port in report.ports] == [PORT]
    assert not host.links
    assert not plugger.plan([vif(mode)])
    plugger.unplug([ID])
    assert not host.ports


@pytest.mark.parametrize(
    ("link_state", "state", "waits"),
    [("up", "active", None), ("down", "wired", "(link_state down)"), (None, "wired", "(link_state unknown)")],
)
def test_vif_is_active_while_the_guests_driver_uses_the_socket(
    plugger: Plugger, host: FakeHost, link_state: str | None, state: str, waits: str | None
) -> None:
    plugger.plug([vif()])
    host.ports[PORT] = replace(host.ports[PORT], link_state=link_state)
    record = plugger.store.record(ID)
    assert record is not None
    observed = host.observe(Scope(everything=True))
    assert wiring.state_of(record, observed, plugger.wiring()) == (state, None)
    awaited = wiring.awaited(record, observed, plugger.wiring(), "active")
    assert (awaited or "").endswith(waits or "")
    assert (awaited is None) is (waits is None)
    assert not observed.ports[PORT].settings.get("link_state")


def test_replug_that_fails_gives_the_columns_back(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([vif()])
    before = host.ports[PORT]
    host.stuck = True
    with pytest.raises(Exception, match="did not carry out"):
        plugger.plug([vif("client", mtu=1400)])
    host.stuck = False
    assert host.ports[PORT] == before


def test_columns_of_another_program_are_not_given_back(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([vif()])
    host.ports[PORT] = replace(host.ports[PORT], settings={**host.ports[PORT].settings, "mtu_request": 9000})
    (change,) = plugger.plan([vif("client")]).actions
    assert isinstance(change, SetPort)
    inverse = change.inverse()
    assert isinstance(inverse, SetPort)
    assert inverse.given == {"type": "dpdkvhostuserclient", "options": {"vhost-server-path": SOCKET}}
    assert inverse.emptied == ()


def test_two_vifs_with_one_name_are_a_conflict(plugger: Plugger) -> None:
    plugger.plug([vif()])
    other = vif(id="3fe5648f-4799-49a7-9fef-daa6f86f6799", address="fa:16:3e:95:3a:3e")
    with pytest.raises(Conflict, match=PORT):
        plugger.plug([other])
    socket = {"socket": "/var/lib/vhost_sockets/vhu-other"}
    plugger.plug([vif(id=other.id, address=other.address, names={"vhu": "vhu-other"}, vhost_user=socket)])


@pytest.mark.parametrize("name", ["db.sock", "vhu.sock", "br-int"])
def test_port_that_listens_cannot_have_the_name_of_another_file(plugger: Plugger, host: FakeHost, name: str) -> None:
    part = {"socket": f"/var/lib/vhost_sockets/{name}", "mode": "client"}
    with pytest.raises(InputError, match=rf"names\.vhu '{name}' .* must begin with 'vhu', without"):
        plugger.plug([vif(names={"vhu": name}, vhost_user=part)])
    assert not host.ports
    plugger.plug([vif(names={"vhu": name}, vhost_user={**part, "mode": "server"})])


def test_error_of_the_interface_takes_the_port_back(plugger: Plugger, host: FakeHost) -> None:
    host.fail_at, host.fail_with = 0, OvsdbError("could not open network device (Address family not supported)")
    with pytest.raises(OvsdbError):
        plugger.plug([vif()])
    assert not host.ports
    assert not plugger.store.contents().records


@pytest.mark.parametrize(("link_state", "is_down"), [("up", False), ("down", True), (None, True)])
def test_survey_names_the_guests_that_vswitchd_calls_down(
    plugger: Plugger, host: FakeHost, link_state: str | None, is_down: bool
) -> None:
    plugger.plug([vif(), builders.vif("ovs")])
    assert reconcile.survey(plugger, None).called_down == {ID}
    host.ports[PORT] = replace(host.ports[PORT], link_state=link_state)
    assert reconcile.survey(plugger, None).called_down == ({ID} if is_down else set())
    assert reconcile.is_in_use(ID, host.observe(Scope(everything=True))) is not is_down
    del host.ports[PORT]
    assert not reconcile.survey(plugger, None).called_down


def test_refresh_is_a_transaction_that_changes_no_row(plugger: Plugger, host: FakeHost) -> None:
    reconcile.refresh(plugger, [ID])
    plugger.plug([vif()])
    before, applied = dict(host.ports), len(host.applied)
    reconcile.refresh(plugger, [ID])
    (change,) = host.applied[applied:]
    assert (change.plane, host.ports) == ("ports", before)
