"""Settings as netlink attributes, every value checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.netlink.message import (
    ARP_ANNOUNCE,
    ARP_IGNORE,
    INGRESS,
    ROOT,
    Message,
    bridge_port,
    ipv4,
    linkinfo,
    message,
    no_qdisc,
    no_xdp,
)
from vifplug.privileged import arguments
from vifplug.privileged.links.batch import Run
from vifplug.resources import passage

_BRIDGE_SETTINGS = {
    "stp": "IFLA_BR_STP_STATE",
    "forward_delay": "IFLA_BR_FORWARD_DELAY",
    "ageing_time": "IFLA_BR_AGEING_TIME",
    "multicast_snooping": "IFLA_BR_MCAST_SNOOPING",
    "vlan_filtering": "IFLA_BR_VLAN_FILTERING",
    "group_fwd_mask": "IFLA_BR_GROUP_FWD_MASK",
}
_MAX_OF = {"vlan_filtering": 1, "group_fwd_mask": 0xFFFF}
_IPV4_SETTINGS = {"arp_ignore": ARP_IGNORE, "arp_announce": ARP_ANNOUNCE}
_ARP_MAX = 8
_IN_TICKS = ("forward_delay", "ageing_time")
_TICKS_PER_SECOND = 100
"""IFLA_BR_* times are in USER_HZ, whatever the kernel's own HZ."""
_DEFAULT_MTU = 1500
PROMISCUOUS = 0x100
"""IFF_PROMISC."""
_FLAG_BITS = {"up": 0x1, "promiscuous": PROMISCUOUS}
"""IFF_UP, IFF_PROMISC."""


def pinning(mtu: int) -> tuple[int, ...]:
    """MTUs to set so that a bridge stops following its ports' smallest.

    Only a change counts as the user's word (br_change_mtu); dev_set_mtu skips a value that is already there.
    """
    return (mtu - 1, mtu) if mtu == _DEFAULT_MTU else (mtu,)


def bridge_info(settings: Mapping[str, Any]) -> tuple[str, Any]:
    """IFLA_LINKINFO with those of a bridge's settings that are given."""
    attrs = []
    for key, value in settings.items():
        if key not in _BRIDGE_SETTINGS or value is None:
            continue
        amount = round(value * _TICKS_PER_SECOND) if key in _IN_TICKS else value
        attrs.append((_BRIDGE_SETTINGS[key], arguments.number(key, amount, 0, _MAX_OF.get(key, 2**31 - 1))))
    return linkinfo("bridge", attrs)


def before_up(run: Run, operation: Mapping[str, Any]) -> list[list[tuple[str, Any]]]:
    """Attributes to set before a link is up.

    One message each, so that a refusal names one attribute; a bridge's MTU comes behind its members (LP 1399064).
    """
    values = operation["values"]
    identity = arguments.owner(operation["owner"]), arguments.role(operation["role"])
    messages: list[list[tuple[str, Any]]] = []
    if "alias" in values:
        mark = naming.alias(arguments.owner(operation["owner"])) if values["alias"] else ""
        messages.append([("IFLA_IFALIAS", mark)])
    if "address" in values:
        messages.append([("IFLA_ADDRESS", arguments.address(values["address"]))])
    if "master" in values:
        master = values["master"]
        messages.append([("IFLA_MASTER", run.master(master, *identity) if master else 0)])
    # STP first, as in the table: while it is on, the kernel takes no forward delay below 2 s (br_set_forward_delay),
    # and within one message it looks at the delay first (br_changelink).
    messages += [[bridge_info({key: values[key]})] for key in _BRIDGE_SETTINGS if key in values]
    if "mtu" in values:
        messages.append([("IFLA_MTU", arguments.mtu(values["mtu"]))])
    return messages


_LINK_SETTINGS = {passage.TX_QUEUE: ("IFLA_TXQLEN", 1 << 20), passage.LINK_MODE: ("IFLA_LINKMODE", 1)}
_XDP_FLAGS = {"driver": (4,), "generic": (2,), "offloaded": (8,), "several": (2, 4, 8)}
"""XDP_FLAGS_DRV_MODE and so on, of linux/if_link.h; what was attached in one way is taken away in the same."""
_PLACES = {passage.QDISC: ROOT, passage.INGRESS: INGRESS}


def freed(index: int, values: Mapping[str, Any], link: Mapping[str, Any] | None) -> tuple[list[Message], list[Message]]:
    """What lets frames pass again: what goes out before a link is up, and what the kernel takes only of one that is.

    :param link: as it was read; None for a new one.
    """
    early = []
    for key, (name, most) in _LINK_SETTINGS.items():
        if key in values:
            early.append(message(index, [(name, arguments.number(key, values[key], 0, most))]))
    flags = {
        number: arguments.number(key, values[key], 0, (1 << 8 * size) - 1).to_bytes(size, sys.byteorder)
        for key, (number, size, _right) in passage.PORT_FLAGS.items()
        if key in values
    }
    early += [message(index, [bridge_port(flags)])] if flags else []
    early += [no_qdisc(index, parent) for key, parent in _PLACES.items() if key in values]
    if passage.XDP in values and link is not None:
        ways = _XDP_FLAGS.get(link["impeded"].get(passage.XDP), ())
        early += [message(index, [no_xdp(flag)]) for flag in ways]
    if passage.PORT_STATE not in values:
        return early, []
    state = arguments.number(passage.PORT_STATE, values[passage.PORT_STATE], 0, 4)
    return early, [message(index, [bridge_port({passage.PORT_STATE_NUMBER: bytes([state])})])]


def of_ipv4(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """One attribute with all IPv4 settings that are given, or none."""
    given = [key for key in _IPV4_SETTINGS if key in values]
    settings = {_IPV4_SETTINGS[key]: arguments.number(key, int(values[key]), 0, _ARP_MAX) for key in given}
    return [ipv4(settings)] if settings else []


def flags(values: Mapping[str, Any]) -> tuple[int, int]:
    """IFF_ bits and their mask, for those of the flags that are given."""
    given = {key: bit for key, bit in _FLAG_BITS.items() if key in values}
    return sum(bit for key, bit in given.items() if values[key]), sum(given.values())
