"""What is logged of repairs that fail: once for a reason, however many VIFs and tries it holds for."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pytest

from vifplug.daemon.rate_limit import RecurringWarning
from vifplug.daemon.reconcile.reasons import Reasons
from vifplug.errors import BridgeMissing, LinkError, StoreError, TimedOut, VifplugError

VIFS = [f"{number:08x}-1a1b-4fd9-8f4a-7cab3f9a425b" for number in range(5)]
LOG = logging.getLogger("test.reasons")


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> Reasons:
    caplog.set_level(logging.INFO, LOG.name)

    def on_bridge(names: Collection[str]) -> Collection[str]:
        return VIFS if "br-int" in names else []

    return Reasons(LOG, on_bridge)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    taken = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return taken


def missing(vif_id: str) -> BridgeMissing:
    """As the planner says it, with each VIF's own id."""
    return BridgeMissing(f"no OVS bridge 'br-int' for VIF {vif_id}; create it first", "br-int")


def test_missing_bridge_is_logged_once_and_once_when_it_is_back(
    reasons: Reasons, caplog: pytest.LogCaptureFixture
) -> None:
    for _try in range(3):
        for vif_id in VIFS[:2]:  # found one after another
            reasons.failed(vif_id, missing(vif_id))
            reasons.log()
        reasons.failed(VIFS[2], BridgeMissing("no OVS bridge 'br-int'; the VIF is repaired later", "'br-int'"))
        reasons.log()
    (line,) = lines(caplog)
    assert line.startswith("could not repair 5 VIFs (") and "no OVS bridge 'br-int'" in line
    assert all(reasons.is_shared(vif_id) for vif_id in VIFS[:3])
    reasons.well(VIFS[:2])
    reasons.log()
    assert lines(caplog) == []
    reasons.well(VIFS)
    reasons.log()
    assert lines(caplog) == ["OVS bridge 'br-int' is back, or no VIF needs it any more"]
    reasons.failed(VIFS[0], missing(VIFS[0]))
    reasons.log()
    assert len(lines(caplog)) == 1, "the next time it is missing"


@pytest.mark.parametrize("kind", [StoreError, TimedOut, LinkError])
def test_reason_of_many_is_one_line_with_their_number(
    reasons: Reasons, caplog: pytest.LogCaptureFixture, kind: type[VifplugError]
) -> None:
    for number in range(2):
        for vif_id in VIFS[:4]:
            error = kind(f"VIF {vif_id}: qvo{vif_id[:11]}: the disk is full (cur_cfg {number}, next_cfg {number + 1})")
            reasons.failed(vif_id, error)
        reasons.log()
    (line,) = lines(caplog)
    assert line.startswith("could not repair 4 VIFs (") and "the disk is full" in line
    assert line.count(", ...") == 1
    reasons.keep_only([])
    reasons.log()
    (line,) = lines(caplog)
    assert line.startswith("no longer prevents the repair of 4 VIFs: ")


def test_vif_with_a_reason_of_its_own_is_named_and_another_reason_is_another_line(
    reasons: Reasons, caplog: pytest.LogCaptureFixture
) -> None:
    for words in ("eth1 is in the way", "eth1 is in the way", "eth2 is in the way"):
        reasons.failed(VIFS[0], LinkError(words))
        reasons.log()
    assert [line.rpartition(": ")[2] for line in lines(caplog)] == ["eth1 is in the way", "eth2 is in the way"]
    assert not reasons.is_shared(VIFS[0])


def test_what_fails_again_and_again_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG.name)
    failing = RecurringWarning(LOG)
    failing.over("it works")
    for words in ("disk full", "disk full", "disk full"):
        failing.warn(words)
    assert failing.over("it works")
    assert not failing.over("it works")
    assert lines(caplog) == ["disk full", "it works, after 3 tries: disk full"]


def test_warning_is_logged_again_when_its_key_changes_or_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    warning = RecurringWarning(LOG)
    for text, key in (("refused", "away"), ("timed out", "away"), ("no disk", "disk"), ("refused", "away")):
        warning.warn(text, key=key)
    warning.over()
    warning.warn("timed out", key="away", level=logging.ERROR)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3 + ["ERROR"]
    assert lines(caplog) == ["refused", "no disk", "refused", "timed out"]


def test_a_bug_is_logged_with_its_traceback_and_an_error_of_the_hosts_without(caplog: pytest.LogCaptureFixture) -> None:
    warning = RecurringWarning(LOG)
    for error in (LinkError("no link"), TypeError("odd")):
        warning.warn(str(error), error=error)
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [
        ("WARNING", False),
        ("ERROR", True),
    ]


def test_only_new_texts_of_an_update_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    warning = RecurringWarning(LOG)
    for texts in (["a"], ["a", "b"], ["b"], [], ["b"]):
        warning.update(texts)
    assert lines(caplog) == ["a", "b", "b"]
