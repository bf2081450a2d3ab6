"""What can still be read of rows that are damaged: whose they were, and which names they hold. Pure.

A VIF whose record cannot be read is plugged all the same. What its row, its key or its claims still name is no orphan.
"""

from __future__ import annotations

import json
import re

from vifplug.model import limits

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID = re.compile(rf'"id":\s*"({_UUID.pattern})"')
_NAME = re.compile(r'"name":\s*"([^"\\]{1,15})"')
_KEY_MAX = 80


def text_of(value: object) -> str:
    """Any value of SQLite's as text."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def key_of(value: object) -> str:
    """A row's key, as one that can be shown."""
    return value if isinstance(value, str) and value.isprintable() else ascii(value)[:_KEY_MAX]


def vif_of(body: object) -> str | None:
    """The VIF that a record's text is about."""
    text = text_of(body)
    try:
        found = json.loads(text)["vif"]["id"]
        if isinstance(found, str) and limits.is_uuid(found):
            return found
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    match = _ID.search(text)
    return match.group(1) if match else None


def owners_in(*values: object) -> set[str]:
    """Every owner that is named: VIFs, and networks that share a bridge."""
    ids = {found for value in values for found in _UUID.findall(text_of(value).lower())}
    return ids | {f"net:{found}" for found in ids}


def names_in(*values: object) -> set[str]:
    """Every device name that is given."""
    return {found for value in values for found in _NAME.findall(text_of(value))}
