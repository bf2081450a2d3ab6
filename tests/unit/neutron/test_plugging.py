"""Which ports the agent has plugged, what it repeats, and what it gives up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.neutron.test_requests import DETAILS, NETWORK, PORT
from vifplug.errors import DaemonUnreachable, HelperDied, LinkError
from vifplug.neutron.host_setup import HostSetup
from vifplug.neutron.plugging import NotNowError, Plugging
from vifplug.testing import FakeHost

FLAT = {**DETAILS, "network_type": "flat", "physical_network": "physnet1", "segmentation_id": None}
TAP = str(DETAILS["device"])
SETUP = HostSetup(mappings={"physnet1": "eth1"})


class Kept(FakeHost):
    """A host that stays when an agent closes its connection."""

    def close(self) -> None:
        """Nothing: the fixture ends it."""

    def __exit__(self, *_raised: object) -> None:
        self.close()


@pytest.fixture
def host() -> Iterator[Kept]:
    made = Kept(physical_devices={"physnet1": "eth1"})
    yield made
    FakeHost.close(made)


@pytest.fixture
def plugging(host: Kept) -> Plugging:
    return Plugging(lambda: host, SETUP)


def test_port_is_plugged_and_unplugged(host: Kept, plugging: Plugging) -> None:
    assert plugging.plug(FLAT)
    (vif,) = host.list()
    assert (vif.id, vif.join_tap, vif.waiting_for) == (PORT, True, TAP)
    assert (plugging.network_of(TAP), plugging.devices_of(NETWORK), plugging.failed()) == (NETWORK, {TAP}, set())
    plugging.unplug([TAP])
    assert (host.list(), plugging.network_of(TAP)) == ([], None)


def test_port_of_an_earlier_run_is_known_by_its_record(host: Kept, plugging: Plugging) -> None:
    plugging.plug(FLAT)
    again = Plugging(lambda: host, SETUP)
    assert again.left(set()) == {TAP}
    assert again.left({TAP}) == set()
    again.unplug([TAP])
    assert host.list() == []


def test_vif_of_another_user_is_neither_left_nor_unplugged(host: Kept, plugging: Plugging) -> None:
    import vifplug

    own = {"id": PORT, "vif_type": "bridge", "address": DETAILS["mac_address"], "network": {"id": NETWORK}}
    host.plug([vifplug.load(own)])
    assert plugging.left(set()) == set()
    plugging.unplug([TAP])
    assert [vif.id for vif in host.list()] == [PORT]
    # With a tap that vifplug made for the compute service, the agent adds the uplink and leaves the tap.
    assert plugging.plug(FLAT)
    (vif,) = host.list()
    assert vif.join_tap is None
    assert {device.kind for device in vif.devices} == {"tap", "bridge", "nic"}


def test_port_that_another_user_unplugged_is_found(host: Kept, plugging: Plugging) -> None:
    plugging.plug(FLAT)
    assert plugging.lost({TAP}) == set()
    host.unplug([PORT])
    assert plugging.lost({TAP}) == {TAP}
    assert plugging.lost(set()) == set()


@pytest.mark.parametrize("error", [DaemonUnreachable("no daemon"), HelperDied("the helper ended")])
def test_error_that_passes_is_repeated_later(host: Kept, plugging: Plugging, error: Any) -> None:
    host.fail_next(error)
    with pytest.raises(NotNowError):
        plugging.plug(FLAT)
    assert plugging.plug(FLAT)


def test_port_that_cannot_be_plugged_is_one_line(
    host: Kept, plugging: Plugging, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for _try in range(3):
            host.fail_next(LinkError("could not create eth1.5: no such kind"))
            assert not plugging.plug(FLAT)
        assert plugging.failed() == {TAP}
        assert not plugging.plug({**FLAT, "physical_network": "other"})
    assert [record.getMessage().partition(" is not plugged: ")[2][:30] for record in caplog.records] == [
        "could not create eth1.5: no su",
        f"port {PORT}"[:30],
    ]
    assert plugging.plug(FLAT)
    assert plugging.failed() == set()


def test_absent_daemon_is_noticed_by_the_report_too() -> None:
    def connect() -> Any:
        raise DaemonUnreachable("no daemon")

    plugging = Plugging(connect, SETUP)
    with pytest.raises(DaemonUnreachable):
        plugging.vifs()
    with pytest.raises(NotNowError):
        plugging.left(set())
