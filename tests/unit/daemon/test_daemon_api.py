"""The daemon's application: what it answers, to whom, and how it says no."""

from __future__ import annotations

import json
import pathlib
import time
from typing import Any

import openapi_spec_validator
import pytest

import vifplug
from tests.support import builders
from tests.support.daemon.daemon_calls import ADMIN, OPERATOR, OTHER_OPERATOR, READER, STRANGER, UID_OF, Daemon
from vifplug import errors
from vifplug.daemon.http.protocol import Level
from vifplug.model.reports import CheckReport, GcReport, Orphan, PathReport, VifReport

ID = builders.HYBRID
ONE, PATH = f"/v1/vifs/{ID}", f"/v1/vifs/{ID}/path"
DOCUMENT: dict[str, Any] = {"id": ID, "vif_type": "ovs-hybrid", "address": "fa:16:3e:eb:5e:26"}
PORT = {
    "port": {
        "id": ID,
        "mac_address": "fa:16:3e:eb:5e:26",
        "network_id": builders.NETWORK,
        "binding:vif_type": "ovs",
        "binding:vif_details": {"bridge_name": "br-int", "ovs_hybrid_plug": True},
    }
}


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    return Daemon(tmp_path)


def _is_empty(daemon: Daemon) -> bool:
    return not (daemon.fake.links or daemon.fake.ports)


# -- what it answers --------------------------------------------------------------------------------------


def test_vif_is_plugged_shown_listed_checked_and_unplugged(daemon: Daemon) -> None:
    plugged = daemon.ask("PUT", ONE, DOCUMENT)
    assert (plugged.status, plugged.json["state"], plugged.json["ports"][0]["name"]) == (
        200,
        "plugged",
        "qvo71a6b0e4-1a",
    )
    shown = {**plugged.json, "state": "wired"}  # nobody else has anything to do
    assert daemon.ask("GET", ONE).json == shown
    assert daemon.ask("GET", "/v1/vifs").json == {"vifs": [shown], "warnings": []}
    assert daemon.ask("POST", "/v1/check").json["clean"] is True
    hops = daemon.ask("GET", PATH).json["hops"]
    assert [hop["kind"] for hop in hops] == ["guest", "tap", "bridge", "veth", "veth", "ovs-port", "ovs-bridge"]
    gone = daemon.ask("DELETE", ONE)
    assert (gone.status, gone.json["state"]) == (200, "unplugged")
    assert _is_empty(daemon)


def test_how_far_a_batch_has_come_is_shown_meanwhile(daemon: Daemon) -> None:
    assert daemon.ask("GET", f"{ONE}/progress").json == {"done": 0, "total": 0}
    with daemon.host._context.under_way.work([builders.TAP, ID], 12) as tell:
        tell(7)
        assert daemon.ask("GET", f"{ONE}/progress").json == {"done": 7, "total": 12}


def test_answers_are_the_reports_own_json(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    assert daemon.ask("GET", ONE).json == daemon.host.get(ID).as_json()
    assert daemon.ask("POST", "/v1/gc").json == {**daemon.host.gc().as_json(), "warnings": []}
    assert daemon.ask("POST", "/v1/check").json == {**daemon.host.check().as_json(), "warnings": []}


def test_put_takes_options_beside_the_document(daemon: Daemon) -> None:
    query = f"?format=neutron-port&mtu=1400&instance_uuid={builders.INSTANCE}&instance_name=web%201"
    vif = daemon.ask("PUT", ONE + query, PORT).json
    assert (vif["mtu"], vif["network"]) == (1400, builders.NETWORK)
    assert vif["instance"] == {"uuid": builders.INSTANCE, "name": "web 1"}


def test_put_of_a_dry_run_changes_nothing(daemon: Daemon) -> None:
    planned = daemon.ask("PUT", f"{ONE}?dry_run=true", DOCUMENT, uid=READER)
    assert planned.json["actions"][0]["action"] == "create-bridge"
    assert _is_empty(daemon)


def test_id_of_a_path_may_be_in_capitals(daemon: Daemon) -> None:
    assert daemon.ask("PUT", f"/v1/vifs/{ID.upper()}", DOCUMENT).status == 200
    assert daemon.ask("GET", f"/v1/vifs/{ID.upper()}").json["id"] == ID


@pytest.mark.parametrize("body", [{**DOCUMENT, "id": builders.TAP}, [DOCUMENT, {**DOCUMENT, "id": builders.TAP}]])
def test_put_of_another_vif_is_refused(daemon: Daemon, body: Any) -> None:
    assert daemon.ask("PUT", ONE, body).error == "InputError"
    assert _is_empty(daemon)


def test_unplug_of_an_unknown_vif_is_done(daemon: Daemon) -> None:
    assert daemon.ask("DELETE", ONE).json["state"] == "unplugged"


def test_batch_is_plugged_as_a_whole_or_not_at_all(daemon: Daemon) -> None:
    tap = {"id": builders.TAP, "vif_type": "ovs", "address": "fa:16:3e:b9:2c:38"}
    daemon.fake.fail_at = 4
    assert daemon.ask("POST", "/v1/batch", {"plug": [PORT, tap]}).error == "LinkError"
    assert _is_empty(daemon)
    answer = daemon.ask("POST", "/v1/batch", {"plug": [PORT, tap], "mtu": 1400}).json
    assert [(vif["id"], vif["mtu"]) for vif in answer["vifs"]] == [(ID, 1400), (builders.TAP, 1400)]
    gone = daemon.ask("POST", "/v1/batch", {"unplug": [ID, builders.TAP.upper()]}).json
    assert [vif["state"] for vif in gone["vifs"]] == ["unplugged", "unplugged"]
    assert _is_empty(daemon)


@pytest.mark.parametrize("document", [DOCUMENT, PORT, {"ports": [PORT["port"]]}])
def test_batch_takes_one_document_as_it_is(daemon: Daemon, document: Any) -> None:
    answer = daemon.ask("POST", "/v1/batch", {"plug": document, "format": "auto", "mtu": 1400}).json
    assert [(vif["id"], vif["mtu"]) for vif in answer["vifs"]] == [(ID, 1400)]


@pytest.mark.parametrize(
    ("plug", "said"),
    [
        ({}, "the document: an empty object"),
        ({**DOCUMENT, "address": "x"}, "address: 'x': it must be a MAC address"),
        ([{**DOCUMENT, "address": "x"}], "[0].address: 'x': it must be a MAC address"),
        (
            {**DOCUMENT, "vif_type": "vhostuser"},
            f"vif_type of VIF {ID} is 'vhostuser', which has no driver here",
        ),
        ("[]", "plug: '[]': it must be a VIF document, or a list of them"),
        (7, "plug: 7: it must be a VIF document, or a list of them"),
    ],
)
def test_batch_that_cannot_be_read_is_refused(daemon: Daemon, plug: Any, said: str) -> None:
    answer = daemon.ask("POST", "/v1/batch", {"plug": plug})
    assert (answer.status, answer.error) == (400, "InputError")
    assert answer.json["detail"].startswith(said)
    assert _is_empty(daemon)


def test_batch_of_a_dry_run_says_what_would_be_done(daemon: Daemon) -> None:
    answer = daemon.ask("POST", "/v1/batch", {"plug": [PORT], "dry_run": True}, uid=READER)
    assert answer.json == daemon.host.plan(vifplug.load_all([PORT])).as_json()
    assert _is_empty(daemon)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"plug": []}, {"vifs": [], "warnings": []}),
        ({"unplug": []}, {"vifs": [], "warnings": []}),
        ({"plug": [], "dry_run": True}, {"actions": []}),
    ],
)
def test_empty_batch_is_done(daemon: Daemon, body: Any, answer: Any) -> None:
    assert daemon.ask("POST", "/v1/batch", body).json == answer


def test_drift_is_found_and_repaired(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    del daemon.fake.ports["qvo71a6b0e4-1a"]
    checked = daemon.ask("POST", "/v1/check", {"ids": [ID]}, uid=READER).json
    assert (checked["clean"], checked["vifs"][0]["state"]) == (False, "drifted")
    repaired = daemon.ask("POST", "/v1/repair", {"ids": None})
    assert repaired.json["vifs"][0]["state"] == "wired"
    assert daemon.ask("POST", "/v1/check").json["clean"] is True


def test_warnings_are_reported_once(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    daemon.fake.stuck = True
    warnings = daemon.ask("POST", "/v1/batch", {"unplug": [ID]}).json["warnings"]
    assert len(warnings) == 1
    assert "did not carry out" in warnings[0]


def test_host_tells_of_itself_and_of_the_peer(daemon: Daemon) -> None:
    said = daemon.ask("GET", "/v1/host", uid=OPERATOR).json
    assert (said["level"], said["mtu"], said["integration_bridge"]) == ("operate", 1450, "br-int")
    assert said["ovs"] == {
        **{"connected": True, "connection": ["unix:/run/openvswitch/db.sock"]},
        **{"address": "unix:/run/openvswitch/db.sock", "ovs_version": "3.1.0", "db_version": "8.3.1"},
        **{"datapath_types": ["netdev", "system"], "iface_types": ["internal", "system", "tap"]},
    }
    assert said["vif_types"] == [
        *("bridge", "external", "host-device", "macvtap", "ovs", "ovs-hybrid", "tap", "vf", "vhost-user")
    ]
    assert (said["bridges"], said["integration_bridge_datapath"]) == ({"br-int": "netdev"}, "netdev")
    assert said["keeper"] == daemon.reconciler.status()


def test_doctor_tells_of_the_host_and_of_the_daemons_own_processes(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    told = daemon.ask("GET", "/v1/doctor", uid=READER).json
    checks = {one["check"]: one for one in told["checks"]}
    assert {"ovsdb", "vifs", "daemon"} <= checks.keys()
    assert checks["daemon"]["status"] == "ok"
    daemon.app.state.endings = ((time.time() - 3, "the privileged helper"),)
    told = daemon.ask("GET", "/v1/doctor", uid=READER).json
    (found,) = [one for one in told["checks"] if one["check"] == "daemon"]
    assert found["status"] == "warning"
    assert "the privileged helper ended 3 s ago" in found["reason"]


def test_health_is_anybodys_and_tells_when_ovsdb_is_away(daemon: Daemon) -> None:
    assert daemon.ask("GET", "/healthz", uid=None).json["status"] == "ok"
    daemon.reconciler.is_connected = False
    assert daemon.ask("GET", "/healthz", uid=STRANGER).json["status"] == "degraded"


# -- who may do what --------------------------------------------------------------------------------------

NEEDS = [
    ("GET", ONE, None, Level.READ),
    ("GET", PATH, None, Level.READ),
    ("GET", f"{ONE}/progress", None, Level.READ),
    ("GET", "/v1/vifs", None, Level.READ),
    ("GET", "/v1/host", None, Level.READ),
    ("GET", "/v1/doctor", None, Level.READ),
    ("GET", "/metrics", None, Level.READ),
    ("GET", "/openapi.json", None, Level.READ),
    ("GET", "/no-such-path", None, Level.READ),
    ("POST", "/v1/check", {}, Level.READ),
    ("POST", "/v1/check", {"ids": [ID]}, Level.READ),
    ("POST", "/v1/gc", {}, Level.READ),
    ("PUT", f"{ONE}?dry_run=1", DOCUMENT, Level.READ),
    ("POST", "/v1/batch", {"plug": [DOCUMENT], "dry_run": True}, Level.READ),
    ("PUT", ONE, DOCUMENT, Level.OPERATE),
    ("PUT", f"{ONE}?dry_run=0", DOCUMENT, Level.OPERATE),
    ("DELETE", ONE, None, Level.OPERATE),
    ("POST", "/v1/batch", {"plug": [DOCUMENT]}, Level.OPERATE),
    ("POST", "/v1/batch", {"unplug": [ID]}, Level.OPERATE),
    ("POST", "/v1/repair", {"ids": [ID]}, Level.OPERATE),
    ("POST", "/v1/repair", {}, Level.ADMIN),
    ("POST", "/v1/repair", None, Level.ADMIN),
    ("POST", "/v1/gc", {"delete": True}, Level.ADMIN),
]


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize(("method", "path", "body", "needed"), NEEDS)
def test_level_decides(daemon: Daemon, method: str, path: str, body: Any, needed: Level, level: Level) -> None:
    daemon.ask("PUT", ONE, DOCUMENT, uid=OPERATOR)
    before = dict(daemon.fake.links)
    answer = daemon.ask(method, path, body, uid=UID_OF[level])
    assert (answer.status != 403) == (level >= needed), answer.body
    if level < needed:
        assert answer.error == "NotPermitted"
        assert daemon.fake.links == before


def test_peer_without_credentials_is_refused(daemon: Daemon) -> None:
    assert daemon.ask("GET", "/v1/vifs", uid=None).error == "NotPermitted"


@pytest.mark.parametrize("name", ["X-Forwarded-User", "Remote-User", "Authorization", "X-Peer", "X-Uid"])
def test_what_a_peer_says_of_itself_counts_for_nothing(daemon: Daemon, name: str) -> None:
    assert daemon.ask("GET", "/v1/vifs", uid=STRANGER, headers={name: "root"}).status == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", ONE, None),
        ("PUT", ONE, {**DOCUMENT, "network": {"mtu": 1300}}),
        ("POST", "/v1/batch", {"unplug": [ID]}),
        ("POST", "/v1/batch", {"plug": [DOCUMENT]}),
        ("POST", "/v1/repair", {"ids": [ID]}),
    ],
)
def test_operator_leaves_the_vifs_of_others_alone(daemon: Daemon, method: str, path: str, body: Any) -> None:
    daemon.ask("PUT", ONE, DOCUMENT, uid=OPERATOR)
    links, ports = dict(daemon.fake.links), dict(daemon.fake.ports)
    assert daemon.ask(method, path, body, uid=OTHER_OPERATOR).error == "NotPermitted"
    assert (daemon.fake.links, daemon.fake.ports) == (links, ports)
    assert daemon.ask(method, path, body, uid=OPERATOR).status == 200


def test_administrator_may_unplug_what_others_plugged(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT, uid=OPERATOR)
    assert daemon.ask("DELETE", ONE, uid=ADMIN).status == 200
    assert _is_empty(daemon)


# -- how it says no ---------------------------------------------------------------------------------------

STATUS_OF: dict[type[errors.VifplugError], int] = {
    errors.VifplugError: 500,
    errors.InputError: 400,
    errors.UnknownVif: 404,
    errors.ConfigError: 500,
    errors.Conflict: 409,
    errors.NotPermitted: 403,
    errors.Busy: 503,
    errors.StoreError: 500,
    errors.Damaged: 500,
    errors.Replaced: 500,
    errors.HostError: 500,
    errors.LinkError: 500,
    errors.OvsdbError: 500,
    errors.OvsUnavailable: 503,
    errors.BridgeMissing: 409,
    errors.ResourceMissing: 409,
    errors.TimedOut: 504,
    errors.VerifyError: 500,
    errors.PermissionDenied: 500,
    errors.HelperDied: 503,
    errors.TeardownError: 500,
}


@pytest.mark.parametrize("kind", STATUS_OF)
def test_every_error_has_its_status_and_survives_whole(
    daemon: Daemon, kind: type[errors.VifplugError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise kind("it went wrong", "qvo71a6b0e4-1a", "add port")

    method, verb = ("GET", "get") if kind is errors.UnknownVif else ("DELETE", "unplug")
    monkeypatch.setattr(daemon.host, verb, refuse)
    answer = daemon.ask(method, ONE)
    assert (answer.status, answer.error) == (STATUS_OF[kind], kind.__name__)
    assert answer.json["type"] == f"urn:vifplug:error:{kind.__name__}"
    assert answer.json["instance"] == ONE
    assert answer.json["error"] == {
        "type": kind.__name__,
        "message": "it went wrong",
        "step": "add port",
        "subject": "qvo71a6b0e4-1a",
        "retryable": kind.retryable,
    }
    assert answer.headers.get("retry-after") == ("1" if answer.status == 503 else None)


def test_unforeseen_error_is_a_problem_and_is_logged(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(daemon.host, "list", lambda: [][0])
    answer = daemon.ask("GET", "/v1/vifs")
    assert (answer.status, answer.error, answer.json["type"]) == (500, "InternalError", "about:blank")
    assert "IndexError" in answer.json["detail"]
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/v1/vifs/", 404, None),
        ("GET", f"{ONE}/more", 404, None),
        ("GET", "/docs", 404, None),
        ("POST", "/v1/vifs", 405, "GET, HEAD"),
        ("PATCH", ONE, 405, "DELETE, GET, HEAD, PUT"),
        ("HEAD", "/v1/batch", 405, "POST"),
        ("TEAPOT", "/healthz", 405, "GET, HEAD"),
    ],
)
def test_what_is_not_there_is_a_problem(daemon: Daemon, method: str, path: str, status: int, allow: str | None) -> None:
    answer = daemon.ask(method, path)
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    if method != "HEAD":
        assert (answer.error, answer.json["type"]) == ("InputError", "about:blank")


GARBAGE = [
    b"",
    b"   ",
    b"{",
    b"nonsense",
    b"null",
    b"[]",
    b"1",
    b'"text"',
    b"[1, 2]",
    b"{}",
    b"\xff\xfe",
    b"\x00",
    b'{"id": "\\ud800"}',
    b'{"plug": ["\\ud800"], "unplug": ["\\udfff"]}',
    b'{"a": NaN}',
    b'{"a": Infinity, "b": 1e999}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": 1, "a": 2}',
    b"[" * 100_000,
    b'{"plug": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"a":' * 100_000,
    b'{"ids": "all"}',
    b'{"ids": [1]}',
    b'{"ids": [null]}',
    b'{"ids": ["../../etc"]}',
    b'{"ids": ["net:71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"]}',
    b'{"ids": {"a": 1}, "delete": "yes", "dry_run": 1, "mtu": "1"}',
    b'{"unknown": 1}',
    b'{"plug": {"id": 1}}',
    b'{"plug": [null], "unplug": null}',
    b'{"plug": [{"port": {"port": {}}}]}',
    b'{"delete": 1}',
]


@pytest.mark.parametrize("path", [ONE, "/v1/batch", "/v1/check", "/v1/repair", "/v1/gc"])
@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:24]))
def test_garbage_is_refused_and_touches_nothing(daemon: Daemon, path: str, body: bytes) -> None:
    empty_is_fine = path in ("/v1/check", "/v1/repair", "/v1/gc") and body.strip() in (b"", b"{}")
    answer = daemon.ask("PUT" if path == ONE else "POST", path, body)
    assert answer.status == (200 if empty_is_fine else 400), answer.body
    if not empty_is_fine:
        assert answer.error == "InputError"
        assert len(answer.json["detail"]) < 1000
        assert answer.json["detail"].isprintable()
    assert _is_empty(daemon)


@pytest.mark.parametrize(
    "query",
    [
        *("dryrun=true", "dry_run=maybe", "dry_run=true&x=1", "%ff=%00", "format=xml"),
        *("mtu=67", "mtu=65536", "mtu=x", "mtu=" + "9" * 5000),
        *("instance_uuid=1", "instance_name=", "instance_name=web"),
    ],
)
def test_wrong_query_is_refused_and_touches_nothing(daemon: Daemon, query: str) -> None:
    assert daemon.ask("PUT", f"{ONE}?{query}", DOCUMENT).error == "InputError"
    assert _is_empty(daemon)


def test_query_that_is_not_understood_is_not_ignored(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    assert daemon.ask("DELETE", f"{ONE}?dry_run=true").error == "InputError"
    assert daemon.ask("GET", "/v1/vifs?status=drifted").error == "InputError"
    assert not _is_empty(daemon)


@pytest.mark.parametrize("id", ["1", "x" * 5000, "%00", "%ff", f"net:{ID}", ID[:-1], f"{ID} ", "%F0%9F%92%A9"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/path"), ("DELETE", ""), ("PUT", "")])
def test_id_that_is_none_is_refused(daemon: Daemon, method: str, id: str, rest: str) -> None:
    answer = daemon.ask(method, f"/v1/vifs/{id}{rest}", DOCUMENT if method == "PUT" else None)
    assert answer.error == "InputError"
    assert answer.status in (400, 404, 405)


@pytest.mark.parametrize("path", [ONE, "/v1/batch", "/v1/gc"])
@pytest.mark.parametrize("is_declared", [True, False])
def test_too_large_a_body_is_refused(daemon: Daemon, path: str, is_declared: bool) -> None:
    body = b" " * (4 * 2**20 + 1)

    async def chunks() -> Any:
        for _ in range(65):
            yield body[: 2**16]

    method = "PUT" if path == ONE else "POST"
    answer = daemon.ask(method, path, body) if is_declared else daemon.ask(method, path, content=chunks())
    assert (answer.status, answer.error) == (413, "InputError")


def test_body_of_the_largest_size_is_read(daemon: Daemon) -> None:
    body = json.dumps(DOCUMENT).encode()
    assert daemon.ask("PUT", ONE, body + b" " * (4 * 2**20 - len(body))).status == 200


# -- ids, logs and metrics of requests --------------------------------------------------------------------


@pytest.mark.parametrize("given", ["mine-1", "a" * 64, "!~"])
def test_request_id_that_was_given_comes_back(daemon: Daemon, given: str) -> None:
    for path in ("/healthz", "/v1/vifs", "/nothing"):
        assert daemon.ask("GET", path, headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["a" * 65, "", "two words", "tab\tbed", "caf\xe9"])
def test_request_id_that_is_not_plain_is_replaced(daemon: Daemon, given: str) -> None:
    answer = daemon.ask("GET", "/v1/vifs/1", headers=[(b"X-Request-Id", given.encode("latin-1"))])
    assert answer.headers["x-request-id"] not in (given, "")
    assert answer.error == "InputError"


def test_requests_are_counted_and_timed_by_result(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    daemon.ask("PUT", ONE, {**DOCUMENT, "vif_type": "ovs"})
    daemon.ask("DELETE", ONE)
    daemon.ask("GET", "/nothing")
    daemon.ask("TEAPOT", "/healthz")
    daemon.fake.fail_at = len(daemon.fake.applied)
    daemon.ask("PUT", ONE, DOCUMENT)
    text = daemon.ask("GET", "/metrics", uid=READER).body.decode()
    for line in (
        'vifplug_plug_seconds_count{result="ok"} 1.0',
        'vifplug_plug_seconds_count{result="refused"} 1.0',
        'vifplug_plug_seconds_count{result="failed"} 1.0',
        'vifplug_unplug_seconds_count{result="ok"} 1.0',
        'vifplug_requests_total{method="PUT",path="/v1/vifs/{id}",status="200"} 1.0',
        'vifplug_requests_total{method="GET",path="other",status="404"} 1.0',
        'vifplug_requests_total{method="other",path="/healthz",status="405"} 1.0',
    ):
        assert line in text.splitlines(), line


# -- the description --------------------------------------------------------------------------------------


def test_description_is_valid_openapi(daemon: Daemon) -> None:
    openapi_spec_validator.validate(daemon.ask("GET", "/openapi.json", uid=READER).json)


def test_description_says_who_may_and_what_may_come_back(daemon: Daemon) -> None:
    for path, operations in daemon.app.openapi()["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"] and "\n" not in operation["summary"], where
            assert "level" in operation["description"], where
            wanted = {"200", "500"} | ({"400", "403"} if path != "/healthz" else set())
            wanted |= {"413"} if "requestBody" in operation else set()
            assert wanted <= set(operation["responses"]), where
            assert "422" not in operation["responses"], where


def test_every_shape_is_what_the_reports_say(daemon: Daemon) -> None:
    """The answers of ``Daemon.ask`` are checked against the description; these are the ones no test above sees."""
    schemas = daemon.app.openapi()["components"]["schemas"]
    vif = VifReport(id=ID, state="plugged", join_tap=True, actions=())
    assert set(schemas["VifReport"]["properties"]) == set(vif.as_json())
    assert set(schemas["Checked"]["properties"]) == {*CheckReport().as_json(), "warnings"}
    assert set(schemas["Collected"]["properties"]) == {*GcReport(absent=()).as_json(), "warnings"}
    orphan = Orphan(kind="qos", name="x", vif_id=ID)
    assert set(schemas["OrphanReport"]["properties"]) == set(orphan.as_json())
    assert set(schemas["Path"]["properties"]) == set(PathReport.__dataclass_fields__)
