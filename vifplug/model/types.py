"""VIFs' ids as callers of the library give them: UUIDs in either case. A VIF has its in lower case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vifplug import naming
from vifplug.errors import InputError
from vifplug.model.quoting import quote_python


def canonical(id: object) -> str:
    """An id in lower case.

    :raises InputError: it is not a UUID: no VIF has that id, and counting it as absent would hide the mistake.
    """
    if not isinstance(id, str) or not naming.is_uuid(id.lower()):
        raise InputError(f"{quote_python(id)} is not a VIF's id: it must be a UUID as text")
    return id.lower()


def each_once(ids: Sequence[str]) -> list[str]:
    """Ids in lower case, in order, each once.

    :raises InputError: it is not a list of UUIDs.
    """
    if isinstance(ids, str):
        raise InputError(f"{quote_python(ids)} is one id; give a list of ids")
    if isinstance(ids, bytes | bytearray | Mapping) or not isinstance(ids, Iterable):
        raise InputError(f"{quote_python(ids)} is not a list of ids; give a list of UUIDs as text")
    return list(dict.fromkeys(map(canonical, ids)))
