"""The doctor's questions to the real host. Nothing is changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vifplug.config.options import Settings
from vifplug.errors import TimedOut
from vifplug.linux.turns import turn
from vifplug.privileged import diagnostics

_EXAMINING_MAX = 2
"""Concurrent examinations: the privileged side must have threads left for requests."""
_HELPER_SECONDS, _SECONDS, _OVSDB_SECONDS = 3.0, 10.0, 5.0
"""Time limit of the privileged side; for OVSDB, in addition to the time for the connection."""


class Call(Protocol):
    """Calls a verb of the privileged side, with a time limit in seconds."""

    def __call__(self, verb: Any, seconds: float, *arguments: Any) -> Any:
        """The verb's answer."""


class LinuxProbe:
    """This machine's privileged side, Open vSwitch and firewall: the real ``vifplug.doctor.probe.Probe``."""

    def __init__(self, settings: Settings, call: Call) -> None:
        self._settings, self._call = settings, call
        self._slots = threading.BoundedSemaphore(_EXAMINING_MAX)

    def helper(self) -> Mapping[str, Any]:
        """The privileged side's process."""
        answer: Mapping[str, Any] = self._examine(diagnostics.helper, _HELPER_SECONDS)
        return answer

    def reach(self) -> Sequence[Mapping[str, Any]]:
        """The configured OVSDB addresses, and which of them answer."""
        answer: Sequence[Mapping[str, Any]] = self._examine(diagnostics.reach, _SECONDS)
        return answer

    def vswitchd(self) -> Mapping[str, Any]:
        """Whether ovs-vswitchd answers at its control socket, and its version."""
        answer: Mapping[str, Any] = self._examine(diagnostics.vswitchd, _SECONDS)
        return answer

    def forwarding(self) -> Mapping[str, Any]:
        """The messages of nftables' chains, and iptables-legacy's families."""
        answer: Mapping[str, Any] = self._examine(diagnostics.forwarding, _SECONDS)
        return answer

    def firewall(self, kind: str, family: int, table: str, name: str) -> Sequence[bytes] | None:
        """The messages of a chain's ``rules`` or of a set's ``elements``; None if it does not exist, or is too
        large."""
        answer: Sequence[bytes] | None = self._examine(diagnostics.firewall, _SECONDS, kind, family, table, name)
        return answer

    def about(self) -> Mapping[str, Any]:
        """Open vSwitch's versions, types and bridges."""
        answer: Mapping[str, Any] = self._examine(diagnostics.about, _OVSDB_SECONDS + 2 * self._settings.timeout)
        return answer

    def switch(self) -> Mapping[str, Any]:
        """Open vSwitch's bridges, ports and mirrors, and whether vswitchd is behind."""
        answer: Mapping[str, Any] = self._examine(diagnostics.switch, _OVSDB_SECONDS + 2 * self._settings.timeout)
        return answer

    def has_ovs(self) -> bool:
        """Whether an OVSDB socket exists: a host with plain bridges only has none, and needs none."""
        local = [remote.partition(":")[2] for remote in self._settings.connection if remote.startswith("unix:")]
        return len(local) < len(self._settings.connection) or any(os.path.exists(path) for path in local)

    def _examine(self, verb: Any, seconds: float, *arguments: Any) -> Any:
        """:raises HelperDied, TimedOut, OvsUnavailable: it cannot be examined."""
        with turn(self._slots, seconds, TimedOut("other requests examine the host; try again")):
            return self._call(verb, seconds, *arguments)
