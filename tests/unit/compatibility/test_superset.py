"""Which changes of a face are breaks, and which are growth."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compatibility import superset
from tests.compatibility.superset import Description


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, []),
        ({"a": 1}, {}, [".a is gone"]),
        ({"a": 1}, {"a": "1"}, [".a was 1 and is '1'"]),
        ({"a": None}, {"a": 1}, [".a was None and is 1"]),
        ({"a": [1]}, {"a": [1, 2]}, [".a had 1 items and has 2"]),
    ],
)
def test_answers(old: Any, new: Any, breaks: list[str]) -> None:
    assert [*superset.lost(old, new)] == breaks


def _parameter(name: str, kind: str = "POSITIONAL_OR_KEYWORD", **default: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, **default}


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ([_parameter("a")], [_parameter("a"), _parameter("b", default="1")], 0),
        ([_parameter("a", "KEYWORD_ONLY", default="1")], [_parameter("a", default="1")], 0),
        ([_parameter("a")], [_parameter("a"), _parameter("b")], 1),
        ([_parameter("a")], [], 2),
        ([_parameter("a")], [_parameter("a", "KEYWORD_ONLY")], 2),
        ([_parameter("a"), _parameter("b")], [_parameter("b"), _parameter("a")], 1),
        ([_parameter("a", default="1")], [_parameter("a", default="2")], 1),
        ([_parameter("a", default="1")], [_parameter("a")], 1),
    ],
)
def test_signatures(old: Any, new: Any, breaks: int) -> None:
    assert len([*superset.lost_parameters(old, new, "f")]) == breaks


OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string", "enum": ["x", "y"]}, "n": {"type": "integer", "maximum": 5}},
    "required": ["a"],
}


def _changed(**properties: Any) -> dict[str, Any]:
    return {**OBJECT, "properties": {**OBJECT["properties"], **properties}}


@pytest.mark.parametrize(
    ("new", "in_request", "in_answer"),
    [
        (_changed(b={"type": "string"}), 0, 0),
        ({**_changed(b={"type": "string"}), "required": ["a", "b"]}, 1, 0),
        ({**OBJECT, "required": []}, 0, 1),
        ({**OBJECT, "properties": {"a": OBJECT["properties"]["a"]}}, 1, 1),
        (_changed(a={"type": "string", "enum": ["x"]}), 1, 0),
        (_changed(n={"type": "integer", "maximum": 4}), 1, 0),
        (_changed(n={"type": "integer", "maximum": 6}), 0, 0),
        (_changed(n={"type": "string"}), 1, 1),
        (_changed(n={"anyOf": [{"type": "integer"}, {"type": "null"}]}), 0, 1),
        (_changed(a={"type": "string", "enum": ["x", "y"], "pattern": "^x"}), 1, 0),
        ({"anyOf": [{"type": "object"}, _changed(b={"type": "string"})]}, 2, 0),
    ],
)
def test_schemas(new: dict[str, Any], in_request: int, in_answer: int) -> None:
    both = Description(OBJECT), Description(new)
    for direction, breaks in (("request", in_request), ("answer", in_answer)):
        assert len([*superset.lost_schema(*both, OBJECT, new, "", direction, frozenset())]) == breaks, direction


def test_operations() -> None:
    answer = {"200": {"content": {"application/json": {"schema": {"$ref": "#/x"}}}, "headers": {"ETag": {}}}}
    parameter = {"name": "q", "in": "query", "schema": {"type": "string"}}
    operation = {"operationId": "get", "parameters": [parameter], "responses": answer}
    old = {"paths": {"/a": {"get": operation}}, "x": {"type": "object"}}

    def breaks(**changed: Any) -> list[str]:
        new = {**old, "paths": {"/a": {"get": {**operation, **changed}}, "/b": {}}}
        return [*superset.lost_operations(Description(old), Description(new))]

    assert breaks() == []
    assert len(breaks(operationId="fetch")) == 1
    assert len(breaks(parameters=[])) == 1
    assert len(breaks(parameters=[{**parameter, "required": True}])) == 1
    assert len(breaks(parameters=[parameter, {**parameter, "name": "r", "required": True}])) == 1
    assert len(breaks(responses={})) == 1
    assert len(breaks(responses={"200": {**answer["200"], "headers": {}}})) == 1
    assert len(breaks(requestBody={"required": True, "content": {}})) == 1
    assert [*superset.lost_operations(Description(old), Description({"paths": {}}))] == ["GET /a is gone"]
