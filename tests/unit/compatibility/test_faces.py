"""Every face says today what it said in each recorded release, and may say more: faces grow, nothing released changes.

The release's answers are in tests/samples/compatibility, recorded by tests/compatibility/record.py.
"""

from __future__ import annotations

import copy
import functools
import json
import pathlib
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.compatibility import faces, superset
from tests.compatibility.superset import Description
from vifplug import errors
from vifplug.engine import report
from vifplug.engine.wiring import Wiring
from vifplug.store.store import Store

RECORDED = faces.SAMPLES / "compatibility"
RELEASES = sorted(path.name for path in RECORDED.iterdir())
VOLATILE = {"version", "installed", "text", "message", "detail", "reason", "remedy", "before", "title"}
"""Keys whose texts are for people, or name this version; they must be there."""


@functools.cache
def _now(face: str) -> Any:
    return faces.FACES[face]()


def _then(release: str, face: str) -> Any:
    return json.loads((RECORDED / release / f"{face}.json").read_text())


def _without_texts(value: Any) -> Any:
    """An answer without the texts for people, which may be said better."""
    if isinstance(value, Mapping):
        return {key: "a text" if key in VOLATILE and each else _without_texts(each) for key, each in value.items()}
    return [_without_texts(each) for each in value] if isinstance(value, list) else value


def _must_be_none(breaks: Iterator[str]) -> None:
    listed = [*breaks]
    assert not listed, "a released face has changed (docs/explanation/stability.md):\n" + "\n".join(listed)


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_there_is_a_release_to_compare_with() -> None:
    assert RELEASES
    for name in RELEASES:
        assert {path.stem for path in (RECORDED / name).iterdir()} == set(faces.FACES)


# -- the library ------------------------------------------------------------------------------------------


def test_library_has_its_names_signatures_fields_and_errors(release: str) -> None:
    then, now = _then(release, "library"), _now("library")

    def breaks() -> Iterator[str]:
        for key in ("names", "guest"):
            yield from superset.lost_names(then[key], now[key], key)
        for key in ("functions", "Host", "FakeHost"):
            for name, parameters in then[key].items():
                if name not in now[key]:
                    yield f"{key}.{name} is gone"
                else:
                    yield from superset.lost_parameters(parameters, now[key][name], f"{key}.{name}")
        for name, fields in then["values"].items():
            for field, about in fields.items():
                today = now["values"].get(name, {}).get(field)
                if today is None:
                    yield f"{name}.{field} is gone"
                elif today["required"] and not about["required"]:
                    yield f"{name}.{field} is now required"
        for name, about in then["errors"].items():
            today = now["errors"].get(name, {"bases": []})
            yield from superset.lost_names(about["bases"], today["bases"], f"bases of {name}")
            yield from superset.lost({**about, "bases": None}, {**today, "bases": None}, name)

    _must_be_none(breaks())


def test_documents_are_read_as_before(release: str) -> None:
    _must_be_none(superset.lost(_then(release, "formats"), _now("formats")))


def test_own_format_takes_what_it_took(release: str) -> None:
    then, now = _then(release, "schema"), _now("schema")
    both = Description(then), Description(now)
    _must_be_none(superset.lost_schema(*both, then, now, "schema", "request", frozenset()))


def test_methods_answer_what_they_answered(release: str) -> None:
    then, now = _then(release, "reports"), _now("reports")
    _must_be_none(superset.lost(_without_texts(_states(then)), _without_texts(_states(now))))


def _states(answers: Any) -> Any:
    """Only the events of states: later versions have more kinds."""
    kept = copy.deepcopy(answers)
    for each in kept.values():
        each["events"] = [event for event in each["events"] if event.get("kind", "state") == "state"]
        for number, event in enumerate(each["events"]):
            event["seq"] = number
    return kept


# -- the command line -------------------------------------------------------------------------------------


def test_verbs_have_their_options(release: str) -> None:
    then, now = _then(release, "command_line")["options"], _now("command_line")["options"]
    _must_be_none(line for verb in then for line in superset.lost_names(then[verb], now[verb], verb))


def test_commands_have_their_exit_codes_and_json(release: str) -> None:
    then, now = _then(release, "command_line")["commands"], _now("command_line")["commands"]

    def breaks() -> Iterator[str]:
        for before, after in zip(then, now, strict=True):
            command = " ".join(before["command"])
            yield from superset.lost(before["exit"], after["exit"], f"exit of `{command}`")
            shown, today = (_of_states(_without_texts(each.get("json"))) for each in (before, after))
            yield from superset.lost(_general(shown, today), today, f"`{command}`")

    _must_be_none(breaks())


def _general(shown: Any, today: Any) -> Any:
    """An error that has become a more special one is still what it was: `except InputError` catches UnknownVif."""
    if not all(isinstance(each, Mapping) and isinstance(each.get("error"), Mapping) for each in (shown, today)):
        return shown
    was, now = (getattr(errors, each["error"]["type"]) for each in (shown, today))
    return {"error": {**shown["error"], "type": today["error"]["type"]}} if issubclass(now, was) else shown


def _of_states(shown: Any) -> Any:
    """Events of the kinds that there were, without their numbers: later versions store more kinds."""
    if isinstance(shown, list) and shown and "seq" in shown[0]:
        kept = [each for each in shown if each.get("kind", "state") == "state"]
        return [{**each, "seq": number} for number, each in enumerate(kept)]
    return {**shown, "checks": None} if isinstance(shown, Mapping) and "checks" in shown else shown


# -- HTTP -------------------------------------------------------------------------------------------------


def test_description_takes_and_promises_what_it_did(release: str) -> None:
    then, now = _then(release, "http")["openapi"], _now("http")["openapi"]
    _must_be_none(superset.lost_operations(Description(then), Description(now)))


def test_requests_are_answered_as_before(release: str) -> None:
    then, now = _then(release, "http")["answers"], _now("http")["answers"]

    def breaks() -> Iterator[str]:
        for before, after in zip(then, now, strict=True):
            name = " ".join(map(str, before["request"][:2]))
            keys = ["status", "type"] if before["type"] == "text/event-stream" else ["status", "type", "body"]
            shown, today = ({key: _without_texts(each[key]) for key in keys} for each in (before, after))
            if name == "GET /v1/doctor":  # its checks are those of a host, and grow
                shown["body"] = {**shown["body"], "checks": today["body"]["checks"]}
            yield from superset.lost(shown, today, name)

    _must_be_none(breaks())


# -- the configuration, the metrics, the store ------------------------------------------------------------


def test_options_have_their_types_and_defaults(release: str) -> None:
    _must_be_none(superset.lost(_then(release, "configuration"), _now("configuration")))


def test_metrics_have_their_names_types_and_labels(release: str) -> None:
    then, now = _then(release, "metrics"), _now("metrics")

    def breaks() -> Iterator[str]:
        for name, about in then.items():
            today = now.get(name, {"labels": []})
            yield from superset.lost(about["type"], today.get("type"), name)
            yield from superset.lost(about["labels"], today["labels"], f"labels of {name}")

    _must_be_none(breaks())


@pytest.mark.parametrize("vif_type", faces.DOCUMENTS)
def test_stores_are_read(release: str, vif_type: str, tmp_path: pathlib.Path) -> None:
    kept = _then(release, "store")[vif_type]
    with sqlite3.connect(tmp_path / kept["file"]) as connection:
        connection.executescript("\n".join(kept["sql"]))
    connection.close()
    store = Store(str(tmp_path), user="")
    try:
        contents = store.contents()
        assert not contents.damaged
        (shown,) = kept["vifs"]
        (record,) = contents.records.values()
        said = report.recorded(record, None, Wiring(), None).as_json()
        same = ("id", "vif_type", "address", "mtu", "bridge", "network", "instance")
        assert {key: said[key] for key in same} == {key: shown[key] for key in same}
        assert store.events(0, 100)[0].state == "plugged"
    finally:
        store.close()
