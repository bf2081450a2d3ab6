"""Formats a caller's value for an error. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

VALUE_WIDTH = 80
"""The maximum of characters shown of a value."""

_BITS_SHOWN = 128
"""Larger integers are not printed: Python itself refuses to print one of more than 4300 digits."""


def quote(value: object) -> str:
    """A value on one line, printable, of at most ``VALUE_WIDTH`` characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _cut(repr(str(value[: VALUE_WIDTH + 1])))  # repr escapes whatever does not print
    if isinstance(value, int):
        bits = value.bit_length()
        return repr(int(value)) if bits <= _BITS_SHOWN else f"an integer of {bits} bits"
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return _cut(ascii(type(value).__name__))


def quote_python(value: object) -> str:
    """The same for an argument of the library: None, True and False as in Python."""
    return repr(value) if value is None or isinstance(value, bool) else quote(value)


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 3] + "..."
