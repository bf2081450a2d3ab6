"""Why VIFs cannot be repaired, grouped by reason: each reason is logged once when it begins and once when it ends."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from vifplug.errors import BridgeMissing, VifplugError

_OF_ID = 11
"""The part of a VIF's id that its devices' names have (prefix and id, cut to 14 characters)."""
_NAMED_MAX = 3
_COUNTERS = re.compile(r"(?<=_cfg )\d+")
"""Counters that differ between attempts."""


@dataclass(slots=True)
class _Reason:
    """A reason and its VIFs."""

    error: VifplugError
    vifs: set[str] = field(default_factory=set)
    ever: set[str] = field(default_factory=set)
    """All VIFs it has applied to since it began."""
    is_logged: bool = False


class Reasons:
    """The reasons that prevent repairs. For one thread.

    :param log: the logger.
    :param on_bridge: the VIFs with a port on an OVS bridge.
    """

    def __init__(self, log: logging.Logger, on_bridge: Callable[[Collection[str]], Collection[str]]) -> None:
        self._log, self._on_bridge = log, on_bridge
        self._reasons: dict[str, _Reason] = {}

    def failed(self, vif_id: str, error: VifplugError) -> None:
        """Add a failed repair, which ``log`` reports."""
        key = _key(vif_id, error)
        self.well([vif_id], but=key)
        reason = self._reasons.setdefault(key, _Reason(error))
        reason.vifs.add(vif_id)
        reason.ever.add(vif_id)

    def well(self, vif_ids: Collection[str], but: str = "") -> None:
        """Remove these VIFs from all reasons, or from all but one."""
        for key, reason in self._reasons.items():
            if key != but:
                reason.vifs.difference_update(vif_ids)

    def keep_only(self, vif_ids: Collection[str]) -> None:
        """Forget VIFs that are no longer recorded."""
        for reason in self._reasons.values():
            reason.vifs.intersection_update(vif_ids)

    def is_shared(self, vif_id: str) -> bool:
        """Whether other VIFs have the same reason, which was then logged for all of them."""
        return any(vif_id in reason.vifs and self._count(reason) > 1 for reason in self._reasons.values())

    def log(self) -> None:
        """Log new and ended reasons."""
        for reason in self._reasons.values():
            if reason.vifs and not reason.is_logged:
                reason.is_logged = True
                self._begin(reason)
        for key in [key for key, reason in self._reasons.items() if not reason.vifs]:
            self._end(self._reasons.pop(key))

    def _begin(self, reason: _Reason) -> None:
        ids = sorted(reason.vifs)
        if self._count(reason) == 1:
            self._log.warning("could not repair VIF %s: %s", ids[0], reason.error, extra={"vif_id": ids[0]})
            return
        some = ", ".join(ids[:_NAMED_MAX]) + (", ..." if self._count(reason) > _NAMED_MAX else "")
        self._log.warning("could not repair %d VIFs (%s): %s", self._count(reason), some, reason.error)

    def _end(self, reason: _Reason) -> None:
        if not reason.is_logged:
            return
        if isinstance(reason.error, BridgeMissing):
            self._log.info("OVS bridge %r is back, or no VIF needs it any more", _bridge(reason.error))
        elif len(reason.ever) > 1:
            self._log.info("no longer prevents the repair of %d VIFs: %s", len(reason.ever), reason.error)

    def _count(self, reason: _Reason) -> int:
        """The number of its VIFs; for a missing bridge all VIFs on it, even those not yet compared."""
        if isinstance(reason.error, BridgeMissing):
            return len(reason.vifs | set(self._on_bridge([_bridge(reason.error)])))
        return len(reason.vifs)


def _key(vif_id: str, error: VifplugError) -> str:
    """The error without the VIF's id and its devices' names, so that it is equal for VIFs with the same reason."""
    if isinstance(error, BridgeMissing):
        return f"BridgeMissing {_bridge(error)}"
    own = re.compile(rf"\S*{re.escape(vif_id[:_OF_ID])}[0-9a-f-]*")
    return f"{type(error).__name__} {_COUNTERS.sub('*', own.sub('*', str(error)))}"


def _bridge(error: BridgeMissing) -> str:
    """The bridge's name; an error about several VIFs has it quoted."""
    return error.subject.strip("'")
