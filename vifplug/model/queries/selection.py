"""Which VIFs of a list are wanted, and in which order. Pure; for ``vifplug list`` and ``GET /v1/vifs``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vifplug.model.reports import VifReport

_KEYS: Mapping[str, Callable[[VifReport], str | int | None]] = {
    "id": lambda vif: vif.id,
    "type": lambda vif: vif.vif_type,
    "state": lambda vif: vif.state,
    "address": lambda vif: vif.address,
    "mtu": lambda vif: vif.mtu,
    "bridge": lambda vif: vif.bridge,
    "network": lambda vif: vif.network,
    "instance": lambda vif: (vif.instance.name or vif.instance.uuid) if vif.instance is not None else None,
    "updated": lambda vif: vif.updated_at,
}
SORT_KEYS = tuple(_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions that a VIF must all meet; one that is not given does not count."""

    states: Sequence[str] = ()
    """Any of these."""
    vif_types: Sequence[str] = ()
    """Any of these."""
    instance: str | None = None
    """The instance's UUID, in either case, or its name."""
    bridge: str | None = None
    """The VIF's bridge, or one of those that its ports and devices are on."""
    sort: str | None = None
    """One of SORT_KEYS; VIFs without the value come last. By default the order is kept."""

    def of(self, vifs: Sequence[VifReport]) -> list[VifReport]:
        """The VIFs that are wanted."""
        wanted = [vif for vif in vifs if self._fits(vif)]
        if self.sort is None:
            return wanted
        key = _KEYS[self.sort]
        with_value = [vif for vif in wanted if key(vif) is not None]
        without = [vif for vif in wanted if key(vif) is None]
        return [*sorted(with_value, key=lambda vif: (key(vif), vif.id)), *without]

    def _fits(self, vif: VifReport) -> bool:
        return (
            (not self.states or vif.state in self.states)
            and (not self.vif_types or vif.vif_type in self.vif_types)
            and (self.instance is None or _is_of(vif, self.instance))
            and (self.bridge is None or self.bridge in _bridges(vif))
        )


def _is_of(vif: VifReport, instance: str) -> bool:
    return vif.instance is not None and (vif.instance.uuid == instance.lower() or vif.instance.name == instance)


def _bridges(vif: VifReport) -> Sequence[str | None]:
    masters = (device.master for device in vif.devices)
    own = (device.name for device in vif.devices if device.kind == "bridge")
    return (vif.bridge, *(port.bridge for port in vif.ports), *masters, *own)
