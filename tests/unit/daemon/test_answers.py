"""Every answer's JSON to the byte: of the library's reports, and of the daemon over HTTP.

The golden file was written by the hand-written encoders that ``vifplug.model.codec`` replaced. A key that is added is
a line changed here; a key that changes place, type or name breaks a released face.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support import builders
from tests.support.daemon.daemon_calls import Daemon
from vifplug import version
from vifplug.cli import diagram
from vifplug.doctor.findings import Diagnosis, Finding
from vifplug.store import records

GOLDEN = pathlib.Path(__file__).with_name("answers.golden")
DOCUMENT = {
    "id": builders.HYBRID,
    "vif_type": "ovs-hybrid",
    "address": "fa:16:3e:eb:5e:26",
    "network": {"id": builders.NETWORK, "mtu": 1450},
    "instance": {"uuid": builders.INSTANCE, "name": "web-1"},
}
ONE = f"/v1/vifs/{builders.HYBRID}"
PUBLISHED = {
    *(
        "AbsentReport",
        "ActionReport",
        "Actions",
        "AllowedAddress",
        "BatchAnswer",
        "BatchRequest",
        "Checked",
        "CheckedVif",
    ),
    *(
        "ChosenRequest",
        "Cause",
        "Claims",
        "Counted",
        "Collected",
        "Device",
        "DiagnosisReport",
        "DriftReport",
        "ErrorReport",
        "FindingReport",
    ),
    *("ForeignDocument", "GcRequest", "GuestReport", "Health", "HopReport", "HostReport", "Instance"),
    *(
        "InstanceReport",
        "LoneTap",
        "Macvtap",
        "Names",
        "Neighbour",
        "Network",
        "OrphanReport",
        "OvsReport",
        "Path",
        "PciDevice",
        "PlugBody",
        "Port",
        "ProbeReport",
        "Problem",
    ),
    *(
        "ProgressReport",
        "Index",
        "RepairAnswer",
        "Repaired",
        "RepairRequest",
        "PutAnswer",
        "Station",
        "TapOwner",
        "TraceHop",
        "TraceReport",
        "TraceRequest",
        "TracedFrame",
        "TracedPort",
        "Uplink",
        "VhostUser",
        "Vif",
        "VifReport",
        "Vifs",
        "WaitRequest",
        "WaitedReport",
        "Waits",
    ),
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)")


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    return Daemon(tmp_path)


def _http(daemon: Daemon) -> Iterator[tuple[str, Any]]:
    def ask(method: str, path: str, body: Any = None) -> tuple[str, str]:
        return f"{method} {path}", daemon.ask(method, path, body).body.decode()

    yield ask("POST", "/v1/batch", {"plug": [DOCUMENT], "dry_run": True})
    yield ask("PUT", ONE, DOCUMENT)
    yield ask("POST", "/v1/batch", {"plug": [DOCUMENT]})
    yield ask("GET", ONE)
    yield ask("GET", "/v1/vifs")
    yield ask("GET", f"{ONE}/path")
    yield ask("GET", f"{ONE}/progress")
    yield ask("GET", f"{ONE}/guest/qemu")
    yield ask("GET", f"{ONE}/guest/libvirt")
    yield ask("GET", "/v1/host")
    yield ask("POST", "/v1/wait", {"ids": [builders.HYBRID], "for": "active"})
    daemon.fake.links["qvo71a6b0e4-1a"] = replace(daemon.fake.links["qvo71a6b0e4-1a"], mtu=1400)
    yield ask("POST", "/v1/check")
    yield ask("GET", f"{ONE}/path")
    yield ask("POST", "/v1/repair", {"ids": [builders.HYBRID]})
    yield ask("POST", "/v1/gc", {"keep": [], "absent_for": 0})
    daemon.store.forget([builders.HYBRID])
    yield ask("POST", "/v1/gc", {"delete": True})
    yield ask("POST", "/v1/batch", {"plug": [DOCUMENT]})
    yield ask("DELETE", ONE)
    yield ask("DELETE", ONE)
    yield ask("GET", "/v1/events?follow=false")
    yield ask("GET", ONE)
    yield ask("PUT", ONE, {**DOCUMENT, "address": "no"})
    yield ask("GET", "/healthz")


def _library(daemon: Daemon) -> Iterator[tuple[str, Any]]:
    host = daemon.host
    vif = builders.vif(instance={"uuid": builders.INSTANCE})
    yield "plan", host.plan([vif]).as_json()
    yield "plug", [one.as_json() for one in host.plug([vif])]
    yield "get", host.get(vif.id).as_json()
    yield "list", [one.as_json() for one in host.list()]
    yield "progress", host.progress(vif.id).as_json()
    yield "guest", host.guest(vif.id, "qemu").as_json()
    yield "look", host.look([vif.id, builders.TAP], "active").as_json()
    yield "host_info", host.host_info().as_json()
    del daemon.fake.ports["qvo71a6b0e4-1a"]
    yield "check", host.check().as_json()
    yield "diagram", diagram.as_json(host.path(vif.id))
    yield "repair", [one.as_json() for one in host.repair()]
    yield "gc", host.gc(keep=[], absent_for=0).as_json()
    yield "gc of orphans", host.gc().as_json()
    yield "unplug", [one.as_json() for one in host.unplug([vif.id, builders.TAP])]
    yield "events", [event.as_json() for event in host.events()]
    finding = Finding(check="firewall", status="error", subject="ip filter FORWARD", reason="drops", remedy="let them")
    yield "doctor", Diagnosis(findings=(Finding(check="store", status="ok"), finding)).as_json()


def _masked(text: str) -> str:
    values = {version.installed(): "VERSION", os.uname().release: "KERNEL", f'"pid": {os.getpid()}': '"pid": PID'}
    for value, name in values.items():
        text = text.replace(value, name)
    text = re.sub(r'"request_id": "[0-9a-f]+"', '"request_id": "ID"', text)
    return TIME.sub("TIME", text)


def test_every_answer_is_the_same_to_the_byte(daemon: Daemon, tmp_path: pathlib.Path) -> None:
    lines = [f"{name}\n{body}" for name, body in _http(daemon)]
    (tmp_path / "library").mkdir()
    lines += [f"{name}\n{json.dumps(document)}" for name, document in _library(Daemon(tmp_path / "library"))]
    said = _masked("\n\n".join(lines)) + "\n"
    if os.environ.get("VIFPLUG_WRITE_GOLDEN"):
        GOLDEN.write_text(said)
    assert said == GOLDEN.read_text()


def test_components_keep_the_names_that_generated_clients_have(daemon: Daemon) -> None:
    schemas = daemon.app.openapi()["components"]["schemas"]
    assert set(schemas) == PUBLISHED
    used = json.dumps(daemon.app.openapi())
    assert [name for name in PUBLISHED if f'"#/components/schemas/{name}"' not in used] == []
    undescribed = [name for name, part in schemas.items() if not part.get("description") and "anyOf" not in part]
    assert undescribed == []


def test_records_time_is_what_the_golden_file_masks() -> None:
    assert TIME.fullmatch(records.now())
