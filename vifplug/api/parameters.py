"""Checks the library's arguments before anything is changed; the same for both hosts.

Nothing heavy is imported here: a client that passes a document unread needs no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vifplug.errors import InputError
from vifplug.model import durations, limits
from vifplug.model.quoting import quote_python

if TYPE_CHECKING:
    from vifplug.model.vif import Vif


def vifs(given: object) -> list[Vif]:
    """VIFs to plug, from a list or any other iterable.

    :raises InputError: an item is not a VIF, or invalid, or given twice.
    """
    from vifplug.model import messages
    from vifplug.model import vif as model

    if isinstance(given, model.Vif):
        raise InputError("vifs: one Vif by itself: it must be a list of VIFs")
    listed = _listed("vifs", given, "VIFs; vifplug.load_all() makes them of a document")
    for place, vif in enumerate(listed):
        path = f"vifs[{place}]"
        if not isinstance(vif, model.Vif):
            raise messages.refusal(path, vif, "it must be a Vif; vifplug.load() makes one of a document")
        messages.recheck(vif, path)
    ids = [vif.id for vif in listed]
    if len(set(ids)) < len(ids):
        twice = next(vif_id for vif_id in ids if ids.count(vif_id) > 1)
        raise InputError(f"VIF {twice} is given twice in one request; each may be given once", twice)
    return listed


def _listed(name: str, given: object, of: str) -> list[Vif]:
    if isinstance(given, str | bytes | bytearray | Mapping) or not isinstance(given, Iterable):
        raise InputError(f"{name}: {quote_python(given)}: it must be a list of {of}")
    return list(given)


def flag(name: str, given: object) -> bool:
    """A truth value.

    :raises InputError: for anything else: a value that is only truthy may be a mistake.
    """
    if not isinstance(given, bool):
        raise InputError(f"{name}: {quote_python(given)}: it must be True or False")
    return given


def timeout(name: str, given: object) -> float | None:
    """Seconds, more than 0; None if none are given.

    :raises InputError: for anything else.
    """
    if given is None:
        return None
    waited = durations.seconds(given, name)
    if not waited:
        raise InputError(f"{name}: {quote_python(given)}: it must be more than 0 seconds")
    return waited


def interval(given: object) -> float:
    """The interval of a trace's counters, in seconds.

    :raises InputError: it is no number, or out of bounds.
    """
    waited = durations.seconds(given, "interval")
    if not limits.TRACE_SECONDS_MIN <= waited <= limits.TRACE_SECONDS_MAX:
        bounds = f"{limits.TRACE_SECONDS_MIN:g} to {limits.TRACE_SECONDS_MAX:g}"
        raise InputError(f"interval: {quote_python(given)}: it must be {bounds} seconds")
    return waited


def path(name: str, given: object) -> str | None:
    """A file's path as text; None if none is given.

    :raises InputError: for anything else.
    """
    if given is None:
        return None
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(text, str) or "\0" in text:
        raise InputError(f"{name}: {quote_python(given)}: it must be a path")
    return text
