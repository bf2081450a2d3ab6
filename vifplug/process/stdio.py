"""Descriptors 0-2 and the streams on them, in a process whose caller closed some of them (``>&-``).

A descriptor that is closed is the next one's that is opened: a helper would make a socket /dev/null there.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

_OUTPUTS = ("stdout", "stderr")


def settle() -> None:
    """For the start of a program of our own: open /dev/null on those that are closed, for good."""
    _fill()
    if sys.stderr is None:
        # What is told to write to None writes to stdout, where nothing but results belong.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    # A stdout that is closed stays None: who has nobody to write to need not follow events.


def flush() -> None:
    """Write what is left in stdout and stderr, where they can be written to."""
    for name in _OUTPUTS:
        _is_flushed(name)


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """For a library that forks and takes all of them for granted, in a process that may be somebody else's.

    The child keeps what stands in; here it is all as before afterwards.
    """
    filled, stand_in = _fill(), io.StringIO()
    unusable = {name: getattr(sys, name, None) for name in _OUTPUTS if not _is_flushed(name)}
    for name in unusable:
        setattr(sys, name, stand_in)
    try:
        yield
    finally:
        for name, stream in unusable.items():
            if getattr(sys, name) is stand_in:  # and no other, by another thread meanwhile
                setattr(sys, name, stream)
        for descriptor in filled:
            os.close(descriptor)


def _fill() -> list[int]:
    filled = []
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
        filled.append(opened)
    os.close(opened)
    return filled


def _is_flushed(name: str) -> bool:
    try:
        getattr(sys, name).flush()
    except (AttributeError, OSError, ValueError):  # None, or of no use, or closed
        return False
    return True
