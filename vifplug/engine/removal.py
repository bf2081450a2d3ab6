"""What a removal of VIFs is asked with, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vifplug.errors import VifplugError
from vifplug.resources.observed import Inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """VIFs to remove, under locks that the requesting thread holds; their intents are written."""

    built: Mapping[str, Inventory]
    """What each may have on the host."""
    away: VifplugError | None = None
    """The error by which OVSDB has just been found not to answer: it need not be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What came of it, for each VIF."""

    errors: Mapping[str, Sequence[VifplugError]] = field(default_factory=dict)
    """With any, the VIF's intent stays for the next command."""
    left: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What stays on the host because nothing shows any more that it is ours, in words. It is no longer recorded."""
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What was there and was taken away, in words."""
    warnings: Sequence[str] = ()
    """Of the whole plan."""
