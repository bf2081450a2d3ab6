"""Makes text with the kernel's names printable everywhere: a byte that is not UTF-8 becomes ``\\xNN``.

Names are read with surrogateescape, so that they can be sent back as the same bytes. No encoding has a lone surrogate,
and JSON parsers other than Python's refuse it or replace it. Values of attributes are printed in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any


def text(value: str) -> str:
    """The text without lone surrogates."""
    if value.isascii():
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # others than those that represent a byte
        return value.encode("utf-8", "backslashreplace").decode()


def document(value: Any) -> Any:
    """The same for every text of a JSON document."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {document(key): document(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [document(item) for item in value]
    return value


def dumps(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """A document as JSON, in ASCII."""
    written = json.dumps(value, indent=indent, default=default)
    # Surrogates of both kinds are written like this; to find the lone ones, the document is searched.
    return json.dumps(document(json.loads(written)), indent=indent) if "\\ud" in written else written


def in_words(value: Any) -> str:
    """A value of an attribute as a plan prints it."""
    match value:
        case True:
            return "on"
        case False:
            return "off"
        case None | "" | ():
            return "none"
        case float():
            return f"{value:g}"
        case _:
            return " ".join(value) if isinstance(value, tuple) else str(value)
