"""What an agent can offer on its host, by vifplugd's configuration and its own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vifplug.errors import ConfigError
from vifplug.model.reports import VifReport
from vifplug.neutron import binding

if TYPE_CHECKING:
    from vifplug.doctor.host_info import HostInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSetup:
    """The networks that a host can be joined to."""

    mappings: Mapping[str, str] = field(default_factory=dict)
    """Devices by physical network."""
    tunnel_address: str = ""
    """The address of VXLAN's packets; "" for no VXLAN."""
    by_unicast: bool = False
    """Whether VXLAN networks have peers instead of a group."""
    filters: bool = False
    """Whether vifplugd filters against spoofing."""


def of_host(host: HostInfo, *, l2_population: bool, devices: Collection[str]) -> HostSetup:
    """The setup of this host.

    :param devices: the names of all network devices of this host.
    :raises ConfigError: naming the option that is missing or wrong.
    """
    missing = sorted(name for name, device in host.physical_networks.items() if device not in devices)
    if missing:
        raise ConfigError(
            f"vifplugd's [bridge] physical_networks maps {missing[0]!r} to device "
            f"{host.physical_networks[missing[0]]!r}, which this host does not have; correct it, and restart vifplugd",
            missing[0],
        )
    if l2_population and not host.vxlan_local_ip:
        raise ConfigError(
            "[vifplug] l2_population is true, and vifplugd's [bridge] vxlan_local_ip, the address of this host's "
            "tunnels, is not set; set it, and restart vifplugd",
            "vxlan_local_ip",
        )
    if host.vxlan_local_ip and not l2_population and not host.vxlan_group:
        raise ConfigError(
            f"vifplugd's [bridge] vxlan_local_ip is {host.vxlan_local_ip}, and nothing says to which hosts VXLAN's "
            "packets go: set [vifplug] l2_population in the agent's configuration, or vifplugd's [bridge] vxlan_group",
            "vxlan_group",
        )
    return HostSetup(
        mappings=dict(host.physical_networks),
        tunnel_address=host.vxlan_local_ip or "",
        by_unicast=l2_population,
        filters=host.filters,
    )


def configurations(setup: HostSetup) -> dict[str, Any]:
    """The constant part of the agent's state report."""
    report: dict[str, Any] = {binding.MAPPINGS: dict(setup.mappings), "bridge_mappings": {}, "filters": setup.filters}
    if setup.tunnel_address:
        report |= {
            binding.TUNNEL_ADDRESS: setup.tunnel_address,
            binding.TUNNEL_TYPES: [binding.VXLAN],
            "l2_population": setup.by_unicast,
        }
    return report


def health(vifs: Iterable[VifReport] | None, fault: str) -> dict[str, Any]:
    """The part of the agent's state report that changes.

    :param vifs: the host's VIFs; None if vifplugd does not answer.
    :param fault: why it does not.
    """
    if vifs is None:
        return {"vifplugd": f"away: {fault}"}
    states: dict[str, int] = {}
    troubled: dict[str, str] = {}
    for vif in vifs:
        states[vif.state] = states.get(vif.state, 0) + 1
        if vif.error:
            troubled[vif.id] = f"{vif.state}: {vif.error}"
    # A column of Neutron's database holds 4,095 characters for all configurations of an agent.
    shown = dict(sorted(troubled.items())[:_TROUBLED_MAX])
    return {"vifplugd": "answers", "vifs": states, "troubled": {key: text[:_TEXT_MAX] for key, text in shown.items()}}


_TROUBLED_MAX, _TEXT_MAX = 5, 200
