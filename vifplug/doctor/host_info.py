"""What a host can plug, and with what: what ``host-info`` says. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """A host, as vifplug sees it."""

    version: str
    """vifplug's."""
    kernel: str
    vif_types: Sequence[str]
    mtu: int
    """Of a VIF whose request says none."""
    integration_bridge: str
    integration_bridge_datapath: str | None = None
    """None where it is not there, or cannot be seen; an OVS bridge that says none has ``system``."""
    bridges: Mapping[str, str] = field(default_factory=dict)
    """Every OVS bridge, with its datapath."""
    ovs: Mapping[str, Any] = field(default_factory=dict)
    """``connected``, ``connection``, ``address`` (the one of them that is used),
    ``ovs_version``, ``db_version``, ``datapath_types``, ``iface_types``."""
    daemon: Mapping[str, Any] = field(default_factory=dict)
    """``answers`` and ``socket``; of one that answers also ``version``, ``pid`` and ``level``."""

    def as_json(self) -> dict[str, Any]:
        """All fields, by their names."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**values, "vif_types": list(self.vif_types), "bridges": dict(self.bridges)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Of what ``as_json`` gave, or GET /v1/host; what it does not know is left out.

        :raises KeyError, TypeError: for anything else.
        """
        return cls(**{one.name: data[one.name] for one in fields(cls) if one.name in data})
