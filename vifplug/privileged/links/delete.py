"""Deletes links: in groups, and waits only until they are gone.

A deletion waits for RCU grace periods: some while the kernel holds its lock (RTNL), after which no process can see the
links; and, after releasing the lock and before the answer, until no processor can still read their memory
(netdev_run_todo in net/core/dev.c), which is half of the time that one VIF's links take. So a thread sends the request,
and another socket queries whether the links are gone: that query waits only for the lock.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import LinkError, PermissionDenied
from vifplug.netlink import links
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import Message, message
from vifplug.privileged import arguments, ownership
from vifplug.privileged.links.batch import new_index

LOG = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.001
"""Between queries, if they do not wait for the kernel's lock."""
_TOGETHER_MAX = 20
"""Links in one group. A bridge holds the kernel's lock for some 18 ms, however many are deleted together (rcu_barrier
in br_multicast_dev_del, net/bridge/br_multicast.c); between two groups other processes get the lock."""


def delete(operation: Mapping[str, Any]) -> None:
    """Delete links in groups: one RCU grace period for many veth pairs, instead of one for each.

    :raises LinkError: one of them remained. Earlier groups are deleted; the caller continues link by link.
    :raises Conflict: one is not its owner's; nothing was deleted.
    :raises PermissionDenied: a network's link has another link on it, or is on another program's bridge.
    """
    indexes: dict[str, int] = {}
    for entry in operation["links"]:
        link = ownership.link_of(entry)
        if link is not None:
            indexes[entry["name"]] = int(link["ifindex"])
    spared = {entry["name"] for entry in operation["links"] if _is_shared(entry)}
    of_networks = {entry["name"]: entry["owner"] for entry in operation["links"] if _is_of_network(entry)}
    names = list(indexes)
    for start in range(0, len(names), _TOGETHER_MAX):
        some = names[start : start + _TOGETHER_MAX]
        for bridge in spared.intersection(some):  # just before the deletion: other programs have had time to join it
            _refuse_members(bridge, indexes)
        _refuse_used({name: of_networks[name] for name in some if name in of_networks}, indexes)
        _delete_group({name: indexes[name] for name in some})
        for name in some:
            ownership.forget(indexes[name])


def _is_shared(entry: Mapping[str, Any]) -> bool:
    """Whether a link is kept while another one is on it: a network's bridge, whatever the caller claims."""
    part = arguments.part(entry["role"])
    return bool(entry.get("spare_members")) or (part.role.of_network and part.kind.has_members)


def _is_of_network(entry: Mapping[str, Any]) -> bool:
    return arguments.part(entry["role"]).role.of_network


def _delete_group(indexes: Mapping[str, int]) -> None:
    group = new_index()
    joins = [message(index, [("IFLA_GROUP", group)]) for index in indexes.values()]
    refused = _refusal([*joins, message(attrs=[("IFLA_GROUP", group)], delete=True)], indexes)
    # A link that disappeared by itself meanwhile is not a failure; one that remained is.
    left = _left(indexes) if refused else []
    if refused and left:
        raise LinkError(f"could not delete link {left[0]!r}: {refused.text}", left[0]) from refused


def _refusal(messages: Sequence[Message], indexes: Mapping[str, int]) -> netlink.Refused | None:
    """Send, and wait until the links are gone; the kernel's error for those that remain."""
    try:
        deletion = _AsyncDelete(messages)
    except (OSError, RuntimeError) as error:
        LOG.debug("waiting for the kernel's answer: %s", error)
    else:
        return None if deletion.wait_gone(indexes) else deletion.refusal()
    # No descriptor, or no thread, is available: that must not prevent the deletion.
    try:
        ownership.socket().change(messages)
    except netlink.Refused as refused:
        return refused
    return None


def _refuse_members(bridge: str, deleted: Mapping[str, int]) -> None:
    members = set(links.member_names(ownership.socket(), deleted[bridge])) - set(deleted)
    if members:
        raise PermissionDenied(f"refused to delete bridge {bridge!r}: {sorted(members)[0]!r} is still on it", bridge)


def _refuse_used(owners: Mapping[str, str], deleted: Mapping[str, int]) -> None:
    """Refuse networks' links that another program uses: devices made on them are deleted with them (macvtap, macvlan,
    VLAN devices; unregister_netdevice_many notifies the devices above).

    :param owners: of these links, by name.
    :raises PermissionDenied: naming what is on one, or the bridge that it is on.
    """
    uppers = links.uppers(ownership.socket()) if owners else {}
    going = set(deleted.values())
    for name, owner in owners.items():
        others = sorted(upper for index, upper in uppers.get(deleted[name], {}).items() if index not in going)
        if others:
            raise PermissionDenied(f"refused to delete link {name!r}: {', '.join(others)} is still on it", name)
        link = ownership.read(name)
        master = link["master"] if link is not None else None
        if master is None or master in deleted or ownership.is_owners(master, owner, naming.ROLE_NETWORK_BRIDGE):
            continue
        raise PermissionDenied(f"refused to delete link {name!r}: it is on {master!r}, another program's", name)


def _left(indexes: Mapping[str, int]) -> list[str]:
    """Those that still exist; another link that took a name does not count."""
    return [name for name, index in links.indexes(ownership.socket(), indexes).items() if index == indexes[name]]


class _AsyncDelete:
    """A request that the kernel answers later than it carries it out, on a socket of its own."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._socket = netlink.LinkSocket()  # by the requesting thread: it is in the right network namespace
        self._answered = threading.Event()
        # Until the result is known: if the thread dies of anything else, the links are checked.
        self._refused: netlink.Refused | None = netlink.Refused(0, errno.EINTR, "the request was not sent")
        try:
            threading.Thread(target=self._send, name="farewell", daemon=True).start()
        except BaseException:
            self._socket.close()
            raise

    def _send(self) -> None:
        try:
            self._socket.change(self._messages)
            self._refused = None
        except netlink.Refused as error:
            self._refused = error
        finally:
            self._answered.set()
            self._socket.close()

    def wait_gone(self, indexes: Mapping[str, int]) -> bool:
        """Wait until these links are gone, or the kernel has answered; whether the links were gone first."""
        while not self._answered.wait(_PAUSE_SECONDS):
            if not _left(indexes):
                return True
        return False

    def refusal(self) -> netlink.Refused | None:
        """Wait for the answer."""
        self._answered.wait()
        return self._refused
