"""What OVSDB tells of its bridges: their datapath, and who wires their ports."""

from __future__ import annotations

from typing import Any

from vifplug.privileged.ovsdb_values import all_of, first, pairs

_OVN, _AGENT = "ovn", "neutron-agent"
_OVN_BRIDGE = "br-int"
"""ovn-controller(8): the integration bridge, where external_ids:ovn-bridge names no other."""


def described(tables: Any) -> dict[str, dict[str, str]]:
    """Each bridge's datapath_type and control_plane, by name; of columns that cost the same for any number of ports."""
    by_ovn = {
        said.get("ovn-bridge", _OVN_BRIDGE)
        for row in tables["Open_vSwitch"].rows.values()
        if (said := pairs(row, "external_ids")).get("ovn-remote")
    }
    return {
        name: {
            "datapath_type": first(row, "datapath_type"),
            "control_plane": _OVN if name in by_ovn else _AGENT if _is_agents(row) else "",
        }
        for row in tables["Bridge"].rows.values()
        if (name := first(row, "name"))
    }


def _is_agents(bridge: Any) -> bool:
    """Neutron's OVS agent is the OpenFlow controller of its bridges, and lets them pass nothing without it."""
    return bool(first(bridge, "fail_mode") == "secure" and all_of(bridge, "controller"))
