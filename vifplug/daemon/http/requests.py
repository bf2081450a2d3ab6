"""The content of requests: bodies read within a limit, parsed strictly, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict
from starlette.exceptions import HTTPException
from starlette.requests import Request

from vifplug import formats, naming
from vifplug.daemon import logs
from vifplug.daemon.http.delivery.pages import LIMIT_MAX
from vifplug.drivers.registry import driver_for
from vifplug.errors import InputError
from vifplug.guest.nic import MODEL_PATTERN
from vifplug.guest.report import FORMATS as GUEST_FORMATS
from vifplug.model import limits, messages
from vifplug.model.limits import (
    ABSENT_SECONDS,
    INSTANCE_NAME_MAX,
    MTU_MAX,
    MTU_MIN,
    QUEUES_MAX,
    SEQUENCE_MAX,
    TRACE_SECONDS,
    TRACE_SECONDS_MAX,
    TRACE_SECONDS_MIN,
    VIRTIO,
)
from vifplug.model.queries.selection import Selection
from vifplug.model.vif import UUID_SCHEMA, Uuid, Vif

BODY_MAX_MIB = 4
BODY_MAX = BODY_MAX_MIB * 2**20
"""Bytes; sixty VIFs of an os-vif list are a quarter of a million."""

Format = Literal["auto", "vif", "neutron-port", "nova-network-info", "os-vif"]
State = Literal["plugging", "plugged", "wired", "active", "unplugging", "drifted", "contended", "failed"]
SortKey = Literal["id", "type", "state", "address", "mtu", "bridge", "network", "instance", "updated"]
_WAIT_MAX_SECONDS = 60.0
_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"
_DOCUMENT: JsonDict = {
    "anyOf": [{"$ref": "#/components/schemas/Vif"}, {"$ref": "#/components/schemas/ForeignDocument"}]
}


_SHOULD = {
    "extra_forbidden": "unknown; see /openapi.json",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "list_type": "it must be a list",
    "string_type": "it must be a string",
    "literal_error": f"it must be one of {', '.join(formats.FORMATS)}",
    "string_pattern_mismatch": "it is not of that form; see /openapi.json",
    "too_long": f"it must be given at most {limits.FOLLOWED_MAX} times",
    "string_too_short": f"it must have 1 to {INSTANCE_NAME_MAX} characters",
    "string_too_long": f"it must have 1 to {INSTANCE_NAME_MAX} characters",
}
"""The valid form, by pydantic's name of the error."""


class _DocumentOptions(BaseModel):
    """Options besides documents; by default the documents' own values apply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format = Field(
        default="auto", description="The documents' format; auto detects it by their keys.", examples=["neutron-port"]
    )
    instance_uuid: Uuid | None = Field(
        default=None, description="The guest, instead of the documents' own; for Interface.external_ids:vm-uuid."
    )
    instance_name: str | None = Field(
        default=None, min_length=1, max_length=INSTANCE_NAME_MAX, description="The guest's name."
    )
    mtu: int | None = Field(default=None, ge=MTU_MIN, le=MTU_MAX, description="Bytes, instead of the documents' own.")
    dry_run: bool = Field(default=False, description="Return the plan and change nothing; level read is enough.")

    def vifs(self, document: object, network: object = None) -> list[Vif]:
        """The VIFs of a document, with the separate options.

        :param network: their Neutron network, or several.
        :raises InputError: for the first error.
        """
        instance = {"uuid": self.instance_uuid, "name": self.instance_name}
        fields = {key: value for key, value in instance.items() if value is not None}
        given: dict[str, Any] = {"instance": fields or None, "mtu": self.mtu, "network": network}
        vifs = formats.load_all(document, format=self.format, **given)
        for vif in vifs:
            driver_for(vif.vif_type, vif.id)
        return vifs


class PlugQuery(_DocumentOptions):
    """The query of PUT /v1/vifs/{id}."""


def _is_structured(value: object) -> object:
    if value is None or isinstance(value, list | dict):
        return value
    raise ValueError("it must be a VIF document, or a list of them")


class BatchRequest(_DocumentOptions):
    """VIFs to plug, all or none; or ids to unplug."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    plug: Annotated[list[Any] | dict[str, Any] | None, BeforeValidator(_is_structured)] = Field(
        default=None,
        description="A VIF document in any supported format, or a list of them, also mixed; they are plugged all "
        "or none.",
        json_schema_extra={"anyOf": [{"type": "array", "items": _DOCUMENT}, _DOCUMENT, {"type": "null"}]},
    )
    unplug: list[Uuid] | None = Field(default=None, description="Ids; an absent VIF counts as success.")
    network: Annotated[list[Any] | dict[str, Any] | None, BeforeValidator(_is_structured)] = Field(
        default=None,
        description="The Neutron network of the VIFs to plug, or a list of networks, as its API returns them: their "
        "MTU, and the uplinks of Linux bridges, where a document has none.",
        json_schema_extra={
            "anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}, {"type": "null"}]
        },
    )


class ChosenRequest(BaseModel):
    """Some VIFs, or all."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ids: list[Uuid] | None = Field(default=None, description="Ids of VIFs; null, or left out, means every VIF.")


class RepairRequest(ChosenRequest):
    """Which VIFs to repair, or only what a repair would change."""

    dry_run: bool = Field(default=False, description="Return the plan and change nothing; level read is enough.")


class ListQuery(BaseModel):
    """Which VIFs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    absent_for: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Only those with nothing at the guest's end for that many seconds.",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=LIMIT_MAX,
        description="At most so many, in the order of their ids. The header Link then names the next page, if there "
        "is one.",
    )
    after: Uuid | None = Field(
        default=None,
        description="Only those with a greater id: the last one of the page before.",
        examples=[limits.UUID_EXAMPLE],
    )
    state: list[State] = Field(default=[], description="Only in this state; may be repeated.")
    type: list[str] = Field(default=[], description="Only of this vif_type; may be repeated.")
    instance: str | None = Field(default=None, description="Only of the instance with this UUID or name.")
    bridge: str | None = Field(default=None, description="Only on this bridge.")
    sort: SortKey | None = Field(default=None, description="By this value; VIFs without it come last.")

    @model_validator(mode="after")
    def _pages_have_one_order(self) -> ListQuery:
        if self.sort not in (None, "id") and (self.limit is not None or self.after is not None):
            raise ValueError("pages are in the order of ids; leave out sort, or limit and after")
        return self

    @property
    def selection(self) -> Selection:
        """The VIFs that are wanted, and their order."""
        return Selection(
            states=self.state, vif_types=self.type, instance=self.instance, bridge=self.bridge, sort=self.sort
        )


class GcRequest(BaseModel):
    """Whether to delete, and which VIFs exist."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    delete: bool = Field(default=False, description="Also delete the orphans; this requires level admin.")
    keep: list[Uuid] | None = Field(
        default=None,
        description="Ids of the VIFs or instances that there are. Recorded VIFs that it does not name, and that have "
        "had nothing at the guest's end for `absent_for`, are listed; with `delete` they are unplugged.",
    )
    absent_for: float = Field(default=ABSENT_SECONDS, ge=0, allow_inf_nan=False, description="Seconds.")


class TraceRequest(BaseModel):
    """How to trace a VIF's frames."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    interval: float = Field(
        default=TRACE_SECONDS,
        ge=TRACE_SECONDS_MIN,
        le=TRACE_SECONDS_MAX,
        allow_inf_nan=False,
        description="Seconds over which counters are compared.",
    )
    probe: bool = Field(
        default=False,
        description="Also send 16 marked frames as the guest, if its end is a tap that vifplug made and no program has "
        "open; this requires level operate.",
    )


class EventsQuery(BaseModel):
    """Which events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: int | None = Field(
        default=None,
        ge=0,
        le=SEQUENCE_MAX,
        description="The follower's last number; Last-Event-ID has the same meaning. Without both: what comes from now "
        "on, or with follow=false all that is kept.",
    )
    after: str | None = Field(
        default=None,
        pattern=_TIME,
        description="In place of `since`: a time, ISO 8601 in UTC; what was stored from then on.",
        examples=["2026-11-21T07:36:29.000Z"],
    )
    vif: list[Uuid] = Field(
        default_factory=list,
        max_length=limits.FOLLOWED_MAX,
        description="Only events of this VIF; it may be given several times.",
    )
    follow: bool = Field(default=True, description="Continue with new events; false ends with the newest event.")


class GuestQuery(BaseModel):
    """Options of the guest's network card that the VIF does not have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        default=VIRTIO, pattern=MODEL_PATTERN, description="Libvirt's model name, or the name of a QEMU device."
    )
    queues: int | None = Field(
        default=None,
        ge=1,
        le=QUEUES_MAX,
        description="Usually the guest's number of CPUs; by default one, or two for a multi-queue tap.",
    )


class WaitRequest(BaseModel):
    """The VIFs and the state to wait for."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ids: list[Uuid] = Field(description="Ids of VIFs.", min_length=0)
    state: Literal["plugged", "wired", "active"] = Field(
        alias="for", description="The state to wait for; a higher one counts, too."
    )
    timeout: float = Field(default=0, ge=0, le=_WAIT_MAX_SECONDS, description="Seconds.")


BODIES: tuple[type[BaseModel], ...] = (BatchRequest, ChosenRequest, GcRequest, RepairRequest, TraceRequest, WaitRequest)
"""Every body, for the description."""
VifId = Annotated[
    str,
    Path(
        description="The VIF's id, the port's UUID.",
        examples=[limits.UUID_EXAMPLE],
        json_schema_extra=UUID_SCHEMA,
    ),
]
"""As in the description; ``vif_id`` checks it."""
GuestFormat = Annotated[
    str, Path(description="The hypervisor.", json_schema_extra={"enum": [*GUEST_FORMATS]}, examples=["qemu"])
]
"""As in the description; the library checks it."""
_Body = TypeVar("_Body", bound=BaseModel)


async def read(request: Request) -> bytes:
    """A request's body.

    :raises HTTPException: 413 if it is too large; the rest of it is not kept.
    :raises Busy: its user has too many of them under way.
    """
    if int(request.headers.get("content-length", 0)) > BODY_MAX:
        raise _too_large()
    body, lane = bytearray(), request.state.lane
    try:
        async for chunk in request.stream():
            body += chunk
            lane.keep(len(chunk))
            if len(body) > BODY_MAX:
                raise _too_large()
    finally:
        lane.keep(-len(body))
    return bytes(body)


def _too_large() -> HTTPException:
    return HTTPException(413, f"the request's body is larger than {BODY_MAX_MIB} MiB; ask for fewer VIFs at once")


def of(body: bytes, kind: type[_Body]) -> _Body:
    """A body's values; the defaults if there is no body.

    :raises InputError: for the first error.
    """
    content = formats.parse(body) if body.strip() else {}
    if not isinstance(content, Mapping):
        raise messages.refusal("the request's body", content, "it must be an object")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise refused(error.errors(include_url=False)) from None


def refused(details: Sequence[Any]) -> InputError:
    """The first of pydantic's errors, in vifplug's words."""
    first = details[0]
    path = messages.join("", *first["loc"])
    kind, limits = first["type"], first.get("ctx", {})
    if kind == "value_error":
        should = str(limits.get("error", first["msg"]))
    elif first["loc"] and first["loc"][-1] == "mtu":
        should = messages.MTU
    else:
        should = _SHOULD.get(kind) or f"it is invalid: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return messages.refusal(path, first.get("input"), should)


def document(body: bytes) -> object:
    """The JSON document of a body.

    :raises InputError: it is not JSON.
    """
    return formats.parse(body)


def vif_id(id: str) -> str:
    """The id in a path, in lower case; later log lines carry it.

    :raises InputError: when it is not a UUID.
    """
    lowered = id.lower()
    if not naming.is_uuid(lowered):
        raise messages.refusal("id", id, limits.UUID_RULE)
    logs.concerning(lowered)
    return lowered
