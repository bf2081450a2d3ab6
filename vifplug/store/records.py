"""The store's rows of a VIF: the record of what was built, and the intent of what is about to be done."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vifplug import naming
from vifplug.errors import Damaged
from vifplug.model.events import EventCause
from vifplug.model.reports import STATES
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.contract import Relation, Resource
from vifplug.resources.link import Link

PLUG, UNPLUG = "plug", "unplug"
_PARTS = "vf:"
"""Prefix of a physical function's address: the holder of a claim that its virtual functions share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was built for a VIF."""

    vif: Vif
    """The request, completed with defaults."""
    resources: tuple[Resource, ...]
    """The built resources: links with their ifindex, ports with their row's UUID."""
    state: str
    updated_at: str = ""
    error: str | None = None
    created_by: int | None = None
    """The uid of the user that plugged it first; None if that was not stored."""
    note: str | None = field(default=None, compare=False)
    """For the event of this change; not stored in the record."""
    cause: EventCause | None = field(default=None, compare=False)
    """What this change is about, for its events; not stored in the record."""
    physical: str = ""
    """The physical function of its guest's PCI function; "" for none."""
    guest_absent_since: str | None = field(default=None, compare=False)
    """When the daemon saw the guest's end go away; "" if it is present; None if no daemon has looked. Stored beside the
    record, because it is not a change of the VIF."""

    @property
    def id(self) -> str:
        """The VIF's id."""
        return self.vif.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a session is about to do to a VIF."""

    vif_id: str
    verb: str
    session: int
    resources: tuple[Resource, ...]
    """The resources that the host may have for this VIF from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything in the store at one moment."""

    records: Mapping[str, Record] = field(default_factory=dict)
    intents: Mapping[str, Intent] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Why a record cannot be read, by VIF id. The VIF is still plugged: none of its resources is an orphan."""
    held_by_damaged: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The owners of each damaged record's resources: the VIF, and the networks whose bridges it shares."""
    covered: frozenset[str] = frozenset()
    """Every owner named by a claim or by the readable part of a damaged row: their resources are not orphans."""
    covered_names: frozenset[str] = frozenset()
    """Every device name that is claimed, or that is in the readable part of a damaged row."""

    @property
    def damaged_holders(self) -> frozenset[str]:
        """The owners of all damaged records' resources."""
        return frozenset().union(*self.held_by_damaged.values())


def claimed(resources: Iterable[Resource]) -> dict[str, str]:
    """Names with a single owner, and that owner; several VIFs may need a referenced resource."""
    return {item.name: item.owner for item in resources if item.relation is not Relation.REFERENCED}


def functions_claimed(vif: Vif, physical: str) -> dict[str, str]:
    """The PCI function that a VIF's guest is given, which is the VIF's alone; and the physical function of that, which
    all virtual ones hold together against one VIF that would have it as a whole."""
    if vif.pci_device is None:
        return {}
    shared = {physical: f"{_PARTS}{physical}"} if physical else {}
    return shared | {vif.pci_device.address: vif.id}


def functions_kept(known: Record | None, record: Record | None) -> frozenset[str]:
    """The functions that a VIF had before and keeps. Older versions did not claim them, so another VIF may have
    claimed them since: the VIF is still recorded and repaired."""
    if known is None or record is None or known.vif.pci_device is None or record.vif.pci_device is None:
        return frozenset()
    if known.vif.pci_device.address != record.vif.pci_device.address:
        return frozenset()
    return frozenset(functions_claimed(record.vif, record.physical)) - claimed(record.resources).keys()


def claims_of(part: Record | Intent) -> dict[str, str]:
    """Every name that it claims, and the name's holder: the VIF, or what shares it."""
    claims = claimed(part.resources)
    return claims | functions_claimed(part.vif, part.physical) if isinstance(part, Record) else claims


def now() -> str:
    """The present time, ISO 8601 in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json(record: Record) -> str:
    """A record as it is stored."""
    return json.dumps(
        {
            "vif": record.vif.model_dump(mode="json", exclude_none=True),
            "resources": [kinds.to_dict(resource) for resource in record.resources],
            "state": record.state,
            "updated_at": record.updated_at,
            "error": record.error,
            "created_by": record.created_by,
            **({"physical": record.physical} if record.physical else {}),
        }
    )


def from_json(vif_id: str, body: str) -> Record:
    """A stored record.

    :raises Damaged: when it cannot be read.
    """
    with _sound(vif_id, "record"):
        data: dict[str, Any] = json.loads(_text(body))
        vif = Vif.model_validate(data["vif"])
        record = Record(
            vif=vif,
            resources=tuple(_without_guests_address(_resource(item), vif) for item in data["resources"]),
            state=_fitting("state", data["state"], str),
            updated_at=_fitting("updated_at", data["updated_at"], str),
            error=_fitting("error", data["error"], str | None),
            created_by=_fitting("created_by", data.get("created_by"), int | None),
            physical=_fitting("physical", data.get("physical", ""), str),
        )
        if record.id != vif_id:
            raise ValueError(f"it belongs to VIF {record.id}")
        if record.state not in STATES:
            raise ValueError(f"unknown state {record.state!r:.40}")
        return record


def _without_guests_address(resource: Resource, vif: Vif) -> Resource:
    """A tap to which an earlier version gave the guest's own MAC, with the right MAC, so that ``check`` reports it."""
    if isinstance(resource, Link) and resource.is_opened_by_guest and resource.address == vif.address:
        return replace(resource, address=naming.tap_address(vif.address))
    return resource


def intent_to_json(intent: Intent) -> str:
    """An intent as it is stored."""
    return json.dumps(
        {
            "vif_id": intent.vif_id,
            "verb": intent.verb,
            "session": intent.session,
            "resources": [kinds.to_dict(resource) for resource in intent.resources],
        }
    )


def intent_from_json(vif_id: str, body: str) -> Intent:
    """A stored intent.

    :raises Damaged: when it cannot be read.
    """
    with _sound(vif_id, "intent"):
        data: dict[str, Any] = json.loads(_text(body))
        built = tuple(_resource(item) for item in data["resources"])
        if data["vif_id"] != vif_id or data["verb"] not in (PLUG, UNPLUG):
            raise ValueError(f"it has verb {data['verb']!r:.40} and VIF {data['vif_id']!r:.40}")
        session = _fitting("session", data["session"], int)
        return Intent(vif_id=vif_id, verb=data["verb"], session=session, resources=built)


def _text(body: str) -> str:
    """A row's text, checked to be UTF-8.

    :raises ValueError: when it is not.
    """
    return body.encode().decode() if isinstance(body, str) else body


def resource_from_json(body: str) -> Resource:
    """A stored resource, each field checked to be of its type.

    :raises UnknownKind: for a kind there is not.
    :raises ValueError, KeyError, TypeError, AttributeError, RecursionError: when it cannot be read.
    """
    return _resource(json.loads(_text(body)))


def _resource(data: Mapping[str, Any]) -> Resource:
    resource: Resource = kinds.from_dict(data)
    cls: Any = type(resource)
    hints = _hints(cls)
    for name in filter(hints.get, data):  # all but the kind; what was left out has its default
        hint, plain = hints[name]
        value = getattr(resource, name)
        if type(value) not in plain:
            _fitting(name, value, hint)
    return resource


@functools.cache
def _hints(cls: Any) -> Mapping[str, tuple[Any, tuple[Any, ...]]]:
    """Each field's type; and the types of values that fit it whatever their contents are."""
    hints = typing.get_type_hints(cls)
    return {item.name: (hints[item.name], _plain(hints[item.name])) for item in dataclasses.fields(cls)}


def _plain(hint: Any) -> tuple[Any, ...]:
    alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(cls for cls in alternatives if isinstance(cls, type) and typing.get_origin(cls) is None)


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """The value, checked to be of its type.

    :raises TypeError: when it is of another type.
    """
    if not _fits(value, hint):
        raise TypeError(f"{name} is {value!r:.40}")
    return value


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, typing.get_args(hint)[0]) for item in value)
    if isinstance(value, Mapping):
        if typing.get_origin(hint) is not Mapping or not all(isinstance(key, str) for key in value):
            return False
        value_hint = typing.get_args(hint)[1]
        return value_hint is not str or all(isinstance(item, str) for item in value.values())
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return typing.get_origin(hint) is None and isinstance(value, (int, float) if hint is float else hint)


@contextlib.contextmanager
def _sound(vif_id: str, row: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise Damaged(
            f"the {row} of VIF {vif_id} is damaged ({reason}); plug it again to rewrite it, or unplug it", vif_id
        ) from error
