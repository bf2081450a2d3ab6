"""The components of the OpenAPI description: every answer, drawn by pydantic from the values that are answered."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from vifplug.daemon.http.answers import Checked, Collected, HostReport, Problem, Vifs, Waits
from vifplug.doctor.findings import Diagnosis
from vifplug.guest.report import GuestReport
from vifplug.model import codec
from vifplug.model.codec import Value
from vifplug.model.reports import PathReport, PlanReport, Progress, VifReport

_ANSWERS: tuple[type[Value], ...] = (
    *(Checked, Collected, Diagnosis, GuestReport, HostReport, PathReport, PlanReport),
    *(Problem, Progress, VifReport, Vifs, Waits),
)
_PUBLISHED: Mapping[str, str] = {
    "AbsentGuest": "AbsentReport",
    "DeviceReport": "Device",
    "Diagnosis": "DiagnosisReport",
    "DriftItem": "DriftReport",
    "Finding": "FindingReport",
    "Hop": "HopReport",
    "Orphan": "OrphanReport",
    "OvsInfo": "OvsReport",
    "PathReport": "Path",
    "PlanReport": "Actions",
    "PlannedAction": "ActionReport",
    "PortReport": "Port",
    "Progress": "ProgressReport",
    "VifCheck": "CheckedVif",
    "Waited": "WaitedReport",
}
"""Components whose published name, which generated clients have as a class, is not the library's."""
_VIF: dict[str, Any] = {
    "id": "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
    "vif_type": "ovs-hybrid",
    "state": "plugged",
    "address": "fa:16:3e:eb:5e:26",
    "mtu": 1450,
    "bridge": "br-int",
    "network": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24",
    "instance": {"uuid": "c0ffee00-1111-4222-8333-000000000011", "name": "web-1"},
    "devices": [
        {"name": "qbr71a6b0e4-1a", "kind": "bridge", "mtu": 1450, "up": True, "master": None, "ifindex": 7},
        {"name": "qvb71a6b0e4-1a", "kind": "veth", "mtu": 1450, "up": True, "master": "qbr71a6b0e4-1a", "ifindex": 9},
        {"name": "qvo71a6b0e4-1a", "kind": "veth", "mtu": 1450, "up": True, "master": None, "ifindex": 8},
    ],
    "ports": [{"bridge": "br-int", "name": "qvo71a6b0e4-1a", "ofport": 3, "tag": 1}],
    "waiting_for": "tap71a6b0e4-1a",
    "absent_since": "2026-11-21T07:36:29.000Z",
    "error": None,
    "updated_at": "2026-11-21T07:36:29.000000+00:00",
}
_PROBLEM: dict[str, Any] = {
    "type": "urn:vifplug:error:Conflict",
    "title": "Another VIF or a stranger holds what is asked for",
    "status": 409,
    "detail": "the name 'tap71a6b0e4-1a' is held by a link that is not vifplug's",
    "instance": "/v1/vifs/71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
    "request_id": "7f1d0b6c5f9c4d0e8a35a1d8b1d3c0aa",
    "error": {
        "type": "Conflict",
        "message": "the name 'tap71a6b0e4-1a' is held by a link that is not vifplug's",
        "step": None,
        "subject": "tap71a6b0e4-1a",
        "retryable": False,
    },
}
_EXAMPLES: Mapping[str, Any] = {"VifReport": _VIF, "Problem": _PROBLEM}
_HEALTH = {
    "type": "object",
    "title": "Health",
    "description": "Whether all is well, and how the daemon's own comparisons stand.",
    "properties": {
        "status": {
            "type": "string",
            "title": "Status",
            "description": "ok; or degraded, while OVSDB is away; or unhealthy, when the store's file is gone or "
            "another.",
        }
    },
    "required": ["status"],
    "additionalProperties": True,
}


def of_answers(component: str) -> dict[str, Any]:
    """The components of every answer, by their published names.

    :param component: the form of a reference to one.
    """
    adapters: Any = [(answer, "serialization", TypeAdapter(answer)) for answer in _ANSWERS]
    _, drawn = TypeAdapter.json_schemas(adapters, ref_template=component, schema_generator=_Drawn)
    used = json.dumps(drawn)
    roots = {answer.__name__ for answer in _ANSWERS}
    # What only a hidden field is of is drawn as well.
    kept = {
        name: part
        for name, part in drawn["$defs"].items()
        if name in roots or f'"{component.format(model=name)}"' in used
    }
    text = json.dumps(kept)
    for name, published in _PUBLISHED.items():
        text = text.replace(f'"{component.format(model=name)}"', f'"{component.format(model=published)}"')
    components: dict[str, Any] = {"Health": _HEALTH}
    for name, drawn_component in json.loads(text).items():
        published = _PUBLISHED.get(name, name)
        components[published] = {**drawn_component, "title": published}
        if published in _EXAMPLES:
            components[published]["examples"] = [_EXAMPLES[published]]
    return components


class _Drawn(GenerateJsonSchema):
    """Describes the JSON that ``codec`` writes: it always has every key, also those with a default."""

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """A default is for those who make such a value."""
        return self.generate_inner(schema["schema"])

    def field_is_required(self, field: Any, total: bool) -> bool:
        """But for those that ``_as_written`` takes out again."""
        return True

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        """An object with the keys of its JSON."""
        return _as_written(schema["cls"], super().dataclass_schema(schema))


def _as_written(cls: type[Value], drawn: JsonSchemaValue) -> JsonSchemaValue:
    drawn["description"] = _text(drawn["description"])
    inherited, optional = _inherited(cls), set[str]()
    properties: dict[str, Any] = {name: _computed(cls, name) for name in cls.COMPUTED}
    for field in codec.fields_of(cls):
        properties[field.key] = part = dict(drawn["properties"][field.attribute])
        description = part.get("description") or inherited.get(field.attribute)
        if "title" in part:
            part["title"] = field.key.replace("_", " ").title()
        if description:
            part["description"] = _text(description)
        if field.omitted_with is not None:
            optional.add(field.key)
            properties[field.key] = _optional(part)
    return {**drawn, "properties": properties, "required": [key for key in properties if key not in optional]}


def _optional(part: dict[str, Any]) -> dict[str, Any]:
    """The list of a key that is left out where the value is None, and so is never null."""
    alternatives = [part_ for part_ in part.pop("anyOf", ()) if part_ != {"type": "null"}]
    return {**part, **(alternatives[0] if alternatives else {}), "default": []}


def _inherited(cls: type[Value]) -> dict[str, str]:
    """Descriptions of attributes that a base class has: pydantic reads the docstrings of the class itself alone."""
    descriptions: dict[str, str] = {}
    for base in cls.__mro__[1:]:
        if dataclasses.is_dataclass(base):
            properties = TypeAdapter(base).json_schema(mode="serialization")["properties"]
            descriptions |= {name: part["description"] for name, part in properties.items() if "description" in part}
    return descriptions


def _computed(cls: type[Value], name: str) -> dict[str, Any]:
    drawn = TypeAdapter(typing.get_type_hints(getattr(cls, name).fget)["return"]).json_schema()
    about = _text(inspect.getdoc(getattr(cls, name)) or "")
    return {**drawn, "title": name.title(), "description": about}


def _text(docstring: str) -> str:
    return " ".join(docstring.split()).replace("``", "`")
