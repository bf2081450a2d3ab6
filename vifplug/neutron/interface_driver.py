"""The interface driver ``vifplug`` of Neutron's DHCP and L3 agents: a pair of devices, one end for the agent's
namespace, the other for the network's bridge, where vifplug's agent puts it. Neutron removed its own driver for Linux
bridges together with the Linux bridge agent."""

from __future__ import annotations

import logging
from typing import Any

from neutron.agent.linux import interface, ip_lib
from neutron_lib import constants

LOG = logging.getLogger(__name__)


class BridgeInterfaceDriver(interface.LinuxInterfaceDriver):  # type: ignore[misc]
    """Makes and deletes the pairs."""

    DEV_NAME_PREFIX = "ns-"

    def plug_new(self, network_id: str, port_id: str, device_name: str, mac_address: str, *where: Any) -> None:
        """Make the pair of a port.

        :param where: bridge, namespace, prefix and MTU, as Neutron's ``plug`` gives them.
        """
        _bridge, namespace, prefix, mtu = where
        outer, inner = ip_lib.IPWrapper().add_veth(
            self._outer_name(device_name, prefix), device_name, namespace2=namespace
        )
        outer.disable_ipv6()
        inner.link.set_address(mac_address)
        if mtu:
            self.set_mtu(device_name, mtu, namespace=namespace, prefix=prefix)
        outer.link.set_up()
        inner.link.set_up()

    def unplug(
        self, device_name: str, bridge: str | None = None, namespace: str | None = None, prefix: str | None = None
    ) -> None:
        """Delete the pair of a port; a missing one counts as success."""
        device = ip_lib.IPDevice(device_name, namespace=namespace)
        try:
            device.link.delete()
        except RuntimeError:
            LOG.warning("device %s was gone already", device_name)

    def set_mtu(self, device_name: str, mtu: int, namespace: str | None = None, prefix: str | None = None) -> None:
        """Set the MTU of both ends."""
        ip_lib.IPDevice(self._outer_name(device_name, prefix)).link.set_mtu(mtu)
        ip_lib.IPDevice(device_name, namespace=namespace).link.set_mtu(mtu)

    def _outer_name(self, device_name: str, prefix: str | None) -> str:
        return device_name.replace(prefix or self.DEV_NAME_PREFIX, constants.TAP_DEVICE_PREFIX, 1)
