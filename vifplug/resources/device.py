"""Devices of the host that a VIF needs and never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vifplug.resources.contract import Relation
from vifplug.resources.link import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Link):
    """A link of another program's, of whatever kind, that must be there."""

    kind: ClassVar[str] = "device"
    relation: ClassVar[Relation] = Relation.REFERENCED
