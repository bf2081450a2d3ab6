"""The daemon's logs: one JSON object a line, with the request it is about; and its metrics."""

from __future__ import annotations

import io
import json
import logging
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import builders
from tests.support.daemon.daemon_calls import ADMIN, OPERATOR, STRANGER, Daemon
from vifplug.daemon import logs
from vifplug.daemon.http.protocol import Peer
from vifplug.daemon.metrics import Metrics
from vifplug.errors import Conflict, LinkError

LOG = logging.getLogger("vifplug.test")
ONE = f"/v1/vifs/{builders.HYBRID}"
DOCUMENT = {"id": builders.HYBRID, "vif_type": "ovs-hybrid", "address": "fa:16:3e:eb:5e:26"}


class Lines(io.StringIO):
    """What was logged, but for the asking side's own words."""

    @property
    def objects(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in found if line["logger"] != "httpx"]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The daemon's logging in place of pytest's for the length of a test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = Lines()
    logs.start(logging.INFO, stream)
    try:
        yield stream
    finally:
        root.handlers[:], root.level = handlers, level
        logging.captureWarnings(False)


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    return Daemon(tmp_path)


def test_line_is_one_object_whatever_is_logged(lines: Lines) -> None:
    # pytest's own handler would keep what is logged, and pytest-xdist cannot pass on what no encoding can say.
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if getattr(each, "stream", None) is lines]
    LOG.warning("two\nlines, \ud800 and %s", {"a": 1}, extra={"vif_id": "x", "path": pathlib.Path("/")})
    (line,) = lines.objects
    assert line.pop("time").startswith("20")
    assert line == {
        "level": "WARNING",
        "logger": "vifplug.test",
        "message": "two\nlines, \\ud800 and {'a': 1}",
        "vif_id": "x",
        "path": "/",
    }


def test_exception_is_in_its_line(lines: Lines) -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        LOG.exception("it failed")
    assert lines.objects[0]["exception"].endswith("ValueError: wrong")


def test_every_line_of_a_request_says_which_it_is_for(daemon: Daemon, lines: Lines) -> None:
    daemon.ask("PUT", ONE, DOCUMENT, uid=OPERATOR, headers={"X-Request-Id": "mine"})
    assert {line["logger"] for line in lines.objects} == {
        "vifplug.engine.apply.executor",
        "vifplug.daemon.http.middleware",
    }
    for line in lines.objects:
        assert line["request_id"] == "mine"
        assert line["vif_id"] == builders.HYBRID
        assert line["peer"] == {"pid": 42, "uid": OPERATOR, "gid": OPERATOR}
    assert lines.objects[-1]["status"] == 200


def test_request_for_several_vifs_names_them_all(daemon: Daemon, lines: Lines) -> None:
    ids = [builders.HYBRID, builders.TAP]
    daemon.ask("POST", "/v1/batch", {"unplug": ids})
    assert lines.objects[-1]["vif_ids"] == ids


def test_looking_is_not_logged_and_a_refusal_is(daemon: Daemon, lines: Lines) -> None:
    daemon.ask("GET", "/v1/vifs")
    daemon.ask("GET", "/healthz", uid=None)
    assert not lines.objects
    daemon.ask("GET", "/v1/vifs", uid=STRANGER)
    (line,) = lines.objects
    assert (line["status"], line["peer"]["uid"]) == (403, STRANGER)


def test_line_outside_a_request_names_none(daemon: Daemon, lines: Lines) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    lines.truncate(0)
    LOG.info("by itself")
    assert "request_id" not in lines.getvalue()


def test_requests_do_not_mix(lines: Lines) -> None:
    def work(number: int) -> None:
        peer = Peer(pid=number, uid=number, gid=number)
        logs.CURRENT.set(logs.Request(id=str(number), peer=peer))
        for _ in range(20):
            LOG.info("%d", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines.objects) == 160
    assert all(line["request_id"] == line["message"] == str(line["peer"]["uid"]) for line in lines.objects)


def test_metrics_are_prometheus_text_and_the_gauges_are_there() -> None:
    metrics = Metrics()
    metrics.vifs.labels("plugged").set(3)
    metrics.resyncs.labels("start").inc()
    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    assert families["vifplug_vifs"].samples[0].value == 3
    for name in ("drifted_attributes", "orphans", "orphans_collected", "queue", "resyncs", "ovsdb_connected"):
        assert f"vifplug_{name}" in families
    assert all(family.documentation for family in families.values())


@pytest.mark.parametrize(("error", "result"), [(None, "ok"), (Conflict("x"), "refused"), (LinkError("x"), "failed")])
def test_time_is_kept_by_result(error: Exception | None, result: str) -> None:
    metrics = Metrics()
    try:
        with metrics.timed(metrics.repair_seconds):
            if error:
                raise error
    except (Conflict, LinkError):
        pass
    assert metrics.registry.get_sample_value("vifplug_repair_seconds_count", {"result": result}) == 1


def test_two_daemons_in_one_process_count_apart(daemon: Daemon) -> None:
    daemon.ask("GET", "/v1/vifs", uid=ADMIN)
    assert Metrics().registry.get_sample_value("vifplug_requests_total") is None
