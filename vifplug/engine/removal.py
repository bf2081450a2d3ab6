"""The parameters and results of a removal of VIFs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vifplug.errors import VifplugError
from vifplug.resources.observed import Inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """VIFs to remove, under locks that the requesting thread holds; their intents are written."""

    built: Mapping[str, Inventory]
    """What each VIF may have on the host."""
    away: VifplugError | None = None
    """The error if OVSDB has just not answered: then it is not asked again."""
    guests: Mapping[str, str] = field(default_factory=dict)
    """The link that each VIF's guest opens, if it is a link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The results, for each VIF."""

    errors: Mapping[str, Sequence[VifplugError]] = field(default_factory=dict)
    """With any error, the VIF's intent stays for the next command."""
    left: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What stays on the host because nothing shows any longer that it is ours, as text. It is no longer recorded."""
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What existed and was deleted, as text."""
    active: Collection[str] = ()
    """VIFs whose guests had their taps open."""
    warnings: Sequence[str] = ()
    """Of the whole plan."""
