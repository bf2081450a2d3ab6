"""JSON text -> Python values, refusing ambiguous JSON."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from vifplug.errors import InputError
from vifplug.model.quoting import quote

SIZE_MAX_MIB = 16
SIZE_MAX = SIZE_MAX_MIB * 2**20
"""Bytes of UTF-8. Sixty VIFs of an os-vif list are a quarter of a million."""

_DIGITS_MAX = 300
"""More than any number of a VIF has; Python refuses to parse more than 4300."""


def parse(text: str | bytes) -> object:
    """Parse a JSON text.

    :raises InputError: for text that is not UTF-8, empty, too large, not JSON or nested too deeply, and for a duplicate
        key or a number that JSON does not have.
    """
    source = _decoded(text).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")  # the byte order mark Windows adds
    if not source.strip():
        raise InputError("the document is empty; it must be JSON with one VIF or a list of them")
    try:
        return json.loads(
            source, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise InputError(f"the document is not JSON: {reason}, line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise InputError("JSON nested too deeply") from None


def _decoded(text: str | bytes) -> str:
    if not isinstance(text, str | bytes):
        raise InputError(f"the document: {quote(text)}: it must be JSON text, a str or bytes")
    if len(text) > SIZE_MAX:
        raise InputError(f"the document is larger than {SIZE_MAX_MIB} MiB; it must be one VIF or a list of them")
    try:
        # Text read with surrogateescape has lone surrogates for bytes that were not UTF-8.
        data = text.encode() if isinstance(text, str) else text
        decoded = data.decode()
    except UnicodeError as error:
        where = f" (at position {error.start})" if isinstance(error, UnicodeEncodeError | UnicodeDecodeError) else ""
        raise InputError(f"the document is not text in UTF-8{where}; it must be JSON") from None
    if len(data) > SIZE_MAX:
        raise InputError(f"the document is larger than {SIZE_MAX_MIB} MiB; it must be one VIF or a list of them")
    return decoded


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise InputError(f"the document has the key {quote(key)} twice in one object; give it once")
        content[key] = value
    return content


def _constant(name: str) -> NoReturn:
    raise InputError(f"the document is not JSON: {name} is not a number JSON has")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InputError(f"the document holds the number {quote(digits)}, which is too large")
    return value


def _int(digits: str) -> int:
    if len(digits) > _DIGITS_MAX:
        raise InputError(f"the document holds a number of {len(digits)} digits, which is too large")
    return int(digits)
