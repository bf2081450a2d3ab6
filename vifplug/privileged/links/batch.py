"""A run of creations and settings, collected first and then carried out in few sends.

The order: everything that must hold before a link is up, in one send; sysctls and offloads; flags, in one send. A new
link gets an ifindex chosen here, so that messages sent together with its creation can never change a foreign link that
took the name first: the kernel continues with later messages after an earlier one failed.
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
    """An unused ifindex, or link group."""
    return _INDEX_LOW + secrets.randbelow(_INDEX_HIGH - _INDEX_LOW)


@dataclass(slots=True)
class Run:
    """Operations that are collected before they are sent; each item has the number of its operation."""

    creations: list[tuple[int, Message]] = field(default_factory=list)
    """Creations of veth pairs, which name no other link; other early messages name them, or the bridges that they
    join."""
    early: list[tuple[int, Message]] = field(default_factory=list)
    middle: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    late: list[tuple[int, Message]] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)
    """Name -> ifindex of the links that this run creates."""
    owners: dict[str, str] = field(default_factory=dict)
    """Name -> owner of these links."""
    pairs: set[str] = field(default_factory=set)
    """Those among them that are ends of veth pairs."""
    marks: dict[str, int] = field(default_factory=dict)
    """Name -> position in ``early``, which only grows until it is sent, of the message that marks the link."""

    def make(self, name: str, owner: str) -> int:
        """The ifindex of a link that this run is to create.

        :raises PermissionDenied: this run already creates a link of that name.
        """
        if name in self.made:
            raise arguments.refuse("two links of the name", name)
        index = self.made[name] = new_index()
        self.owners[name] = owner
        return index

    def mark(self, number: int, name: str, attrs: Attributes) -> None:
        """Mark the links that this run creates."""
        self.marks[name] = len(self.early)
        self.early.append((number, message(self.made[name], attrs)))

    def set_with_mark(self, number: int, name: str, index: int, attrs: Attributes) -> None:
        """Set attributes that involve no other link; on a new link in the message of its mark.

        Each message notifies all listeners of a link, and vswitchd processes every port after it. An error then names
        the mark's operation.
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
        """The ifindex of a bridge that a VIF's link of that role may join: an existing one, or one that this run makes.

        A veth end may only join its own VIF's bridge; an uplink only its network's bridge that vifplug made; a tap also
        a network's bridge, made by any program (decision 0004).

        :raises LinkError: there is none.
        :raises Conflict: it is another VIF's, or not a Linux bridge.
        """
        maker, joins_own_network = self.owners.get(name), arguments.part(role).role.joins_own_network
        if maker is not None:
            joins_network = arguments.part(role).role.joins_network
            if maker == owner or (joins_network and maker.startswith(naming.NETWORK_PREFIX)):
                return self.made[name]
            raise _no_master(name, owner)
        link = ownership.read(arguments.link_there(name))
        if link is None:
            raise LinkError(f"could not find bridge {name!r}: no such device", name)
        own_role = naming.ROLE_NETWORK_BRIDGE if joins_own_network else naming.ROLE_BRIDGE
        is_own = ownership.is_ours(link, {"owner": owner, "role": own_role})
        joins_network = arguments.part(role).role.joins_network
        marked = naming.owner_of(link["alias"])
        # Without a mark, a bridge of that name is Nova's or os-vif's for a single VIF.
        is_open = not marked and not naming.is_vifs_bridge(link["name"])
        is_shared = kinds.has_members(link["kind"]) and (is_open or marked.startswith(naming.NETWORK_PREFIX))
        if is_own or (joins_network and is_shared):
            return int(link["ifindex"])
        raise _no_master(name, owner)

    def create(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """Carry out what must hold before a link is up; ``finish`` follows.

        :raises LinkError, PermissionDenied, Conflict: for the first that failed, with its operation's number as
            ``step``.
        """
        # A new pair takes the kernel longest, and vswitchd may be about to look for it: it comes first, unless its mark
        # would be in another send.
        early = [*self.creations, *self.early]
        if len(early) > netlink.TOGETHER_MAX:
            early.sort(key=lambda numbered: numbered[0])
        _send(early, operations)
        for name, index in self.made.items():
            ownership.remember(index, self.owners[name])

    def finish(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """Carry out the rest, sysctls and offloads, then flags, and clear the collected operations. Errors as of
        ``create``."""
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
        for part in (
            self.creations,
            self.early,
            self.middle,
            self.late,
            self.made,
            self.owners,
            self.pairs,
            self.marks,
        ):
            part.clear()


def _no_master(name: str, owner: str) -> Conflict:
    return Conflict(
        f"refused to put a link of {owner} on device {name!r}: it is neither its own bridge nor a network's",
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
