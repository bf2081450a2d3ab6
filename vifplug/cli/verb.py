"""What a verb is: options and a way to a host in, an outcome out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vifplug.cli import tables
from vifplug.cli.arguments import Options

if TYPE_CHECKING:
    from vifplug.api.contract import Host

EXIT_DONE, EXIT_FAILED, EXIT_DRIFT, EXIT_CONFLICT = 0, 1, 3, 4


def nothing() -> None:
    """What is left to check of input that is known to be good."""


class Opener(Protocol):
    """How a verb gets its host."""

    def __call__(self, options: Options, check: Callable[[], object] = nothing, /) -> AbstractContextManager[Host]:
        """The host of the options.

        :param check: what is to be seen of the input before anything is done with it. The daemon sees to that by
            itself; it is called when the host is another one, or when there is none.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a verb in both its forms."""

    document: Any
    """For ``-o json``."""
    text: Callable[[tables.Screen], str]
    exit_code: int = EXIT_DONE
    warnings: Sequence[str] = ()
    is_out: bool = False
    """Whether it is on stdout already, line by line as it came."""


Verb = Callable[[Options, Opener], Outcome]
