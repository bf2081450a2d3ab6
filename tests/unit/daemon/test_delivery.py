"""How answers are delivered: HEAD, ETag, gzip, pages, and the description of these."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import socket
import uuid

import pytest

from tests.support import builders
from tests.support.daemon.daemon_calls import READER, STRANGER, Answer, Daemon, served
from vifplug.daemon.http.delivery import negotiation, pages
from vifplug.daemon.http.protocol import Access, Members
from vifplug.model.reports import VifReport

ID = builders.HYBRID
ONE = f"/v1/vifs/{ID}"
READ = ("/v1/vifs", ONE, f"{ONE}/path", f"{ONE}/guest/qemu", "/v1/host", "/healthz", "/metrics", "/openapi.json")


def _document(vif_id: str, number: int = 0x26) -> dict[str, object]:
    return {"id": vif_id, "vif_type": "ovs-hybrid", "address": f"fa:16:3e:eb:5e:{number:02x}"}


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    daemon = Daemon(tmp_path)
    assert daemon.ask("PUT", ONE, _document(ID)).status == 200
    return daemon


def _head(answer: Answer) -> dict[str, str]:
    return {name: text for name, text in answer.headers.items() if name not in ("x-request-id", "date")}


# -- HEAD -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*READ, "/v1/events", f"/v1/vifs/{builders.TAP}", "/v1/vifs?limit=x", "/nothing"])
def test_head_has_the_status_and_the_headers_of_get_without_a_body(daemon: Daemon, path: str) -> None:
    got = daemon.ask("GET", path if path != "/v1/events" else "/v1/events?follow=false&since=0")
    asked = daemon.ask("HEAD", path if path != "/v1/events" else "/v1/events?follow=true&since=0")
    assert (asked.status, asked.body) == (got.status, b"")
    changing = {"content-length", "etag"} if path in ("/v1/host", "/metrics") else set()
    assert _head(asked).keys() == _head(got).keys()
    different = {name for name, text in _head(got).items() if _head(asked)[name] != text}
    assert different <= changing


def test_head_of_a_stream_leaves_no_subscriber(daemon: Daemon) -> None:
    for _ in range(3):
        assert daemon.ask("HEAD", "/v1/events").status == 200
    assert "vifplug_followers 0.0" in daemon.ask("GET", "/metrics").body.decode()


def test_head_is_counted_with_its_path_and_refused_without_a_level(daemon: Daemon) -> None:
    daemon.ask("HEAD", ONE, uid=READER)
    assert daemon.ask("HEAD", ONE, uid=STRANGER).status == 403
    counted = daemon.ask("GET", "/metrics").body.decode()
    assert 'vifplug_requests_total{method="HEAD",path="/v1/vifs/{id}",status="200"} 1.0' in counted


def test_head_on_a_socket_keeps_the_connection_usable(tmp_path: pathlib.Path) -> None:
    """A body after a HEAD would be read as the next answer."""
    own = Access(admins=Members(uids=frozenset({os.geteuid()})), operators=Members(), readers=Members())
    daemon = Daemon(tmp_path, access=own)
    with served(daemon.app, tmp_path / "s"), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(tmp_path / "s"))
        connection = http.client.HTTPConnection("vifplugd")
        connection.sock = peer
        for path, status in (("/v1/vifs", 200), ("/v1/nothing", 404), ("/v1/events", 200), ("/v1/vifs", 200)):
            connection.request("HEAD", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (status, b"")
        connection.request("GET", "/v1/vifs")
        assert json.loads(connection.getresponse().read()) == {"vifs": [], "warnings": []}
        daemon.hub.close()


# -- ETag -------------------------------------------------------------------------------------------------


def test_unchanged_answer_is_not_sent_again(daemon: Daemon) -> None:
    for path in ("/v1/vifs", ONE, f"{ONE}/path", "/openapi.json"):
        tag = daemon.ask("GET", path).headers["etag"]
        for method in ("GET", "HEAD"):
            again = daemon.ask(method, path, headers={"If-None-Match": f'"other", {tag}'})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag), path
            assert again.headers["x-request-id"]
            assert "content-type" not in again.headers


def test_changed_answer_has_another_tag(daemon: Daemon) -> None:
    tags = {path: daemon.ask("GET", path).headers["etag"] for path in ("/v1/vifs", ONE)}
    del daemon.fake.ports["qvo71a6b0e4-1a"]
    for path, tag in tags.items():
        changed = daemon.ask("GET", path, headers={"If-None-Match": tag})
        assert (changed.status, changed.headers["etag"] != tag) == (200, True)
    assert daemon.ask("GET", ONE).json["state"] == "drifted"


def test_errors_changes_and_texts_have_no_tag(daemon: Daemon) -> None:
    for method, path, body in (
        ("GET", f"/v1/vifs/{builders.TAP}", None),
        ("GET", "/metrics", None),
        ("POST", "/v1/check", None),
        ("PUT", ONE, _document(ID)),
    ):
        answer = daemon.ask(method, path, body, headers={"If-None-Match": "*"})
        assert (answer.status in (200, 404), "etag" in answer.headers) == (True, False)


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ("*", True),
        ('W/"a"', True),
        ('"a"', True),
        ('"b", W/"a"', True),
        ('"b" ,"a"', True),
        ('"b"', False),
        ("a", False),
        ("", False),
        ('"a', False),
        ('x "a"', False),
        ('"x\x01"', False),
    ],
)
def test_tags_are_compared_weakly(header: str, matches: bool) -> None:
    assert negotiation.is_not_modified(header, 'W/"a"') is matches


# -- gzip -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP;q=0.5, identity", True),
        ("x-gzip", True),
        ("br, deflate, gzip;q=1.0", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("", False),
        ("gzip;q=x", False),
    ],
)
def test_client_says_whether_it_takes_gzip(header: str, accepted: bool) -> None:
    assert negotiation.accepts_gzip(header) is accepted


def test_large_answer_is_compressed_on_request(daemon: Daemon) -> None:
    plain = daemon.ask("GET", "/openapi.json", headers={"Accept-Encoding": "identity"})
    packed = daemon.ask("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) * 4 < len(plain.body)
    assert (packed.body, packed.headers["etag"]) == (plain.body, plain.headers["etag"])  # the client unpacked it
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"


def test_small_answers_and_streams_are_never_compressed(daemon: Daemon) -> None:
    for path in (ONE, "/healthz", "/v1/events?follow=false&since=0"):
        answer = daemon.ask("GET", path, headers={"Accept-Encoding": "gzip"})
        assert (answer.status, answer.headers.get("content-encoding"), answer.headers.get("vary")) == (200, None, None)


# -- pages ------------------------------------------------------------------------------------------------


def test_pages_hold_every_vif_once_in_the_order_of_ids(daemon: Daemon) -> None:
    ids = {ID, *(str(uuid.UUID(int=number << 96 | number)) for number in range(1, 7))}
    others = sorted(ids - {ID})
    batch = {"plug": [_document(vif_id, number) for number, vif_id in enumerate(others)]}
    assert daemon.ask("POST", "/v1/batch", batch).status == 200
    found, path, requests = [], "/v1/vifs?limit=3&absent_for=0", 0
    while path:
        answer = daemon.ask("GET", path)
        page = [vif["id"] for vif in answer.json["vifs"]]
        found += page
        requests += 1
        link = answer.headers.get("link", "")
        assert bool(link) == (requests < 3)
        assert not link or link == f'</v1/vifs?limit=3&absent_for=0&after={page[-1]}>; rel="next"'
        path = link.partition(">")[0].lstrip("<")
    assert found == sorted(ids)


def test_page_after_a_vif_that_was_unplugged_meanwhile_continues() -> None:
    vifs = [VifReport(id=each, state="plugged") for each in "dabec"]
    assert [vif.id for vif in pages.page(vifs, 2, None)[0]] == ["a", "b"]
    left = [vif for vif in vifs if vif.id != "b"]
    shown, after = pages.page(left, 2, "b")
    assert ([vif.id for vif in shown], after) == (["c", "d"], "d")
    assert pages.page(left, 1, "d") == ([left[2]], None)
    assert pages.page(left, None, "e") == ([], None)
    assert pages.page(left, None, None) == (left, None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=10001", "limit"),
        ("after=x", "after: 'x': it must be a UUID"),
    ],
)
def test_wrong_page_is_refused(daemon: Daemon, query: str, words: str) -> None:
    answer = daemon.ask("GET", f"/v1/vifs?{query}")
    assert (answer.status, answer.error) == (400, "InputError")
    assert words in answer.json["detail"]


# -- the description --------------------------------------------------------------------------------------


def test_description_has_tags_and_tells_of_delivery(daemon: Daemon) -> None:
    drawn = daemon.ask("GET", "/openapi.json").json
    known = {tag["name"] for tag in drawn["tags"]}
    for path, operations in drawn["paths"].items():
        for method, operation in operations.items():
            assert len(operation["tags"]) == 1 and set(operation["tags"]) <= known
            is_json = "application/json" in operation["responses"]["200"]["content"]
            assert ("304" in operation["responses"]) == (is_json and method == "get"), path
    used = {tag for operations in drawn["paths"].values() for each in operations.values() for tag in each["tags"]}
    assert used == known
    assert "**Stability**" in drawn["info"]["description"]
