"""Numbers of netlink, as the kernel's headers have them. A test compares them with pyroute2's.

Importing them from pyroute2 takes 0.13 s and 9 MB in each process, for thirty numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x200, 0x400, 0x800
"""linux/netlink.h."""

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_DELQDISC, RTM_DELLINKPROP = 28, 29, 37, 109
RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV6_IFINFO = 0x1, 0x4, 0x800
"""linux/rtnetlink.h."""

ATTRIBUTES: Mapping[str, tuple[int, str]] = {
    "IFLA_ADDRESS": (1, "l2addr"),
    "IFLA_IFNAME": (3, "asciiz"),
    "IFLA_MTU": (4, "uint32"),
    "IFLA_LINK": (5, "uint32"),
    "IFLA_MASTER": (10, "uint32"),
    "IFLA_TXQLEN": (13, "uint32"),
    "IFLA_LINKMODE": (17, "uint8"),
    "IFLA_LINKINFO": (18, ""),
    "IFLA_IFALIAS": (20, "asciiz"),
    "IFLA_VFINFO_LIST": (22, ""),
    "IFLA_AF_SPEC": (26, ""),
    "IFLA_GROUP": (27, "uint32"),
    "IFLA_EXT_MASK": (29, "uint32"),
    "IFLA_NUM_TX_QUEUES": (31, "uint32"),
    "IFLA_NUM_RX_QUEUES": (32, "uint32"),
    "IFLA_XDP": (43, ""),
    "IFLA_INFO_KIND": (1, "asciiz"),
    "IFLA_INFO_DATA": (2, ""),
    "VETH_INFO_PEER": (1, ""),
}
"""Number and width of the attributes of link messages that belong to no single kind; "" for a nest. linux/if_link.h."""
