"""What OVSDB tells of its bridges: their datapath, and who wires their ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.privileged.ovsdb.values import first, pairs

_OVN, _AGENT = "ovn", "neutron-agent"
_OVN_BRIDGE = "br-int"
"""ovn-controller(8): the integration bridge, where external_ids:ovn-bridge names no other."""


def described(tables: Any) -> dict[str, dict[str, str]]:
    """Each bridge's datapath_type and control_plane, by name; of columns that cost the same for any number of ports."""
    by_ovn = {ovn_bridge for row in tables["Open_vSwitch"].rows.values() if (ovn_bridge := ovn_marks(row))}
    return {
        name: {
            "datapath_type": first(row, "datapath_type"),
            "control_plane": _OVN if name in by_ovn else _AGENT if is_agents(row) else "",
        }
        for row in tables["Bridge"].rows.values()
        if (name := first(row, "name"))
    }


def ovn_marks(row: Any) -> str:
    """The bridge that OVN wires, by an Open_vSwitch row's external_ids; "" without OVN. No other key matters here."""
    ids = pairs(row, "external_ids")
    return ids.get("ovn-bridge", _OVN_BRIDGE) if ids.get("ovn-remote") else ""


def is_agents(bridge: Any, before: Mapping[str, Any] | None = None) -> bool:
    """Neutron's OVS agent is the OpenFlow controller of its bridges, and lets them pass nothing without it.

    :param before: values of columns to take in place of the bridge's own.
    """
    columns = {name: (before or {}).get(name, bridge._data[name]) for name in ("fail_mode", "controller")}
    modes = {atom.value for atom in columns["fail_mode"].values}
    return "secure" in modes and bool(columns["controller"].values)
