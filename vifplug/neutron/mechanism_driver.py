"""The ML2 mechanism driver ``vifplug``: binds ports on hosts where the agent is alive."""

from __future__ import annotations

from typing import Any

from neutron.agent import securitygroups_rpc
from neutron.plugins.ml2.drivers import mech_agent
from neutron_lib.api.definitions import portbindings
from oslo_config import cfg

from vifplug.neutron import binding, options


class VifplugMechanismDriver(mech_agent.SimpleAgentMechanismDriverBase):  # type: ignore[misc]
    """Binds ports of vnic_type normal to local, flat, VLAN and VXLAN segments, where the agent has the segment's
    physical network or a tunnel."""

    def __init__(self) -> None:
        group = options.register(cfg.CONF, options.DRIVER_OPTIONS)
        # Neutron's iptables firewall driver in the agent filters, if security groups are enabled at all.
        details = {portbindings.CAP_PORT_FILTER: securitygroups_rpc.is_firewall_enabled()}
        super().__init__(binding.AGENT_TYPE, group.vif_type, details, [portbindings.VNIC_NORMAL])

    @property
    def connectivity(self) -> str:
        """L2: the agent joins ports of one network."""
        return str(portbindings.CONNECTIVITY_L2)

    def get_allowed_network_types(self, agent: Any = None) -> list[str]:
        """The types of segments that an agent can bind; without an agent, those that any may."""
        if agent is None:
            return [*binding.WITHOUT_TUNNEL, binding.VXLAN]
        return binding.network_types(agent["configurations"])

    def get_mappings(self, agent: Any) -> dict[str, str]:
        """An agent's physical networks."""
        return binding.mappings(agent["configurations"])

    def check_vlan_transparency(self, context: Any) -> bool:
        """A Linux bridge that does not filter by VLAN forwards tagged frames unchanged."""
        return True
