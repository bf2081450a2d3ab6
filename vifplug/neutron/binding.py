"""What the mechanism driver knows of an agent, by the agent's state report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGENT_TYPE = "vifplug agent"
BINARY = "vifplug-neutron-agent"
MAPPINGS, TUNNEL_TYPES, TUNNEL_ADDRESS = "interface_mappings", "tunnel_types", "tunneling_ip"
"""Keys of an agent's configurations; l2population reads the last two."""
VXLAN = "vxlan"
WITHOUT_TUNNEL = ("local", "flat", "vlan")


def network_types(configurations: Mapping[str, Any]) -> list[str]:
    """The types of segments that an agent can bind."""
    return [*configurations.get(TUNNEL_TYPES, ()), *WITHOUT_TUNNEL]


def mappings(configurations: Mapping[str, Any]) -> dict[str, str]:
    """An agent's physical networks, with their devices."""
    return dict(configurations.get(MAPPINGS, {}))
