"""Nova's external events: what a message of them says, and what it says of the VIFs here. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vifplug import formats, naming
from vifplug.errors import InputError
from vifplug.formats import messages
from vifplug.store.events import TOLD_FAILED, TOLD_PLUGGED, TOLD_UNPLUGGED
from vifplug.store.records import Contents

TAKEN, NO_TAG, UNKNOWN = 200, 400, 404
"""What becomes of one event, as Nova numbers it."""

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
"""In place of a word: the one before it is not true any longer."""
_NEED_TAG = ("volume-extended", "power-update", "accelerator-request-bound")
_WORDS = {
    ("network-vif-plugged", "completed"): TOLD_PLUGGED,
    ("network-vif-plugged", "failed"): TOLD_FAILED,
    ("network-vif-unplugged", "completed"): TOLD_UNPLUGGED,
    ("network-vif-deleted", "completed"): TOLD_UNPLUGGED,
}
"""Every other event is Nova's own business."""
_UUID = re.compile(r"[0-9a-f]{32}")

_NOTHING = "it is nothing such a message holds"
_TEXT = f"it must be a string of at most {_TAG_MAX} characters"
_SHOULD = {
    "name": f"it must be one of {', '.join(get_args(Name))}",
    "status": f"it must be one of {', '.join(get_args(Status))}",
    "tag": _TEXT,
    "server_uuid": "it must be the UUID of a server",
    "events": "it must be a list of at least one event",
}


def _uuid(value: str) -> str:
    """In canonical form, of each that Nova takes: one odd spelling must not cost the other events of its message."""
    digits = value.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    if not _UUID.fullmatch(digits):
        raise ValueError("no UUID")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class ExternalEvent(BaseModel):
    """What somebody says has happened to a server."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    server_uuid: Annotated[str, AfterValidator(_uuid)]
    status: Status = "completed"
    tag: str = Field(default="", max_length=_TAG_MAX)

    @property
    def has_tag(self) -> bool:
        """Whether it gives one; an empty one is one."""
        return "tag" in self.model_fields_set

    @property
    def word(self) -> str | None:
        """What it says of a VIF; None where it says nothing that matters here."""
        return _WORDS.get((self.name, self.status))


class Message(BaseModel):
    """Events that came together."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    events: list[ExternalEvent] = Field(min_length=1)


def read(body: bytes) -> tuple[list[ExternalEvent], list[dict[str, Any]]]:
    """The events of a message, and each as it was given.

    :raises InputError: for the first thing that is wrong, by its field and value; none of the events counts then.
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
    return events, [dict(one) for one in content["events"]]


def _refused(error: ValidationError) -> InputError:
    first = error.errors(include_url=False)[0]
    where, field = _path(first["loc"]), first["loc"][-1]
    if first["type"] == "missing":
        return messages.missing(
            where, "and " + ("every event needs it" if len(first["loc"]) > 1 else _SHOULD["events"])
        )
    if first["type"] == "extra_forbidden":
        return messages.refusal(where, first["input"], _NOTHING)
    return messages.refusal(where, first["input"], _SHOULD.get(str(field), "it must be an object"))


def _path(keys: tuple[int | str, ...]) -> str:
    path = ""
    for key in keys:
        path = f"{path}[{key}]" if isinstance(key, int) else messages.join(path, key)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Which VIFs are plugged here, or about to be, and whose they are."""

    guest_of: Mapping[str, str | None]
    """The guest's UUID by VIF id; None where the store does not say it (yet)."""
    vifs_of: Mapping[str, tuple[str, ...]]
    """VIF ids by the guest's UUID."""

    @classmethod
    def of(cls, contents: Contents) -> Self:
        """As recorded."""
        guest_of: dict[str, str | None] = dict.fromkeys((*contents.intents, *contents.damaged))
        vifs_of: dict[str, tuple[str, ...]] = {}
        for vif_id, record in contents.records.items():
            guest = record.vif.instance.uuid if record.vif.instance is not None else None
            guest_of[vif_id] = guest
            if guest is not None:
                vifs_of[guest] = (*vifs_of.get(guest, ()), vif_id)
        return cls(guest_of=guest_of, vifs_of=vifs_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of one event."""

    code: int
    vif_id: str | None = None
    """The VIF it is a word about."""
    word: str | None = None
    """What is to be kept of it."""

    def as_json(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The event in an answer: as it was given, and with Nova's words for what became of it."""
        status = "completed" if self.code == TAKEN else "failed"
        return {**given, "status": status, "code": self.code}


def judge(event: ExternalEvent, here: Here) -> Verdict:
    """By Nova's rules, with the guests that have a VIF here for its servers.

    Neutron sends the events of every host. Which servers there are elsewhere is not known here, so an event of no use
    here is taken, and Nova's 404 is for an event that names a VIF here with a server that is not its own. A guest's VIF
    that is not plugged here is taken at its word, too: it may come yet.
    """
    tag, own = event.tag.lower(), here.vifs_of.get(event.server_uuid, ())
    if here.guest_of.get(tag) not in (None, event.server_uuid):
        return Verdict(code=UNKNOWN)
    if event.name in _NEED_TAG and not event.has_tag:
        return Verdict(code=NO_TAG)
    if not own and tag not in here.guest_of:
        # Nothing is kept of it, or each port of a cloud would leave a row; but an earlier word is no longer true.
        taken_back = event.word in (TOLD_UNPLUGGED, TOLD_FAILED)
        return Verdict(code=TAKEN, vif_id=tag if taken_back else None, word=FORGET if taken_back else None)
    if event.word is None:
        return Verdict(code=TAKEN)
    if event.has_tag:
        vif_id = tag if naming.is_owner(tag) and not tag.startswith(naming.NETWORK_PREFIX) else None
    else:
        vif_id = own[0] if len(own) == 1 else None
    return Verdict(code=TAKEN, vif_id=vif_id, word=event.word if vif_id else None)


def last_words(verdicts: list[Verdict]) -> dict[str, str]:
    """What is to be kept, by VIF id: of several words about one VIF, the last."""
    return {verdict.vif_id: verdict.word for verdict in verdicts if verdict.vif_id and verdict.word is not None}
