"""udev and new taps: whether it may still give one another MAC, and when it is done with it.

A tap is born with a random MAC. Where udev looks at it before vifplug's own is set, it later writes one that it made up
(systemd's 99-default.link, MACAddressPolicy=persistent). That is corrected when the plug is read back, which must not
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
"""With it udev leaves the MACs of taps alone that have such names."""
DIRECTORIES = ("etc", "run", "usr/local/lib", "usr/lib", "lib")
"""Where systemd looks for ``systemd/network``; of files of one name the first counts."""

_COVERED = re.compile(r"tap[0-9a-f]{8}-[0-9a-f]{2}")
_UDEV_SECONDS = 3.0
"""How long udev may take; on a host at rest some milliseconds."""
_POLL_SECONDS = 0.002
_UNSEEN_SECONDS, _SUSPECT_SECONDS = 0.006, 0.05
"""How long to wait where udev cannot be seen but may be at work, as the host's is for a container; and once it was."""


class Udev:
    """udev, as seen from one process."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self.has_overwritten = False
        """Whether the MAC of a tap was found to be another's."""

    def await_taps(self, names: Collection[str], made_at: float) -> None:
        """Return once udev is done with new taps, as far as that can be seen.

        :param made_at: when they were made, or a little earlier, by the monotonic clock.
        """
        if not names:
            return
        seen = {name: index for name in names if (index := _index(self._root, name))}
        if not seen or not (self._root / "run/udev/control").exists():
            patience = _SUSPECT_SECONDS if self.has_overwritten else _UNSEEN_SECONDS
            time.sleep(max(0.0, made_at + patience - time.monotonic()))
            return
        is_told = any((self._root / place / "systemd/network" / LINK_FILE).exists() for place in DIRECTORIES)
        # udev writes what it knows of a device when it has done all that its rules and .link files say.
        known = [index for name, index in seen.items() if not (is_told and is_covered(name))]
        files = [self._root / f"run/udev/data/n{index}" for index in known]
        deadline = time.monotonic() + _UDEV_SECONDS
        while not all(file.exists() for file in files) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def is_covered(name: str) -> bool:
    """Whether ``LINK_FILE`` is about a tap of that name."""
    return _COVERED.fullmatch(name) is not None


def _index(root: Path, name: str) -> int | None:
    """A link's ifindex, where /sys shows this network namespace: udev knows no other's links."""
    with contextlib.suppress(OSError, ValueError):
        index = int((root / "sys/class/net" / name / "ifindex").read_text())
        if index == socket.if_nametoindex(name):
            return index
    return None
