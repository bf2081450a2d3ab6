"""Attributes of links that stop or leak frames; and the value of each with which a link forwards correctly.

vifplug sets none of them at creation: they are the kernel's defaults. Every link of ours has them, whatever version of
vifplug made it, so no record contains them. An observed link shows those that differ (``Link.impeded``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.resources import bridge, tap

PORT_PREFIX = "bridge_port:"
"""Attributes of a link as a port of a Linux bridge (IFLA_BRPORT_*, linux/if_link.h)."""
PORT_STATE = f"{PORT_PREFIX}state"
FORWARDING = 3
"""BR_STATE_FORWARDING of linux/if_bridge.h."""

PORT_FLAGS: Mapping[str, tuple[int, int, int]] = {
    # Name: the number of IFLA_BRPORT_..., its size in bytes, the value.
    f"{PORT_PREFIX}hairpin": (4, 1, 0),
    f"{PORT_PREFIX}guard": (5, 1, 0),
    f"{PORT_PREFIX}root_block": (6, 1, 0),
    f"{PORT_PREFIX}learning": (8, 1, 1),
    f"{PORT_PREFIX}flood": (9, 1, 1),
    f"{PORT_PREFIX}proxy_arp": (10, 1, 0),
    f"{PORT_PREFIX}proxy_arp_wifi": (12, 1, 0),
    f"{PORT_PREFIX}mcast_flood": (27, 1, 1),
    f"{PORT_PREFIX}mcast_to_unicast": (28, 1, 0),
    f"{PORT_PREFIX}vlan_tunnel": (29, 1, 0),
    f"{PORT_PREFIX}bcast_flood": (30, 1, 1),
    f"{PORT_PREFIX}group_fwd_mask": (31, 2, 0),
    f"{PORT_PREFIX}neigh_suppress": (32, 1, 0),
    f"{PORT_PREFIX}isolated": (33, 1, 0),
    f"{PORT_PREFIX}locked": (39, 1, 0),
    f"{PORT_PREFIX}mab": (40, 1, 0),
    f"{PORT_PREFIX}neigh_vlan_suppress": (43, 1, 0),
}
PORT_STATE_NUMBER = 1
"""IFLA_BRPORT_STATE. The kernel changes it with the carrier, so it is separate from the flags."""

QDISC, INGRESS, XDP = "qdisc", "ingress_filter", "xdp"
TX_QUEUE, LINK_MODE = "txqueuelen", "linkmode"
VLAN_FILTERING = bridge.VLAN_FILTERING.name
BRIDGE: Mapping[str, int] = {attribute.name: 0 for attribute in bridge.IMPEDING}

QDISCS_OF_VETH = frozenset({"noqueue", "noop"})
"""A veth has no queue (IFF_NO_QUEUE); a link that is not up has noop."""
QDISCS_OF_TAP = QDISCS_OF_VETH | (tap.Tap.passage.qdiscs or frozenset())
TX_QUEUE_LENGTH = 1000
"""The kernel's default for an Ethernet device. It is the size of a tap's ring: with 0 every frame is dropped."""

RIGHT: Mapping[str, Any] = {
    **{name: value for name, (_number, _size, value) in PORT_FLAGS.items()},
    PORT_STATE: FORWARDING,
    **BRIDGE,
    QDISC: "the kernel's default",
    INGRESS: None,
    XDP: None,
    TX_QUEUE: TX_QUEUE_LENGTH,
    LINK_MODE: 0,
}
"""The correct value of each."""
OF_ANY_LINK = frozenset(RIGHT) - frozenset(BRIDGE)
"""Those of links of any kind; the others are in their kind's table."""
FINAL = frozenset({QDISC, INGRESS, XDP})
"""What is removed cannot be restored: a program or a queueing discipline is more than its name."""
