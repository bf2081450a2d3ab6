"""What Neutron's common agent loop asks of an agent for Linux bridges."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from neutron.plugins.ml2.drivers.agent import _agent_manager_base as agent_base
from neutron_lib.agent import topics
from oslo_config import cfg

from vifplug.errors import VifplugError
from vifplug.neutron import host_setup, taps
from vifplug.neutron.callbacks import Callbacks
from vifplug.neutron.plugging import Plugging

LOG = logging.getLogger(__name__)

EXTENSION_DRIVER_TYPE = "vifplug"


class Bridges(agent_base.CommonAgentManagerBase):  # type: ignore[misc]
    """The ports of this host on the Linux bridges of their networks.

    The loop gives a port's details in several calls; the first one's are kept for the second, so that vifplugd is
    asked once for all of a port.

    :param wake: set to wake the loop.
    """

    def __init__(self, plugging: Plugging, wake: threading.Event) -> None:
        super().__init__()
        self.plugging = plugging
        self._wake = wake
        self._details: Mapping[str, Any] = {}

    def get_agent_id(self) -> str:
        """The name by which neutron-server logs this agent's calls."""
        return f"vifplug-{cfg.CONF.host}"

    def get_agent_configurations(self) -> dict[str, Any]:
        """The constant part of the state report."""
        return host_setup.configurations(self.plugging.setup)

    def health(self) -> dict[str, Any]:
        """The part of the state report that changes."""
        try:
            return host_setup.health(self.plugging.vifs(), "")
        except VifplugError as error:
            return host_setup.health(None, str(error))

    def get_all_devices(self) -> set[str]:
        """The taps that are there."""
        return set(taps.there())

    def get_devices_modified_timestamps(self, devices: Collection[str]) -> dict[str, int]:
        """The ifindexes of taps: another one means that the tap was made again (LP 1622833)."""
        return {device: index for device, index in taps.there().items() if device in devices}

    def get_extension_driver_type(self) -> str:
        """The driver type that L2 agent extensions are loaded for."""
        return EXTENSION_DRIVER_TYPE

    def get_agent_api(self, **_values: Any) -> None:
        """None: extensions get no API."""

    def get_rpc_callbacks(self, context: Any, agent: Any, sg_agent: Any) -> Callbacks:
        """The methods that neutron-server calls."""
        return Callbacks(context, agent, sg_agent, self._wake)

    def get_rpc_consumers(self) -> list[list[str]]:
        """The messages that the agent subscribes to."""
        consumers = [
            [topics.PORT, topics.UPDATE],
            [topics.PORT, topics.DELETE],
            [topics.NETWORK, topics.UPDATE],
            [topics.NETWORK, topics.DELETE],
            [topics.SECURITY_GROUP, topics.UPDATE],
            [topics.PORT_BINDING, topics.DEACTIVATE],
            [topics.PORT_BINDING, topics.ACTIVATE],
        ]
        return [*consumers, *([[topics.L2POPULATION, topics.UPDATE]] if self.plugging.setup.by_unicast else [])]

    def setup_arp_spoofing_protection(self, device: str, device_details: Mapping[str, Any]) -> None:
        """Keep a port's details: its filter is plugged with the port."""
        self._details = device_details

    def plug_interface(self, network_id: str, network_segment: Any, device: str, device_owner: str) -> bool:
        """Put a port's tap on its network's bridge, filtered, with the network's uplink, up or down.

        :raises NotNowError: vifplugd cannot do it now.
        """
        return self.plugging.plug(self._details)

    def ensure_port_admin_state(self, device: str, admin_state_up: bool) -> None:
        """Do nothing: ``plug_interface`` has done it."""

    def delete_arp_spoofing_protection(self, devices: Iterable[str]) -> None:
        """Do nothing: a port's filter is deleted with the port."""

    def delete_unreferenced_arp_protection(self, current_devices: Collection[str]) -> None:
        """Do nothing: vifplugd deletes what nothing refers to."""
