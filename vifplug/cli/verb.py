"""What a verb is: options and a way to a host in, an outcome out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vifplug.cli import tables
from vifplug.cli.arguments import Options
from vifplug.model import limits, reports

if TYPE_CHECKING:
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event, WaitReport
    from vifplug.model.vif import Vif

EXIT_DONE, EXIT_FAILED, EXIT_DRIFT, EXIT_CONFLICT = 0, 1, 3, 4


class Plan(Protocol):
    """What would be done."""

    @property
    def actions(self) -> Sequence[object]:
        """In order; ``str`` of one is a line to read."""

    def as_json(self) -> Mapping[str, Any]:
        """``{"actions": [...]}``."""


class Library(Protocol):
    """The host as the library shows it; what ``vifplug.local`` yields."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the last call could not settle of others' interrupted work."""

    def plug(self, vifs: Sequence[Vif]) -> Sequence[reports.VifReport]:
        """Build them all, or none."""

    def unplug(self, ids: Sequence[str]) -> Sequence[reports.VifReport]:
        """Take them away; one that is not there is done."""

    def progress(self, id: str) -> reports.Progress:
        """How far a request of several VIFs has come, this one among them."""

    def get(self, id: str) -> reports.VifReport:
        """One recorded VIF."""

    def list(self, *, absent_for: float | None = None) -> Sequence[reports.VifReport]:
        """Every recorded VIF, or those without a guest for so many seconds."""

    def check(self, ids: Sequence[str] | None = None) -> reports.CheckReport:
        """Compare these, or all, with the host."""

    def repair(self, ids: Sequence[str] | None = None) -> Sequence[reports.VifReport]:
        """Put these, or all, right."""

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> reports.GcReport:
        """What is ours and in no record, and VIFs of no guest that is to be kept; with ``delete`` it goes."""

    def plan(self, vifs: Sequence[Vif]) -> Plan:
        """What ``plug`` would do."""

    def path(self, id: str) -> reports.PathReport:
        """A VIF's path, hop by hop."""

    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        """What a hypervisor needs of a VIF."""

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        """How VIFs stand on their way to a state."""

    def wait(self, ids: Sequence[str], state: str, timeout: float) -> Sequence[reports.VifReport]:
        """Once they are there."""

    def events(self, since: int | None = None, follow: bool = False) -> Iterator[Event]:
        """What happened, in order."""


def nothing() -> None:
    """What is left to check of input that is known to be good."""


class Opener(Protocol):
    """How a verb gets its host."""

    def __call__(self, options: Options, check: Callable[[], object] = nothing, /) -> AbstractContextManager[Library]:
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
