"""Durations as callers give them: seconds as a number, or text such as 90, 90s, 10m, 2h and 1d."""

from __future__ import annotations

import re

from vifplug.errors import InputError
from vifplug.model.quoting import quote_python

_MAX_SECONDS = 1e9
"""Thirty years."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TEXT = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhd]?)", re.ASCII)


def seconds(value: object, name: str) -> float:
    """A number of seconds, 0 or more.

    :param name: the parameter's, for the error.
    :raises InputError: for anything else.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MAX_SECONDS:  # type: ignore[operator]  # which NaN and infinity are not
        raise InputError(f"{name}: {quote_python(value)} is not a number of seconds; it must be a number, 0 or more")
    return float(value)  # type: ignore[arg-type]


def parse(text: str) -> float:
    """The seconds of a text.

    :raises InputError: it is not a duration.
    """
    matched = _TEXT.fullmatch(text)
    if matched is None:
        raise InputError(
            f"{text!r:.80} is not a duration; it must be seconds, or a number with s, m, h or d, such as 10m"
        )
    return float(matched[1]) * _UNITS[matched[2]]
