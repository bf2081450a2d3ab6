"""Marked frames, sent as the guest of a tap that no guest holds: how far they come is counted at each hop.

The tap must be the VIF's own and persistent, and no program may have it open: then it has no carrier. It is open for a
fraction of a second. A VMM that opens it just then fails (EBUSY), so nothing sends frames without being asked to.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping
from typing import Any

from vifplug.errors import Conflict
from vifplug.privileged import arguments, ownership
from vifplug.privileged.helper.context import net
from vifplug.privileged.links import tap as taps

COUNT_MAX = 64
_ETHERTYPE = bytes.fromhex("88b5")
"""IEEE 802: local experiments. Hosts and guests ignore it."""
_BROADCAST, _MARK = b"\xff" * 6, b"vifplug probe"
_FRAME_BYTES = 60
_SETTLE_SECONDS, _DRAIN_SECONDS = 0.3, 0.2
"""A Linux bridge forwards from a port as soon as the kernel has noted its carrier (linkwatch); vswitchd polls."""


@net.entrypoint
def send_frames(tap: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Send broadcast frames of the local experimental EtherType from a tap's guest's end.

    :param tap: ``name``, ``owner``, ``role`` and ``birth_address``, as of an operation on links; ``source``, the MAC.
    :returns: ``sent``, and ``received``, the frames that came to the guest's end meanwhile.
    :raises Conflict: it is not that VIF's own tap, or a program has it open; nothing was sent.
    """
    name, count = arguments.name(tap["name"]), arguments.number("the number of frames", count, 1, COUNT_MAX)
    source = bytes.fromhex(arguments.address(tap["source"]).replace(":", ""))
    link = ownership.read(name)
    if link is None or link["kind"] != "tap" or not ownership.is_ours(link, tap):
        raise Conflict(f"no frame was sent: {name!r} is not a tap that vifplug made for this VIF", name)
    if link["carrier"] or not link["persistent"]:
        raise Conflict(f"no frame was sent: a guest has {name!r} open", name)
    with taps.opened(name, bool(link["multiqueue"]), create=False) as descriptor:
        time.sleep(_SETTLE_SECONDS)
        header = bytes(taps.header_bytes(descriptor))
        frame = (_BROADCAST + source + _ETHERTYPE + _MARK).ljust(_FRAME_BYTES, b"\0")
        for _number in range(count):
            os.write(descriptor, header + frame)
        return {"sent": count, "received": _drained(descriptor)}


def _drained(descriptor: int) -> int:
    """Read what came to the guest's end, so that no frame stays in the tap's ring for the guest to come."""
    received, until = 0, time.monotonic() + _DRAIN_SECONDS
    while select.select([descriptor], [], [], max(until - time.monotonic(), 0))[0]:
        os.read(descriptor, 1 << 16)
        received += 1
    return received
