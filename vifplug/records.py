"""What the store holds of a VIF: what was built for it, and what is about to be done to it."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vifplug import naming, resources
from vifplug.errors import Damaged
from vifplug.model import Vif
from vifplug.resources import Resource, Tap

PLUG, UNPLUG = "plug", "unplug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was built for a VIF."""

    vif: Vif
    """The request, with everything filled in that it did not say."""
    resources: tuple[Resource, ...]
    """What was built: links with their ifindex, ports with their row's UUID."""
    state: str
    updated_at: str = ""
    error: str | None = None
    created_by: int | None = None
    """The uid of whoever plugged it first; None where that was not kept."""
    note: str | None = field(default=None, compare=False)
    """For the event of this change alone; it is not stored."""
    guest_absent_since: str | None = field(default=None, compare=False)
    """When the daemon saw the guest's end go away; "" where it saw it there; None where no daemon has looked. The store
    keeps it beside the record: it is no change of the VIF."""

    @property
    def id(self) -> str:
        """The VIF's id."""
        return self.vif.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is about to be done to a VIF, and by which session."""

    vif_id: str
    verb: str
    session: int
    resources: tuple[Resource, ...]
    """What the host may hold for this VIF from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything in the store, at one moment."""

    records: Mapping[str, Record] = field(default_factory=dict)
    intents: Mapping[str, Intent] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Why a record cannot be read, by VIF id. The VIF is plugged all the same: nothing of it is an orphan."""
    held_by_damaged: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The owners of what each damaged record holds: the VIF, and the networks whose bridges it shares."""

    @property
    def damaged_holders(self) -> frozenset[str]:
        """All of them."""
        return frozenset().union(*self.held_by_damaged.values())


def now() -> str:
    """This moment, ISO 8601 in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json(record: Record) -> str:
    """A record as it is stored."""
    return json.dumps(
        {
            "vif": record.vif.model_dump(mode="json", exclude_none=True),
            "resources": [resources.to_dict(resource) for resource in record.resources],
            "state": record.state,
            "updated_at": record.updated_at,
            "error": record.error,
            "created_by": record.created_by,
        }
    )


def from_json(vif_id: str, body: str) -> Record:
    """A stored record.

    :raises Damaged: when it cannot be read.
    """
    with _sound(vif_id, "record"):
        data: dict[str, Any] = json.loads(body)
        vif = Vif.model_validate(data["vif"])
        return Record(
            vif=vif,
            resources=tuple(_without_guests_address(resources.from_dict(item), vif) for item in data["resources"]),
            state=data["state"],
            updated_at=data["updated_at"],
            error=data["error"],
            created_by=data.get("created_by"),
        )


def _without_guests_address(resource: Resource, vif: Vif) -> Resource:
    """Of a tap that an earlier version gave its guest's own MAC, what it should have: then ``check`` names it."""
    if isinstance(resource, Tap) and resource.address == vif.address:
        return replace(resource, address=naming.tap_address(vif.address))
    return resource


def intent_to_json(intent: Intent) -> str:
    """An intent as it is stored."""
    return json.dumps(
        {
            "vif_id": intent.vif_id,
            "verb": intent.verb,
            "session": intent.session,
            "resources": [resources.to_dict(resource) for resource in intent.resources],
        }
    )


def intent_from_json(vif_id: str, body: str) -> Intent:
    """A stored intent.

    :raises Damaged: when it cannot be read.
    """
    with _sound(vif_id, "intent"):
        data: dict[str, Any] = json.loads(body)
        built = tuple(resources.from_dict(item) for item in data["resources"])
        return Intent(vif_id=data["vif_id"], verb=data["verb"], session=data["session"], resources=built)


@contextlib.contextmanager
def _sound(vif_id: str, what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise Damaged(
            f"the {what} of VIF {vif_id} is damaged ({said}); plug it again to write it anew, or unplug it", vif_id
        ) from error
