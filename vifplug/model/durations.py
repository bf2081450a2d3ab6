"""Durations and times as people give and read them: 90, 90s, 10m, 2h and 1d; local times. JSON has UTC and seconds."""

from __future__ import annotations

import datetime
import re

from vifplug.errors import InputError
from vifplug.model.quoting import quote_python

_MAX_SECONDS = 1e9
"""Thirty years."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_CLOCK = re.compile(r"\d\d:\d\d(?::\d\d)?", re.ASCII)
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


def ago(text: str, now: datetime.datetime) -> datetime.datetime:
    """The moment that a text means: a duration with its unit before now, or a time, local if it names no zone.

    :param now: with a zone, the local one.
    :raises InputError: it is neither.
    """
    if text and text[-1] in "smhd" and _TEXT.fullmatch(text):
        return now - datetime.timedelta(seconds=parse(text))
    try:
        if _CLOCK.fullmatch(text):
            return datetime.datetime.combine(now.date(), datetime.time.fromisoformat(text), now.tzinfo)
        moment = datetime.datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{text!r:.80} is neither a duration (10m, 2h, 1d), nor a time (10:30, '2026-11-21 10:30'), nor an "
            "event's number"
        ) from None


def local(time: str) -> str:
    """A time of a report (ISO 8601) as a person reads it: of the local zone, to the millisecond."""
    try:
        moment = datetime.datetime.fromisoformat(time).astimezone()
    except (ValueError, OverflowError, OSError):
        return time
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def in_words(seconds: float) -> str:
    """A duration as a person reads it: the two largest units of it."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    first = next(place for place, (count, _unit) in enumerate(parts) if count)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count)
