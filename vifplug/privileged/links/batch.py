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

from vifplug import naming
from vifplug.errors import Conflict, LinkError, PermissionDenied, VifplugError
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import CREATE, Attributes, Message, message
from vifplug.privileged import arguments, ownership
from vifplug.privileged.links import errors as link_errors
from vifplug.resources import kinds

_INDEX_LOW, _INDEX_HIGH = 1 << 20, 1 << 31
"""Far above the kernel's own counter, which starts at one."""


def new_index() -> int:
    """An ifindex, or a link group, that nobody has."""
    return _INDEX_LOW + secrets.randbelow(_INDEX_HIGH - _INDEX_LOW)


@dataclass(slots=True)
class Run:
    """What is collected until it is sent; each item knows the number of the operation it came from."""

    creations: list[tuple[int, Message]] = field(default_factory=list)
    """Creations of veth pairs, which name no other link; what else is early names them, or the bridges they join."""
    early: list[tuple[int, Message]] = field(default_factory=list)
    middle: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    late: list[tuple[int, Message]] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)
    """Name -> ifindex of what this run creates."""
    owners: dict[str, str] = field(default_factory=dict)
    """Name -> whose it is, of the same."""
    marks: dict[str, int] = field(default_factory=dict)
    """Name -> where in ``early``, which only grows until it is sent, the message is that marks it."""

    def make(self, name: str, owner: str) -> int:
        """The ifindex of a link that this run is to create.

        :raises PermissionDenied: for a name that it creates already.
        """
        if name in self.made:
            raise arguments.refuse("two links of the name", name)
        index = self.made[name] = new_index()
        self.owners[name] = owner
        return index

    def mark(self, number: int, name: str, attrs: Attributes) -> None:
        """Mark what this run creates."""
        self.marks[name] = len(self.early)
        self.early.append((number, message(self.made[name], attrs)))

    def set_with_mark(self, number: int, name: str, index: int, attrs: Attributes) -> None:
        """Set what has nothing to do with any other link; where this one is new, in the message of its mark.

        Each message notifies all listeners of a link, and vswitchd looks at every port after it. What is refused
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

    def master(self, name: str, owner: str, role: str) -> int:
        """The ifindex of a bridge that a VIF's link of that role may join: one that is there, or that this run makes.

        A veth end joins its own VIF's bridge alone; a tap also a network's bridge, whoever made it (decision 0004).

        :raises LinkError: when there is none.
        :raises Conflict: when it is another VIF's, or no Linux bridge.
        """
        maker = self.owners.get(name)
        if maker is not None:
            joins_network = arguments.part(role).role.joins_network
            if maker == owner or (joins_network and maker.startswith(naming.NETWORK_PREFIX)):
                return self.made[name]
            raise _no_master(name, owner)
        link = ownership.read(arguments.link_there(name))
        if link is None:
            raise LinkError(f"could not find bridge {name!r}: no such device", name)
        is_own = ownership.is_ours(link, {"owner": owner, "role": naming.ROLE_BRIDGE})
        joins_network = arguments.part(role).role.joins_network
        marked = naming.owner_of(link["alias"])
        # Without a mark, one of that name is another program's bridge of a single VIF: Nova's, or os-vif's.
        is_open = not marked and not naming.is_vifs_bridge(link["name"])
        is_shared = kinds.has_members(link["kind"]) and (is_open or marked.startswith(naming.NETWORK_PREFIX))
        if is_own or (joins_network and is_shared):
            return int(link["ifindex"])
        raise _no_master(name, owner)

    def flush(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """Carry out what was collected, and forget it.

        :raises LinkError, PermissionDenied, Conflict: for the first that failed, its operation's number in ``step``.
        """
        # A new pair is what takes the kernel longest, and vswitchd may be about to look for it: it comes first, unless
        # its mark would be in another send.
        early = [*self.creations, *self.early]
        if len(early) > netlink.TOGETHER_MAX:
            early.sort(key=lambda numbered: numbered[0])
        _send(early, operations)
        for name, index in self.made.items():
            ownership.remember(index, self.owners[name])
        for number, effect in self.middle:
            try:
                effect()
            except (LinkError, PermissionDenied, Conflict) as error:
                raise error.at_step(str(number)) from error
            except VifplugError:
                raise
            except Exception as error:
                raise link_errors.of_library(error, operations[number], number) from error
        _send(self.late, operations)
        for part in (self.creations, self.early, self.middle, self.late, self.made, self.owners, self.marks):
            part.clear()


def _no_master(name: str, owner: str) -> Conflict:
    return Conflict(
        f"refused to put a link of {owner} on device {name!r}: it is neither that VIF's own bridge nor a network's",
        name,
    )


def _send(numbered: Sequence[tuple[int, Message]], operations: Sequence[Mapping[str, Any]]) -> None:
    try:
        ownership.socket().change([msg for _number, msg in numbered])
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
