"""The bounds, forms and defaults of plain values. Nothing heavy is imported here."""

from __future__ import annotations

from vifplug import naming

MTU_MIN, MTU_MAX = 68, 65521
"""A VIF's: IPv4's smallest MTU (RFC 791) and a tap's largest, because every VIF ends in a tap: 65535 less Ethernet's
header."""
INSTANCE_NAME_MAX = 255
QUEUES_MAX = 256
"""A tap's maximum (MAX_TAP_QUEUES of drivers/net/tun.c)."""
SEQUENCE_MAX = 2**63 - 1
"""The largest number of an event; SQLite's largest integer."""
FOLLOWED_MAX = 100
"""VIFs whose events may be asked for by their ids."""
VIRTIO = "virtio"
"""The guest's default network card."""
ABSENT_SECONDS = 600.0
"""How long a guest's end must be missing before ``gc`` treats its VIF as one without an instance."""
TRACE_SECONDS, TRACE_SECONDS_MIN, TRACE_SECONDS_MAX = 1.0, 0.1, 60.0
"""The interval of a trace's counters: by default, and its bounds."""
TIMEOUT_SECONDS = 300.0
"""Nova's vif_plugging_timeout."""

NO_VLAN = "none"
"""The value of a request that removes a VIF's VLAN; a request without a value keeps the recorded one."""

UUID_EXAMPLE = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
UUID_RULE = f"it must be a UUID such as {UUID_EXAMPLE}"
"""The rule of ``naming.is_uuid`` for an error."""
MTU_RULE = f"it must be a whole number from {MTU_MIN} to {MTU_MAX}"
"""The rule of ``is_mtu`` for an error."""
VLAN_RULE = (
    f'it must be a VLAN id from {naming.VLAN_MIN} to {naming.VLAN_MAX}, or "{NO_VLAN}" to remove that of a plugged VIF'
)
"""The rule of ``is_vlan`` for an error."""


def is_mtu(value: object) -> bool:
    """Whether it is an MTU that a VIF may have."""
    return isinstance(value, int) and not isinstance(value, bool) and MTU_MIN <= value <= MTU_MAX


def is_vlan(value: object) -> bool:
    """Whether it is a VLAN id that a VIF may have."""
    return isinstance(value, int) and not isinstance(value, bool) and naming.VLAN_MIN <= value <= naming.VLAN_MAX
