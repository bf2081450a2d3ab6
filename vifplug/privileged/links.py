"""The link verbs: a list of operations in, carried out in few sends.

Within a run of creations and settings the order is: everything that must hold before a link is up (one
send), sysctls and offloads, then flags (one send). A creation, its mark and its master are in one send; a
new link gets an ifindex chosen here, so that a mark can never land on a stranger that took the name first.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from vifplug import naming
from vifplug.errors import Conflict, LinkError, PermissionDenied
from vifplug.privileged import arguments, netlink, offload, reading, sysctl, tap
from vifplug.privileged.context import net

_IFF_UP, _IFF_PROMISC = 0x1, 0x100
_FLAG_BITS = {"up": _IFF_UP, "promiscuous": _IFF_PROMISC}
_SYSCTLS = ("disable_ipv6", "accept_ra", "arp_ignore", "arp_announce")
_BRIDGE_SETTINGS = {
    "stp": "IFLA_BR_STP_STATE",
    "forward_delay": "IFLA_BR_FORWARD_DELAY",
    "ageing_time": "IFLA_BR_AGEING_TIME",
    "multicast_snooping": "IFLA_BR_MCAST_SNOOPING",
}
_IN_TICKS = ("forward_delay", "ageing_time")
_TICKS_PER_SECOND = 100
"""IFLA_BR_* times are in USER_HZ, whatever the kernel's own HZ."""
_DEFAULT_MTU = 1500
_INDEX_LOW, _INDEX_HIGH = 1 << 20, 1 << 31
"""Far above the kernel's own counter, which starts at one."""

Operation = Mapping[str, Any]


@dataclass(slots=True)
class _Run:
    """What is collected until it is sent; each item knows the operation it came from."""

    early: list[tuple[int, ifinfmsg]] = field(default_factory=list)
    middle: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    late: list[tuple[int, ifinfmsg]] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)
    """Name -> ifindex of what this run creates."""


_socket_instance: list[netlink.LinkSocket] = []


def _socket() -> netlink.LinkSocket:
    if not _socket_instance:
        _socket_instance.append(netlink.LinkSocket())
    return _socket_instance[0]


@net.entrypoint
def apply(operations: Sequence[Operation]) -> None:
    """Carry out link operations in order; the first that fails ends it, what was done stays for the caller to undo.

    :raises VifplugError: with the number of the failed operation in its ``step``.
    """
    run = _Run()
    number = 0
    try:
        for number, operation in enumerate(operations):
            match operation["op"]:
                case "create-bridge":
                    _create_bridge(run, number, operation)
                case "create-veth":
                    _create_veth(run, number, operation)
                case "set":
                    _set(run, number, operation)
                case "create-tap":
                    _flush(run, operations)
                    run = _Run()
                    _create_tap(operation)
                case "delete":
                    _flush(run, operations)
                    run = _Run()
                    _delete(operation)
                case other:
                    raise arguments.refuse("the link operation", other)
        _flush(run, operations)
    except (LinkError, PermissionDenied, Conflict) as error:
        raise error.at_step(str(number)) from error


def _flush(run: _Run, operations: Sequence[Operation]) -> None:
    _send(run.early, operations)
    for number, effect in run.middle:
        try:
            effect()
        except LinkError as error:
            raise error.at_step(str(number)) from error
    _send(run.late, operations)


def _send(numbered: Sequence[tuple[int, ifinfmsg]], operations: Sequence[Operation]) -> None:
    try:
        _socket().change([msg for _number, msg in numbered])
    except netlink.Refused as error:
        number = numbered[error.index][0]
        operation = operations[number]
        subject = operation.get("name") or operation["ends"][0]["name"]
        act = operation["op"].replace("-", " ")
        if error.code == errno.EEXIST:
            raise Conflict(f"could not {act} {subject!r}: the name is taken", subject, str(number)) from error
        raise LinkError(f"could not {act} {subject!r}: {error.text}", subject, str(number)) from error


def _new_index() -> int:
    return _INDEX_LOW + secrets.randbelow(_INDEX_HIGH - _INDEX_LOW)


def _create_bridge(run: _Run, number: int, operation: Operation) -> None:
    name, owner = arguments.name(operation["name"]), arguments.owner(operation["owner"])
    index = run.made[name] = _new_index()
    settings = {key: operation[key] for key in _BRIDGE_SETTINGS if operation.get(key) is not None}
    info = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": _bridge_attrs(settings)})]
    attrs = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", arguments.address(operation["address"])),
        ("IFLA_LINKINFO", {"attrs": info}),
    ]
    run.early.append((number, netlink.message(index, attrs, flags=netlink.CREATE)))
    run.early.append((number, netlink.message(index, [("IFLA_IFALIAS", naming.alias(owner))])))
    for mtu in _pinning(arguments.mtu(operation["mtu"])):
        run.early.append((number, netlink.message(index, [("IFLA_MTU", mtu)])))


def _pinning(mtu: int) -> tuple[int, ...]:
    """MTUs to set so that a bridge stops following its ports' smallest.

    Only a change counts as the user's word (br_change_mtu); dev_set_mtu skips a value that is already there.
    """
    return (mtu - 1, mtu) if mtu == _DEFAULT_MTU else (mtu,)


def _bridge_attrs(settings: Mapping[str, Any]) -> list[tuple[str, int]]:
    attrs = []
    for key, value in settings.items():
        amount = round(value * _TICKS_PER_SECOND) if key in _IN_TICKS else value
        attrs.append((_BRIDGE_SETTINGS[key], arguments.number(key, amount, 0, 2**31 - 1)))
    return attrs


def _create_veth(run: _Run, number: int, operation: Operation) -> None:
    ends = []
    for end in operation["ends"]:
        name = arguments.name(end["name"])
        run.made[name] = _new_index()
        ends.append(
            [
                ("IFLA_IFNAME", name),
                ("IFLA_ADDRESS", arguments.address(end["address"])),
                ("IFLA_MTU", arguments.mtu(end["mtu"])),
            ]
        )
    near, far = (run.made[end["name"]] for end in operation["ends"])
    peer = {"index": far, "attrs": ends[1]}
    info = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]
    attrs = [*ends[0], ("IFLA_LINKINFO", {"attrs": info})]
    run.early.append((number, netlink.message(near, attrs, flags=netlink.CREATE)))
    for end, index in zip(operation["ends"], (near, far), strict=True):
        marks: list[tuple[str, Any]] = [("IFLA_IFALIAS", naming.alias(arguments.owner(end["owner"])))]
        if end.get("master"):
            marks.append(("IFLA_MASTER", _index_of(run, end["master"])))
        run.early.append((number, netlink.message(index, marks)))


def _index_of(run: _Run, name: str) -> int:
    if name in run.made:
        return run.made[name]
    link = read(arguments.name(name))
    if link is None:
        raise LinkError(f"could not find link {name!r}: no such device", name)
    return int(link["ifindex"])


def read(name: str) -> dict[str, Any] | None:
    """A link by its name, if it is there."""
    return reading.links(_socket(), [name]).get(name)


def is_ours(link: Mapping[str, Any], owner: str, birth_address: str) -> bool:
    """Whether a link is its owner's: by its alias, or unmarked with the MAC it was born with."""
    if naming.owner_of(link["alias"]):
        return bool(link["alias"] == naming.alias(owner))
    return bool(link["address"] == birth_address)


def _owned(operation: Operation) -> dict[str, Any] | None:
    """The link an operation is about, if it is there.

    :raises PermissionDenied: when it is not its owner's.
    """
    name, owner = arguments.name(operation["name"]), arguments.owner(operation["owner"])
    link = read(name)
    if link is None or is_ours(link, owner, arguments.address(operation["birth_address"])):
        return link
    if not (operation.get("adopt") and _is_adoptable(link, owner)):
        raise PermissionDenied(f"refused to touch link {name!r}: it does not belong to {owner}", name)
    return link


def _is_adoptable(link: Mapping[str, Any], owner: str) -> bool:
    """Whether nobody marked a link that has a name only its owner's devices have."""
    identity = owner.removeprefix(naming.NETWORK_PREFIX)
    return not link["alias"] and any(link["name"] == naming.device(role, identity) for role in naming.ROLES)


def _set(run: _Run, number: int, operation: Operation) -> None:
    name, values = arguments.name(operation["name"]), operation["values"]
    if name in run.made:
        index = run.made[name]
    else:
        link = _owned(operation)
        if link is None:
            raise LinkError(f"could not change link {name!r}: no such device", name)
        index = int(link["ifindex"])
    for attrs in _early_attrs(run, operation, values):
        run.early.append((number, netlink.message(index, attrs)))
    for key in _SYSCTLS:
        if key in values:
            amount = arguments.number(key, int(values[key]), 0, 8)
            run.middle.append((number, _sysctl(name, key, amount)))
    if "tx_checksum" in values:
        run.middle.append((number, _offload(name, arguments.flag("tx_checksum", values["tx_checksum"]))))
    if "uid" in values or "gid" in values:
        run.middle.append((number, _tap_owner(name, operation)))
    link_flags = sum(_FLAG_BITS[key] for key in _FLAG_BITS if values.get(key))
    change = sum(_FLAG_BITS[key] for key in _FLAG_BITS if key in values)
    if change:
        run.late.append((number, netlink.message(index, link_flags=link_flags, change=change)))


def _early_attrs(run: _Run, operation: Operation, values: Mapping[str, Any]) -> list[list[tuple[str, Any]]]:
    """One message each, so that a refusal names one attribute; a bridge's MTU follows its members."""
    messages: list[list[tuple[str, Any]]] = []
    if "alias" in values:
        mark = naming.alias(arguments.owner(operation["owner"])) if values["alias"] else ""
        messages.append([("IFLA_IFALIAS", mark)])
    if "address" in values:
        messages.append([("IFLA_ADDRESS", arguments.address(values["address"]))])
    if "master" in values:
        messages.append([("IFLA_MASTER", _index_of(run, values["master"]) if values["master"] else 0)])
    settings = {key: values[key] for key in _BRIDGE_SETTINGS if key in values}
    if settings:
        info = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": _bridge_attrs(settings)})]
        messages.append([("IFLA_LINKINFO", {"attrs": info})])
    if "mtu" in values:
        messages.append([("IFLA_MTU", arguments.mtu(values["mtu"]))])
    return messages


def _sysctl(name: str, key: str, value: int) -> Callable[[], None]:
    return lambda: sysctl.write(name, key, value)


def _offload(name: str, on: bool) -> Callable[[], None]:
    return lambda: offload.set_tx_checksum(name, on)


def _tap_owner(name: str, operation: Operation) -> Callable[[], None]:
    values = operation["values"]

    def give() -> None:
        with tap.opened(name, arguments.flag("multiqueue", operation["multiqueue"]), create=False) as descriptor:
            tap.give(descriptor, name, values.get("uid"), values.get("gid"))

    return give


def _create_tap(operation: Operation) -> None:
    name, owner = arguments.name(operation["name"]), arguments.owner(operation["owner"])
    address, mtu = arguments.address(operation["address"]), arguments.mtu(operation["mtu"])
    for key in ("uid", "gid"):
        if operation.get(key) is not None:
            arguments.number(key, operation[key], 0, 2**32 - 2)
    with tap.opened(name, arguments.flag("multiqueue", operation["multiqueue"]), create=True) as descriptor:
        link = read(name)
        if link is None:
            raise LinkError(f"could not create tap {name!r}: it vanished", name)
        attrs = [("IFLA_IFALIAS", naming.alias(owner)), ("IFLA_ADDRESS", address), ("IFLA_MTU", mtu)]
        try:
            _socket().change([netlink.message(int(link["ifindex"]), [attr]) for attr in attrs])
        except netlink.Refused as error:
            raise LinkError(f"could not create tap {name!r}: {error.text}", name) from error
        sysctl.write(name, "disable_ipv6", 1)
        sysctl.write(name, "accept_ra", 0)
        tap.give(descriptor, name, operation.get("uid"), operation.get("gid"))
        tap.keep(descriptor, name)


def _delete(operation: Operation) -> None:
    """Delete links as one group: one RCU grace period for all, where one by one each waits for its own."""
    indexes: dict[str, int] = {}
    for entry in operation["links"]:
        link = _owned(entry)
        if link is not None:
            indexes[entry["name"]] = int(link["ifindex"])
    for entry in operation["links"]:
        if entry.get("spare_members") and entry["name"] in indexes:
            _refuse_members(entry["name"], indexes)
    if not indexes:
        return
    group = _new_index()
    joins = [netlink.message(index, [("IFLA_GROUP", group)]) for index in indexes.values()]
    leave = netlink.message(attrs=[("IFLA_GROUP", group)], delete=True)
    try:
        _socket().change([*joins, leave])
    except netlink.Refused as error:
        # A link that went by itself meanwhile is no failure; one that stayed is.
        left = reading.links(_socket(), indexes)
        if left:
            subject = next(iter(left))
            raise LinkError(f"could not delete link {subject!r}: {error.text}", subject) from error


def _refuse_members(bridge: str, deleted: Mapping[str, int]) -> None:
    members = set(reading.all_links(_socket(), master=deleted[bridge])) - set(deleted)
    if members:
        raise PermissionDenied(f"refused to delete bridge {bridge!r}: {sorted(members)[0]!r} is still on it", bridge)
