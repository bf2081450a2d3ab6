"""Reads owners and device names from damaged rows. Pure.

A VIF whose record cannot be read is still plugged. Resources that its row, its key or its claims name are not orphans.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from vifplug import naming

_ID = re.compile(rf'"id":\s*"({naming.UUID.pattern})"')
_NAME = re.compile(r'"name":\s*"([^"\\]{1,15})"')
_KEY_MAX = 80


def text_of(value: object) -> str:
    """Any SQLite value as text."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def texts_of(values: Iterable[Any]) -> set[str]:
    """Any SQLite values as texts."""
    return {value if isinstance(value, str) else text_of(value) for value in set(values)}


def key_of(value: object) -> str:
    """A row's key in printable form."""
    return value if isinstance(value, str) and value.isprintable() else ascii(value)[:_KEY_MAX]


def vif_of(body: object) -> str | None:
    """The VIF id in a record's text."""
    text = text_of(body)
    try:
        vif_id = json.loads(text)["vif"]["id"]
        if isinstance(vif_id, str) and naming.is_uuid(vif_id):
            return vif_id
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    match = _ID.search(text)
    return match.group(1) if match else None


def owners_in(*values: object) -> set[str]:
    """Every owner in the texts: VIFs, and networks that share a bridge."""
    ids = {uuid for value in values for uuid in naming.UUID.findall(text_of(value).lower())}
    return ids | {f"net:{uuid}" for uuid in ids}


def names_in(*values: object) -> set[str]:
    """Every device name in the texts."""
    return {name for value in values for name in _NAME.findall(text_of(value))}
