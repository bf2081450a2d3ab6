"""GET /v1/vifs with filters and an order; and the plan of an unplug."""

from __future__ import annotations

import pathlib
import typing
import urllib.parse

import pytest

from tests.support.daemon.daemon_calls import READER, Daemon
from vifplug.daemon.http import requests
from vifplug.model import reports
from vifplug.model.queries.selection import SORT_KEYS

FIRST, SECOND = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
INSTANCE = "5b1a6d62-7d3a-4f5c-a9e4-6b1b4d8d2f10"
VIFS = [
    {
        "id": FIRST,
        "vif_type": "ovs-hybrid",
        "address": "fa:16:3e:eb:5e:26",
        "instance": {"uuid": INSTANCE, "name": "vm 1"},
    },
    {"id": SECOND, "vif_type": "ovs", "address": "fa:16:3e:00:00:02", "network": {"mtu": 1400}},
]


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    return Daemon(tmp_path)


@pytest.fixture
def plugged(daemon: Daemon) -> Daemon:
    assert daemon.ask("POST", "/v1/batch", {"plug": VIFS}).status == 200
    return daemon


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ([], [FIRST, SECOND]),
        ([("state", "wired")], [FIRST, SECOND]),
        ([("state", "failed"), ("state", "wired"), ("type", "ovs")], [SECOND]),
        ([("type", "ovs"), ("type", "ovs-hybrid"), ("sort", "id")], [SECOND, FIRST]),
        ([("state", "failed")], []),
        ([("instance", "vm 1")], [FIRST]),
        ([("instance", INSTANCE.upper())], [FIRST]),
        ([("bridge", "br-int"), ("sort", "mtu")], [SECOND, FIRST]),
        ([("bridge", "qbr71a6b0e4-1a")], [FIRST]),
        ([("bridge", "br-ex")], []),
    ],
)
def test_list_is_filtered_and_sorted(plugged: Daemon, query: list[tuple[str, str]], ids: list[str]) -> None:
    answer = plugged.ask("GET", f"/v1/vifs?{urllib.parse.urlencode(query)}", uid=READER)
    assert answer.status == 200
    listed = [vif["id"] for vif in answer.json["vifs"]]
    assert listed == ids if ("sort" in dict(query)) else sorted(listed) == sorted(ids)


@pytest.mark.parametrize("query", ["state=gone", "sort=colour", "states=wired", "sort=id&sort=mtu&x=1"])
def test_wrong_filter_is_refused(daemon: Daemon, query: str) -> None:
    answer = daemon.ask("GET", f"/v1/vifs?{query}")
    assert (answer.status, answer.error) == (400, "InputError")


def test_pages_of_a_filtered_list(plugged: Daemon) -> None:
    query = urllib.parse.urlencode([("state", "wired"), ("state", "failed"), ("limit", "1")])
    first = plugged.ask("GET", f"/v1/vifs?{query}")
    assert [vif["id"] for vif in first.json["vifs"]] == [SECOND]
    link = first.headers["link"]
    assert link == f'</v1/vifs?{query}&after={SECOND}>; rel="next"'
    second = plugged.ask("GET", link[1 : link.index(">")])
    assert [vif["id"] for vif in second.json["vifs"]] == [FIRST]
    assert plugged.ask("GET", "/v1/vifs?sort=mtu&limit=1").error == "InputError"


def test_words_of_the_description_are_those_of_the_library() -> None:
    assert typing.get_args(requests.State) == reports.STATES
    assert typing.get_args(requests.SortKey) == SORT_KEYS


def test_unplug_can_be_planned_by_a_reader_and_changes_nothing(plugged: Daemon) -> None:
    planned = plugged.ask("POST", "/v1/batch", {"unplug": [SECOND], "dry_run": True}, uid=READER)
    assert planned.json == plugged.host.plan_unplug([SECOND]).as_json()
    assert planned.json["actions"][0]["action"] == "delete-port"
    assert plugged.ask("GET", f"/v1/vifs/{SECOND}").status == 200
