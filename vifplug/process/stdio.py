"""Descriptors 0-2 and their streams, in a process whose caller closed some of them (``>&-``).

The next open file gets a closed descriptor's number: a helper would replace a socket there by /dev/null.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

_OUTPUTS = ("stdout", "stderr")


def settle() -> None:
    """At the start of one of our programs: open /dev/null on closed descriptors, permanently."""
    _fill()
    if sys.stderr is None:
        # Code that writes to a None stream writes to stdout, which is only for results.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    # A closed stdout stays None: a command that follows events can then end.


def flush() -> None:
    """Flush stdout and stderr, if they can be written to."""
    for name in _OUTPUTS:
        _is_flushed(name)


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Provide all three for a library that forks and expects them, in a process that may be another program's.

    The child keeps the replacements; here everything is restored afterwards.
    """
    filled, empty = _fill(), io.StringIO()
    unusable = {name: getattr(sys, name, None) for name in _OUTPUTS if not _is_flushed(name)}
    for name in unusable:
        setattr(sys, name, empty)
    try:
        yield
    finally:
        for name, stream in unusable.items():
            if getattr(sys, name) is empty:  # unless another thread has replaced it
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
    except (AttributeError, OSError, ValueError):  # None, unusable, or closed
        return False
    return True
