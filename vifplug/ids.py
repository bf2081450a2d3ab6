"""VIFs' ids as callers of the library give them: UUIDs in either case. A VIF has its in lower case."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug import limits
from vifplug.errors import InputError


def canonical(id: object) -> str:
    """An id in lower case.

    :raises InputError: for what is no UUID: no VIF has that id, and "done already" would hide the mistake.
    """
    if not isinstance(id, str) or not limits.is_uuid(id.lower()):
        raise InputError(f"{id!r:.80} is no VIF's id; it must be a UUID as text")
    return id.lower()


def each_once(ids: Sequence[str]) -> list[str]:
    """Ids in lower case, in order, each once.

    :raises InputError: for what is no list of UUIDs.
    """
    if isinstance(ids, str):
        raise InputError(f"{ids!r:.80} is one id; give a list of ids")
    return list(dict.fromkeys(map(canonical, ids)))
