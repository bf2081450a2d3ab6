"""The contract of a verb: it takes options and an opener of the host, and returns an outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vifplug.cli.arguments import Options
from vifplug.cli.layout import Screen

if TYPE_CHECKING:
    from vifplug.api.contract import Host

EXIT_DONE, EXIT_FAILED, EXIT_DRIFT, EXIT_CONFLICT = 0, 1, 3, 4


def nothing() -> None:
    """The check of input that is already checked."""


class Opener(Protocol):
    """Opens the host for a verb."""

    def __call__(self, options: Options, check: Callable[[], object] = nothing, /) -> AbstractContextManager[Host]:
        """The host of the options.

        :param check: checks the input. The daemon does that itself; so it is called only when there is another host, or
            none.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a verb as JSON and as text."""

    document: Any
    """For ``-o json`` and ``-o yaml``."""
    text: Callable[[Screen], str]
    names: Callable[[], Sequence[str]] | None = None
    """For ``-o name``: ids, or the names of what has none; None if there are none."""
    exit_code: int = EXIT_DONE
    warnings: Sequence[str] = ()
    is_printed: bool = False
    """Whether the verb has already written it to stdout, line by line."""


Verb = Callable[[Options, Opener], Outcome]
"""A verb's function. It neither prints its result nor maps errors."""
