"""Nova's external events: parses a message, and decides what it means for the VIFs of this host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vifplug import formats, naming
from vifplug.errors import InputError
from vifplug.model import messages
from vifplug.store.events import NEUTRON_FAILED, NEUTRON_PLUGGED, NEUTRON_UNPLUGGED
from vifplug.store.records import Contents

TAKEN, NO_TAG, UNKNOWN = 200, 400, 404
"""The result of an event, as Nova numbers it."""

_TAG_MAX = 255
Name = Literal[
    "network-changed",
    "network-vif-plugged",
    "network-vif-unplugged",
    "network-vif-deleted",
    "volume-extended",
    "power-update",
    "accelerator-request-bound",
    "volume-reimaged",
]
Status = Literal["failed", "completed", "in-progress"]
FORGET = ""
"""In place of a status: the earlier status is outdated."""
_NEED_TAG = ("volume-extended", "power-update", "accelerator-request-bound")
_STATUSES = {
    ("network-vif-plugged", "completed"): NEUTRON_PLUGGED,
    ("network-vif-plugged", "failed"): NEUTRON_FAILED,
    ("network-vif-unplugged", "completed"): NEUTRON_UNPLUGGED,
    ("network-vif-deleted", "completed"): NEUTRON_UNPLUGGED,
}
"""Other events have no meaning here."""

_UNKNOWN_KEY = "it is not a key of such a message"
_TEXT = f"it must be a string of at most {_TAG_MAX} characters"
_SHOULD = {
    "name": f"it must be one of {', '.join(get_args(Name))}",
    "status": f"it must be one of {', '.join(get_args(Status))}",
    "tag": _TEXT,
    "server_uuid": "it must be the UUID of a server",
    "events": "it must be a list of at least one event",
}


def _uuid(value: str) -> str:
    """A UUID in canonical form, from every spelling that Nova accepts, so that an unusual one does not fail its
    message."""
    digits = value.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    canonical = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if not naming.is_uuid(canonical):
        raise ValueError("not a UUID")
    return canonical


class ExternalEvent(BaseModel):
    """An external event of a server."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    server_uuid: Annotated[str, AfterValidator(_uuid)]
    status: Status = "completed"
    tag: str = Field(default="", max_length=_TAG_MAX)

    @property
    def has_tag(self) -> bool:
        """Whether it has a tag, which may be empty."""
        return "tag" in self.model_fields_set

    @property
    def vif_status(self) -> str | None:
        """The status of a VIF that it reports; None if it has no meaning here."""
        return _STATUSES.get((self.name, self.status))


class Message(BaseModel):
    """A message of events."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    events: list[ExternalEvent] = Field(min_length=1)


def read(body: bytes) -> tuple[list[ExternalEvent], list[dict[str, Any]]]:
    """The events of a message, parsed and as received.

    :raises InputError: for the first error, with its field and value; then no event is used.
    """
    if not body.strip():
        raise InputError("the body is empty; it must be a JSON object with events, a list of at least one event")
    content = formats.parse(body)
    if not isinstance(content, Mapping):
        raise messages.refusal("the body", content, "it must be an object with events, a list of at least one event")
    try:
        events = Message.model_validate(content).events
    except ValidationError as error:
        raise _refused(error) from None
    return events, [dict(event) for event in content["events"]]


def _refused(error: ValidationError) -> InputError:
    first = error.errors(include_url=False)[0]
    path, field = _path(first["loc"]), first["loc"][-1]
    if first["type"] == "missing":
        return messages.missing(path, "and " + ("every event needs it" if len(first["loc"]) > 1 else _SHOULD["events"]))
    if first["type"] == "extra_forbidden":
        return messages.refusal(path, first["input"], _UNKNOWN_KEY)
    return messages.refusal(path, first["input"], _SHOULD.get(str(field), "it must be an object"))


def _path(keys: tuple[int | str, ...]) -> str:
    path = ""
    for key in keys:
        path = f"{path}[{key}]" if isinstance(key, int) else messages.join(path, key)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVifs:
    """The VIFs that are plugged here, or about to be, and their guests."""

    guest_of: Mapping[str, str | None]
    """The guest's UUID by VIF id; None if the store does not have it (yet)."""
    vifs_of: Mapping[str, tuple[str, ...]]
    """VIF ids by the guest's UUID."""

    @classmethod
    def of(cls, contents: Contents) -> Self:
        """From the store."""
        guest_of: dict[str, str | None] = dict.fromkeys((*contents.intents, *contents.damaged))
        vifs_of: dict[str, tuple[str, ...]] = {}
        for vif_id, record in contents.records.items():
            guest = record.vif.instance.uuid if record.vif.instance is not None else None
            guest_of[vif_id] = guest
            if guest is not None:
                vifs_of[guest] = (*vifs_of.get(guest, ()), vif_id)
        return cls(guest_of=guest_of, vifs_of=vifs_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one event."""

    code: int
    vif_id: str | None = None
    """The VIF that it concerns."""
    vif_status: str | None = None
    """The status to store."""

    def as_json(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The event in the answer: as received, with Nova's status and code."""
        status = "completed" if self.code == TAKEN else "failed"
        return {**given, "status": status, "code": self.code}


def judge(event: ExternalEvent, here: LocalVifs) -> Result:
    """The result by Nova's rules; the guests that have a VIF here are Nova's known servers.

    Neutron sends the events of every host. The servers of other hosts are not known here, so an irrelevant event is
    accepted, and an event that names a VIF of this host with another server's id gets Nova's 404. An event of a guest
    here is also accepted for a VIF that is not plugged yet.
    """
    tag, own = event.tag.lower(), here.vifs_of.get(event.server_uuid, ())
    if here.guest_of.get(tag) not in (None, event.server_uuid):
        return Result(code=UNKNOWN)
    if event.name in _NEED_TAG and not event.has_tag:
        return Result(code=NO_TAG)
    if not own and tag not in here.guest_of:
        # It is not stored, or each port of a cloud would leave a row; but an earlier status is outdated.
        is_outdated = event.vif_status in (NEUTRON_UNPLUGGED, NEUTRON_FAILED)
        return Result(code=TAKEN, vif_id=tag if is_outdated else None, vif_status=FORGET if is_outdated else None)
    if event.vif_status is None:
        return Result(code=TAKEN)
    named = [tag] if event.has_tag else own
    vif_id = named[0] if len(named) == 1 and naming.is_uuid(named[0]) else None
    return Result(code=TAKEN, vif_id=vif_id, vif_status=event.vif_status if vif_id else None)


def latest_statuses(results: list[Result]) -> dict[str, str]:
    """The statuses to store, by VIF id: the last one of each VIF."""
    return {result.vif_id: result.vif_status for result in results if result.vif_id and result.vif_status is not None}
