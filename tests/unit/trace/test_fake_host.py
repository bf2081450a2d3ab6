"""A trace by the library on a fake host: every vif_type, with a guest and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import vifplug
from tests.support.vifs import BRIDGE, EXTERNAL, HYBRID, LONE_TAP, OVS, OWN_BRIDGE, Request
from vifplug.testing import FakeHost

WELL = "Nothing that was looked at stops frames of this VIF."
TAP = OVS.but(create_tap=True)


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        yield made


def verdict(host: FakeHost, request: Request) -> str:
    return host.trace(request.id, interval=0.1).verdict


@pytest.mark.parametrize("request_", [HYBRID, TAP, BRIDGE, LONE_TAP, OWN_BRIDGE], ids=lambda each: each.type)
def test_guest_that_is_missing_is_the_cause_and_one_that_runs_is_none(host: FakeHost, request_: Request) -> None:
    host.plug([request_.vif])
    assert "there is no guest" in verdict(host, request_) and "since 20" in verdict(host, request_)
    host.start_guest(request_.id)
    assert verdict(host, request_) == WELL


def test_what_cannot_be_seen_is_named(host: FakeHost) -> None:
    host.plug([HYBRID.vif, EXTERNAL.vif])
    assert any("OpenFlow flows" in each for each in host.trace(HYBRID.id, interval=0.1).claims.not_looked_at)
    external = host.trace(EXTERNAL.id, interval=0.1).claims.not_looked_at
    assert any("pci-function" in each for each in external)


def test_open_vswitch_that_is_away_is_the_cause(host: FakeHost) -> None:
    host.plug([HYBRID.vif])
    host.start_guest(HYBRID.id)
    host.stop_ovs()
    report = host.trace(HYBRID.id, interval=0.1)
    assert "may stop at OVSDB" in report.verdict and len(report.causes) == 1
    host.start_ovs()
    assert verdict(host, HYBRID) == WELL


def test_drift_is_named_with_its_repair(host: FakeHost) -> None:
    host.plug([HYBRID.vif])
    host.drift(HYBRID.id)
    assert f"vifplug repair {HYBRID.id}" in verdict(host, HYBRID)


def test_wrong_arguments_are_refused(host: FakeHost) -> None:
    host.plug([HYBRID.vif])
    for interval in (0, 61, "1", True, float("nan")):
        with pytest.raises(vifplug.errors.InputError, match="interval"):
            host.trace(HYBRID.id, interval=interval)  # type: ignore[arg-type]
    with pytest.raises(vifplug.errors.InputError, match="probe"):
        host.trace(HYBRID.id, interval=0.1, probe=1)  # type: ignore[arg-type]
    with pytest.raises(vifplug.errors.UnknownVif):
        host.trace(TAP.id, interval=0.1)
