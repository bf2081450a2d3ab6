"""What the use cases answer: plain values with the JSON form of DESIGN section 5, and back from it.

``from_json`` leaves out what it does not know, which a later version may have added; of anything but an answer's
JSON it makes a KeyError, TypeError or ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self

ABSENT = "absent"
"""What a VIF is in that is not plugged here; no recorded VIF is in it."""
PLUGGING, PLUGGED, WIRED, ACTIVE = "plugging", "plugged", "wired", "active"
UNPLUGGING, UNPLUGGED, DRIFTED, CONTENDED, FAILED = "unplugging", "unplugged", "drifted", "contended", "failed"
STATES = (PLUGGING, PLUGGED, WIRED, ACTIVE, UNPLUGGING, DRIFTED, CONTENDED, FAILED)
"""Those a recorded VIF can be in."""


def _known(cls: Any, data: object) -> dict[str, Any]:
    """What of a JSON object a dataclass has fields for."""
    if not isinstance(data, Mapping):
        raise TypeError(f"no JSON object for a {cls.__name__}: {data!r:.80}")
    return {one.name: data[one.name] for one in fields(cls) if one.name in data}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftItem:
    """One attribute that is not as it should be."""

    subject: str
    attribute: str
    observed: Any
    desired: Any

    def as_json(self) -> dict[str, Any]:
        """The four fields."""
        return {
            "subject": self.subject,
            "attribute": self.attribute,
            "observed": self.observed,
            "desired": self.desired,
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        return cls(**_known(cls, data))

    def __str__(self) -> str:
        return f"{self.subject} {self.attribute}: {self.observed!r}, should be {self.desired!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a request of several VIFs has come: of a plug steps of its plan, of anything else VIFs."""

    done: int = 0
    total: int = 0
    """0 when nothing is under way."""

    def as_json(self) -> dict[str, Any]:
        """Both numbers."""
        return {"done": self.done, "total": self.total}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class VifReport:
    """One VIF as recorded and, where the host was looked at, as it is."""

    id: str
    state: str
    vif_type: str | None = None
    address: str | None = None
    mtu: int | None = None
    bridge: str | None = None
    network: str | None = None
    """The network's UUID."""
    instance: Mapping[str, Any] | None = None
    devices: Sequence[Mapping[str, Any]] = ()
    """``{"name", "kind", "mtu", "up", "master", "ifindex"}`` each, in path order from the guest."""
    ports: Sequence[Mapping[str, Any]] = ()
    """``{"bridge", "name", "ofport", "tag"}`` each."""
    waiting_for: str | None = None
    """What is to come from somebody else: the name of the VMM's tap."""
    absent_since: str | None = None
    """Since when nothing is at the guest's end (ISO 8601, UTC); None where a guest is there, or nobody could look."""
    error: str | None = None
    updated_at: str | None = None
    """ISO 8601, UTC."""
    warnings: Sequence[str] = ()
    """Things a person should read; not part of the JSON."""

    def as_json(self) -> dict[str, Any]:
        """The VIF object of DESIGN section 5."""
        return {
            "id": self.id,
            "vif_type": self.vif_type,
            "state": self.state,
            "address": self.address,
            "mtu": self.mtu,
            "bridge": self.bridge,
            "network": self.network,
            "instance": dict(self.instance) if self.instance else None,
            "devices": [dict(device) for device in self.devices],
            "ports": [dict(port) for port in self.ports],
            "waiting_for": self.waiting_for,
            "absent_since": self.absent_since,
            "error": self.error,
            "updated_at": self.updated_at,
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        known = _known(cls, data) | {"warnings": ()}
        return cls(**known | {name: tuple(map(dict, known.get(name, ()))) for name in ("devices", "ports")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Something owned on the host that no record knows."""

    kind: str
    """bridge, veth, tap, ovs-port or qos."""
    name: str
    vif_id: str
    """The VIF id in its mark, or ``net:`` and a network id."""

    def as_json(self) -> dict[str, Any]:
        """The three fields."""
        return {"kind": self.kind, "name": self.name, "vif_id": self.vif_id}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class VifCheck:
    """What ``check`` found of one VIF."""

    id: str
    state: str
    error: str | None = None
    """Why, for drifted, contended and failed."""
    drift: Sequence[DriftItem] = ()
    absent_since: str | None = None
    """As of a VIF. It is no drift."""

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return {
            "id": self.id,
            "state": self.state,
            "error": self.error,
            "drift": [item.as_json() for item in self.drift],
            "absent_since": self.absent_since,
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        known = _known(cls, data)
        return cls(**known | {"drift": tuple(map(DriftItem.from_json, known.get("drift", ())))})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What ``check`` found."""

    vifs: Sequence[VifCheck] = ()
    orphans: Sequence[Orphan] = ()

    @property
    def clean(self) -> bool:
        """No drift, no orphan, and no VIF that cannot be told (a damaged record) or put right."""
        return not self.orphans and not any(vif.drift or vif.state == FAILED for vif in self.vifs)

    def as_json(self) -> dict[str, Any]:
        """``{"clean", "vifs", "orphans"}``."""
        return {
            "clean": self.clean,
            "vifs": [vif.as_json() for vif in self.vifs],
            "orphans": [orphan.as_json() for orphan in self.orphans],
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        known = _known(cls, data)
        return cls(
            vifs=tuple(map(VifCheck.from_json, known["vifs"])), orphans=tuple(map(Orphan.from_json, known["orphans"]))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentGuest:
    """A recorded VIF that is not to be kept, and whose guest's end is missing."""

    vif_id: str
    instance: str | None
    """Its UUID."""
    device: str
    """The guest's end."""
    absent_since: str

    def as_json(self) -> dict[str, Any]:
        """The four fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport:
    """What ``gc`` found, and what it deleted."""

    orphans: Sequence[Orphan] = ()
    deleted: Sequence[Orphan] = ()
    absent: Sequence[AbsentGuest] | None = None
    """With ``keep``: recorded VIFs that it does not name, and whose guest's end is missing. None without."""
    unplugged: Sequence[AbsentGuest] = ()
    """Those of them that were unplugged."""

    def as_json(self) -> dict[str, Any]:
        """``{"orphans", "deleted"}``; with ``keep`` also ``{"absent", "unplugged"}``."""
        found: dict[str, Any] = {
            "orphans": [orphan.as_json() for orphan in self.orphans],
            "deleted": [orphan.as_json() for orphan in self.deleted],
        }
        if self.absent is not None:
            found["absent"] = [vif.as_json() for vif in self.absent]
            found["unplugged"] = [vif.as_json() for vif in self.unplugged]
        return found

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        known = _known(cls, data)
        return cls(
            orphans=tuple(map(Orphan.from_json, known["orphans"])),
            deleted=tuple(map(Orphan.from_json, known["deleted"])),
            absent=tuple(map(AbsentGuest.from_json, known["absent"])) if "absent" in known else None,
            unplugged=tuple(map(AbsentGuest.from_json, known.get("unplugged", ()))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One station of a VIF's path, from the guest outwards, for ``diagram``."""

    name: str
    kind: str
    """guest, tap, bridge, veth, ovs-port or ovs-bridge."""
    state: str
    """up, down, missing, waiting, error or unknown."""
    mtu: int | None = None
    note: str = ""
    """What is wrong with it, or worth knowing: an ofport, a tag, an error."""
    joined: bool = True
    """Whether it is connected to the next hop."""
    drift: Sequence[DriftItem] = field(default_factory=tuple)

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of its JSON object."""
        known = _known(cls, data)
        return cls(**known | {"drift": tuple(map(DriftItem.from_json, known.get("drift", ())))})


@dataclass(frozen=True, slots=True, kw_only=True)
class PathReport:
    """A VIF's path through the host, hop by hop."""

    vif: VifReport
    hops: Sequence[Hop] = ()

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of ``{"vif", "hops"}``."""
        known = _known(cls, data)
        return cls(vif=VifReport.from_json(known["vif"]), hops=tuple(map(Hop.from_json, known["hops"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """One change that would be made."""

    action: str
    subject: str
    text: str

    def as_json(self) -> dict[str, str]:
        """The three fields."""
        return {"action": self.action, "subject": self.subject, "text": self.text}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Of what ``as_json`` gave."""
        return cls(**_known(cls, data))

    def __str__(self) -> str:
        return self.text


class Planned(Protocol):
    """A change to be read of: one of the engine's actions, or what the daemon tells of one."""

    def as_json(self) -> dict[str, str]:
        """``{"action", "subject", "text"}``."""


@dataclass(frozen=True, slots=True)
class PlanReport:
    """A plan to be read."""

    actions: Sequence[Planned] = ()

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        return "\n".join(str(action) for action in self.actions)

    def as_json(self) -> dict[str, list[dict[str, str]]]:
        """``{"actions": [...]}``."""
        return {"actions": [action.as_json() for action in self.actions]}


def plan_from_json(data: object) -> PlanReport:
    """The plan whose ``as_json`` gave this; it cannot be carried out."""
    return PlanReport(tuple(map(PlannedAction.from_json, _known(PlanReport, data)["actions"])))
