"""The OpenAPI description: what FastAPI derives, and additions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from vifplug import formats
from vifplug.daemon.http import middleware, problems, requests, schemas
from vifplug.daemon.http.answers import Problem
from vifplug.daemon.http.protocol import Level

_COMPONENT = "#/components/schemas/{model}"
_ID_HEADER = {"description": "The request's id: the given one, or a new one.", "schema": {"type": "string"}}
_ID_PARAMETER = {
    "name": middleware.REQUEST_ID,
    "in": "header",
    "required": False,
    "description": "Your own id, of 1 to 64 visible ASCII characters; any other is replaced.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
}
_BODIES: Mapping[str, str] = {
    "PlugBody": "The VIF, in vifplug's own format or in another.",
    "BatchRequest": "The VIFs to plug, or the ids to unplug.",
    "ChosenRequest": "Which VIFs; without a body, every VIF.",
    "GcRequest": "Whether to delete; without a body, no.",
    "RepairRequest": "Which VIFs; without a body, every VIF.",
    "TraceRequest": "The interval of the counters, and whether to send frames; without a body, a second, and no.",
    "WaitRequest": "The VIFs and the state to wait for.",
}
_NEEDED = ("PlugBody", "BatchRequest", "WaitRequest")
_DESCRIPTIONS: Mapping[int, str] = {
    400: "The request is wrong. Nothing was changed.",
    403: "The peer may not do this. Nothing was changed.",
    404: "No VIF of that id is plugged on this host. Nothing was changed.",
    409: "Another VIF or program holds a requested name, or an OVS bridge is missing. Nothing was changed.",
    410: "Some of the requested events are no longer stored, or that number was never issued. List the VIFs and follow "
    "from now on.",
    413: f"The body is larger than {requests.BODY_MAX_MIB} MiB. Nothing was changed.",
    500: "The host or the store refused, and the error names the step. A plug was rolled back; what an unplug "
    "left, the next one deletes.",
    503: "Open vSwitch is away, another request holds the VIF, or the helper ended. Try again.",
    504: "A deadline passed; the error names the program waited for. The changes were rolled back. Try again.",
}
_FOREIGN = {
    "type": "object",
    "title": "ForeignDocument",
    "description": "A Neutron port (bare, or inside port), an entry of Nova's network_info, or a serialised os-vif "
    "object. Keys that vifplug does not use are ignored.",
    "additionalProperties": True,
    "examples": [
        {
            "port": {
                "id": "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
                "mac_address": "fa:16:3e:eb:5e:26",
                "network_id": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24",
                "binding:vif_type": "ovs",
                "binding:vif_details": {"bridge_name": "br-int", "ovs_hybrid_plug": True},
            }
        }
    ],
}
_TAGS: Mapping[str, str] = {
    "vifs": "Plug, unplug, show, compare and repair VIFs.",
    "events": "Follow the states of VIFs, or wait for them.",
    "host": "The daemon and its host.",
    "monitoring": "For probes and Prometheus.",
}
"""The groups of operations; a generated client has a module for each."""
_TAG_OF: Mapping[str, str] = {
    **dict.fromkeys(("/v1/vifs", "/v1/batch", "/v1/check", "/v1/repair", "/v1/gc"), "vifs"),
    **dict.fromkeys(("/v1/events", "/v1/wait"), "events"),
    **dict.fromkeys(("/metrics", "/healthz"), "monitoring"),
}
"""By the path's beginning; all others are about the host."""
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of an earlier answer: if this one is the same, it is 304 without a body.",
    "schema": {"type": "string"},
}
_NOT_MODIFIED = {
    "description": "The answer is the one that If-None-Match names.",
    "headers": {middleware.REQUEST_ID: _ID_HEADER},
}
_ETAG = {"description": "The tag of this answer, for If-None-Match.", "schema": {"type": "string"}}
_LINK = {"description": 'The next page, as <address>; rel="next"; not on the last one.', "schema": {"type": "string"}}
ABOUT = """\
Plugs guests' virtual interfaces (VIFs) into this host's network, all or nothing, and keeps them plugged.

The Unix socket identifies the peer. There are three levels, each including those before it: **read** only reads;
**operate** plugs VIFs, and unplugs and repairs those it plugged itself; **admin** does everything. A peer with
none gets 403 to every request but `GET /healthz`.

Bodies are JSON, whatever Content-Type says. Errors are RFC 9457 problem documents; `error` in them is the object that
`vifplug -o json` prints. `X-Request-Id`, given or made, comes back with the answer and is in the daemon's log.
An unknown query parameter or key is an error.

Every GET also answers HEAD. A JSON answer to a GET has an `ETag`; a request with that as `If-None-Match` gets 304 while
nothing has changed. With `Accept-Encoding: gzip` larger answers are compressed; the stream of events never is.

**Stability**: `info.version` is the version of vifplug. What `/v1` has stays, with its meaning: paths, parameters,
keys, statuses, headers and error types. Answers may get more keys, and requests more optional ones: ignore keys that
you do not know. An incompatible change would be `/v2`, beside `/v1`.
"""


def route(level: Level | None, model: str, *statuses: int, body: str = "", text: str = "text/plain") -> dict[str, Any]:
    """The keywords of a route's decorator: the level it requires, and its possible answers.

    :param level: None for every user.
    :param model: the component that 200 answers; "" for text.
    :param statuses: besides 400, 403, 413 and 500, which are derived.
    :param body: the component that describes the request's body.
    :param text: the media type of an answer that is not JSON.
    """
    every = {*statuses, *((400, 403) if level else ()), *((413,) if body else ()), 500}
    responses: dict[int, Any] = {200: _good(model, text)}
    responses |= {status: _problem(status) for status in sorted(every)}
    extra: dict[str, Any] = {"x-level": level.word} if level else {}
    if body:
        schema = {"schema": _ref(body)}
        extra["requestBody"] = {
            "description": _BODIES[body],
            "required": body in _NEEDED,
            "content": {"application/json": schema},
        }
    plain = [Depends(middleware.no_query)] if level and body != "PlugBody" else []
    return {"responses": responses, "openapi_extra": extra, "response_model": None, "dependencies": plain}


def _good(model: str, text: str) -> dict[str, Any]:
    kind, schema = ("application/json", _ref(model)) if model else (text, {"type": "string"})
    content = {kind: {"schema": schema}}
    return {"description": "Done.", "headers": {middleware.REQUEST_ID: _ID_HEADER}, "content": content}


def _problem(status: int) -> dict[str, Any]:
    headers = {middleware.REQUEST_ID: _ID_HEADER}
    if status == 503:
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
    content = {problems.MEDIA_TYPE: {"schema": _ref(Problem.__name__)}}
    return {"description": _DESCRIPTIONS[status], "headers": headers, "content": content}


def _ref(model: str) -> dict[str, Any]:
    return {"$ref": _COMPONENT.format(model=model)}


def complete(app: FastAPI) -> None:
    """Let the application describe itself completely; the description is generated once, when it is first requested."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _drawn(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _drawn(app: FastAPI) -> dict[str, Any]:
    drawn = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    drawn["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    for path, operations in drawn["paths"].items():
        if "get" in operations:
            _describe_delivery(path, operations["get"])
        for operation in operations.values():
            # FastAPI's own answer to an invalid query, which is a problem document with status 400 here.
            operation["responses"].pop("422", None)
            operation.setdefault("parameters", []).append(_ID_PARAMETER)
            operation["tags"] = [next((tag for start, tag in _TAG_OF.items() if path.startswith(start)), "host")]
            summary, _, more = operation["description"].partition("\n\n")
            level = operation.get("x-level")
            needs = f"Needs level **{level}**." if level else "Needs no level."
            operation["summary"] = " ".join(summary.split()).removesuffix(".")
            operation["description"] = f"{more}\n\n{needs}".lstrip()
    components = drawn.setdefault("components", {}).setdefault("schemas", {})
    for name in [name for name in components if "ValidationError" in name]:
        del components[name]
    components.update(_schemas())
    return drawn


def _describe_delivery(path: str, operation: dict[str, Any]) -> None:
    """Add what Delivery does to a GET's JSON answer, and the next page's address to a list."""
    done = operation["responses"]["200"]
    if "application/json" in done["content"]:
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
        operation["responses"]["304"] = _NOT_MODIFIED
        done["headers"] = {**done["headers"], "ETag": _ETAG}
    if path == "/v1/vifs":
        done["headers"] = {**done["headers"], "Link": _LINK}


def _schemas() -> dict[str, Any]:
    defined: dict[str, Any] = {
        "ForeignDocument": _FOREIGN,
        "PlugBody": {"anyOf": [_ref("Vif"), _ref("ForeignDocument")]},
        "PutAnswer": {"anyOf": [_ref("VifReport"), _ref("Actions")], "description": "The VIF; or for dry_run, a plan."},
        "BatchAnswer": {"anyOf": [_ref("Vifs"), _ref("Actions")], "description": "VIFs; or for dry_run, a plan."},
        "RepairAnswer": {"anyOf": [_ref("Repaired"), _ref("Actions")], "description": "VIFs; or for dry_run, a plan."},
    }
    bodies: Any = [(model, "validation") for model in requests.BODIES]
    _, drawn = models_json_schema(bodies, ref_template=_COMPONENT)
    defined |= {**drawn["$defs"], **schemas.of_answers(_COMPONENT)}
    own: dict[str, Any] = json.loads(json.dumps(formats.schema()).replace("#/$defs/", _COMPONENT.format(model="")))
    del own["$schema"]  # OpenAPI 3.1 itself defines the dialect of its schemas
    parts: dict[str, Any] = own.pop("$defs")
    return {**defined, **parts, "Vif": own}
