"""A run of creations and settings, collected first and then carried out in few sends.

The order: everything that must hold before a link is up, in one send; sysctls and offloads; flags, in one
send. A new link gets an ifindex chosen here, so that what is sent together with its creation can never land
on a stranger that took the name first: the kernel goes on with later messages when an earlier one failed.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vifplug.errors import Conflict, LinkError
from vifplug.privileged import arguments, link_errors, netlink, owned
from vifplug.privileged.link_message import CREATE, Attributes, Message, message

_INDEX_LOW, _INDEX_HIGH = 1 << 20, 1 << 31
"""Far above the kernel's own counter, which starts at one."""


def new_index() -> int:
    """An ifindex, or a link group, that nobody has."""
    return _INDEX_LOW + secrets.randbelow(_INDEX_HIGH - _INDEX_LOW)


@dataclass(slots=True)
class Run:
    """What is collected until it is sent; each item knows the number of the operation it came from."""

    births: list[tuple[int, Message]] = field(default_factory=list)
    """Creations of veth pairs, which name no other link; what else is early names them, or the bridges they join."""
    early: list[tuple[int, Message]] = field(default_factory=list)
    middle: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    late: list[tuple[int, Message]] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)
    """Name -> ifindex of what this run creates."""
    marks: dict[str, int] = field(default_factory=dict)
    """Name -> where in ``early``, which only grows until it is sent, the message is that marks it."""

    def mark(self, number: int, name: str, attrs: Attributes) -> None:
        """Mark what this run creates."""
        self.marks[name] = len(self.early)
        self.early.append((number, message(self.made[name], attrs)))

    def set_with_mark(self, number: int, name: str, index: int, attrs: Attributes) -> None:
        """Set what has nothing to do with any other link; where this one is new, in the message of its mark.

        Each message is news of a link to whoever listens, and vswitchd looks at every port after it. What is refused
        so is named by the mark's operation.
        """
        if not attrs:
            return
        if name not in self.marks:
            self.early.append((number, message(index, attrs)))
            return
        place = self.marks[name]
        marking, marked = self.early[place]
        self.early[place] = marking, marked.plus(attrs)

    def master(self, name: str) -> int:
        """The ifindex of a bridge that is there, or that this run makes.

        :raises LinkError: when there is none.
        """
        if name in self.made:
            return self.made[name]
        link = owned.read(arguments.name(name))
        if link is None:
            raise LinkError(f"could not find bridge {name!r}: no such device", name)
        if link["kind"] != "bridge":
            raise arguments.refuse("as a master the device", name)
        return int(link["ifindex"])

    def flush(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """Carry out what was collected, and forget it.

        :raises LinkError, Conflict: for the first that failed, its operation's number in ``step``.
        """
        # A new pair is what takes the kernel longest, and vswitchd may be about to look for it: it comes first, unless
        # its mark would be in another send.
        early = [*self.births, *self.early]
        if len(early) > netlink.TOGETHER_MAX:
            early.sort(key=lambda numbered: numbered[0])
        _send(early, operations)
        for number, effect in self.middle:
            try:
                effect()
            except LinkError as error:
                raise error.at_step(str(number)) from error
        _send(self.late, operations)
        for part in (self.births, self.early, self.middle, self.late, self.made, self.marks):
            part.clear()


def _send(numbered: Sequence[tuple[int, Message]], operations: Sequence[Mapping[str, Any]]) -> None:
    try:
        owned.socket().change([msg for _number, msg in numbered])
    except netlink.Refused as error:
        number = numbered[error.index][0]
        operation = operations[number]
        subject = link_errors.subject_of(operation)
        act = operation["op"].replace("-", " ")
        if error.code == errno.EEXIST:
            raise Conflict(f"could not {act} {subject!r}: the name is taken", subject, str(number)) from error
        creates = bool(numbered[error.index][1].flags & CREATE)
        text = link_errors.reason(error, operation, creates=creates)
        raise LinkError(f"could not {act} {subject!r}: {text}", subject, str(number)) from error
