"""udev and new taps: waits until udev cannot change a new tap's MAC any more.

A tap is created with a random MAC. If udev reads it before vifplug's own MAC is set, it later writes a generated one
(systemd's 99-default.link, MACAddressPolicy=persistent). The read-back of the plug corrects that, so it must not
come before udev.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Collection
from pathlib import Path

LINK_FILE = "70-vifplug.link"
"""With this file udev does not change the MACs of taps with OpenStack's names."""
DIRECTORIES = ("etc", "run", "usr/local/lib", "usr/lib", "lib")
"""The parents of ``systemd/network``; of files with the same name the first counts."""

_COVERED = re.compile(r"tap[0-9a-f]{8}-[0-9a-f]{2}")
_UDEV_SECONDS = 3.0
"""The limit for udev; on an idle host it takes some milliseconds."""
_POLL_SECONDS = 0.002
_UEVENTS, _FROM_KERNEL = b"15", 1
"""NETLINK_KOBJECT_UEVENT, and the multicast group of the kernel's own events; 2 is that of udev's copies of them."""
_UNSEEN_SECONDS, _SUSPECT_SECONDS = 0.006, 0.05
"""The wait if udev is not visible but may be running, such as the host's for a container; and after it has changed a
MAC."""


class Udev:
    """udev, as seen from one process."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self.has_overwritten = False
        """Whether the MAC of a tap was changed once."""

    def await_taps(self, names: Collection[str], made_at: float) -> None:
        """Return once udev has finished with new taps, as far as that is visible.

        :param made_at: the time of their creation, or a little earlier, by the monotonic clock.
        """
        if not names or (not self.has_overwritten and not _may_run(self._root)):
            return
        seen = {name: index for name in names if (index := _index(self._root, name))}
        if not seen or not (self._root / "run/udev/control").exists():
            patience = _SUSPECT_SECONDS if self.has_overwritten else _UNSEEN_SECONDS
            time.sleep(max(0.0, made_at + patience - time.monotonic()))
            return
        is_installed = any((self._root / place / "systemd/network" / LINK_FILE).exists() for place in DIRECTORIES)
        # udev writes a device's data file after it has applied its rules and .link files.
        known = [index for name, index in seen.items() if not (is_installed and is_covered(name))]
        files = [self._root / f"run/udev/data/n{index}" for index in known]
        deadline = time.monotonic() + _UDEV_SECONDS
        while not all(file.exists() for file in files) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _may_run(root: Path) -> bool:
    """Whether a process that may be udev listens to the kernel's device events in this network namespace: those of its
    links are sent to no other one (uevent_net_broadcast_tagged). Also true if that cannot be read."""
    try:
        # thread-self: /proc/net belongs to the process, whose other threads may be in another network namespace.
        with open(root / "proc/thread-self/net/netlink", "rb", buffering=0) as table:
            sockets = [line.split() for line in table.readall().splitlines()]
        return any(fields[1] == _UEVENTS and int(fields[3], 16) & _FROM_KERNEL for fields in sockets)
    except (OSError, ValueError, IndexError):
        return True


def is_covered(name: str) -> bool:
    """Whether ``LINK_FILE`` applies to a tap of that name."""
    return _COVERED.fullmatch(name) is not None


def _index(root: Path, name: str) -> int | None:
    """A link's ifindex, if /sys shows this network namespace: udev only handles its own namespace's links."""
    with contextlib.suppress(OSError, ValueError):
        index = int((root / "sys/class/net" / name / "ifindex").read_text())
        if index == socket.if_nametoindex(name):
            return index
    return None
