"""The ports of this host, as the agent has vifplugd plug them. Called by the agent's loop alone, one call at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vifplug.api.contract import Host
from vifplug.api.retry import is_retryable
from vifplug.errors import DaemonUnreachable, UnknownVif, VifplugError
from vifplug.model.reports import VifReport
from vifplug.model.vif import Vif
from vifplug.neutron import binding, port_request, taps
from vifplug.neutron.host_setup import HostSetup
from vifplug.neutron.vxlan_hosts import Peers

LOG = logging.getLogger(__name__)

_TAP = "tap"
"""The kind of a tap that vifplug made, for a compute service that plugs through it."""

T = TypeVar("T")


class NotNowError(Exception):
    """vifplugd is away or busy. Nothing is known to be wrong with the port: the same request is repeated later."""


@dataclass(slots=True)
class _Port:
    vif: Vif
    network: str
    is_plugged: bool = False


@dataclass(slots=True)
class Plugging:
    """What is plugged for which tap.

    :param connect: opens vifplugd's host.
    :param setup: what this host can be joined to.
    """

    connect: Callable[[], Host]
    setup: HostSetup
    prevents_spoofing: bool = True
    peers: Peers = field(init=False)
    peers_of: Callable[[int], Iterable[str]] = taps.peers_of
    _host: Host | None = None
    _ports: dict[str, _Port] = field(default_factory=dict)
    """By the name of the tap."""
    _refusals: dict[str, str] = field(default_factory=dict)
    """The last reason why a tap's port was not plugged; each is logged once."""

    def __post_init__(self) -> None:
        self.peers = Peers(self.setup.tunnel_address)

    def close(self) -> None:
        """Close the connection; what is plugged stays."""
        if self._host is not None:
            self._host.close()
            self._host = None

    def devices_of(self, network: str) -> set[str]:
        """The taps of a network's ports. Any thread may ask."""
        return {device for device, port in list(self._ports.items()) if port.network == network}

    def network_of(self, device: str) -> str | None:
        """The network of a tap's port, if it is known."""
        port = self._ports.get(device)
        return port.network if port is not None else None

    def is_plugged(self, device: str) -> bool:
        """Whether a tap's port is plugged, and its tap up."""
        port = self._ports.get(device)
        return port is not None and port.is_plugged and port.vif.tap_up is not False

    def failed(self) -> set[str]:
        """The taps whose ports vifplugd refused to plug."""
        return {device for device, port in self._ports.items() if not port.is_plugged}

    def plug(self, details: Mapping[str, Any]) -> bool:
        """Plug a port as its details say.

        :returns: whether it is plugged; if not, the reason is in the log.
        :raises NotNowError: vifplugd cannot do it now.
        """
        device, network, port_id = str(details["device"]), str(details["network_id"]), str(details["port_id"])
        try:
            self._know(network, details)
            vif = port_request.request(
                details,
                self.setup,
                self.peers.of(network),
                prevents_spoofing=self.prevents_spoofing,
                makes_own_tap=self._has_own_tap(port_id),
            )
            self._ports[device] = _Port(vif, network)
            self._ask(lambda host: host.plug([vif]))
        except NotNowError:
            raise
        except (VifplugError, ValueError) as error:
            reason = str(error)
        else:
            self._ports[device].is_plugged = True
            self._refusals.pop(device, None)
            return True
        # Behind the handler, in which oslo.log would repeat the error in the line.
        is_known = self._refusals.get(device) == reason
        LOG.log(logging.DEBUG if is_known else logging.ERROR, "port %s is not plugged: %s", port_id, reason)
        self._refusals[device] = reason
        return False

    def unplug(self, devices: Iterable[str]) -> None:
        """Unplug the ports of taps; a tap that is still there leaves its bridge. What the compute service plugged
        itself stays.

        :raises NotNowError: vifplugd cannot do it now.
        """
        names = set(devices)
        listed = self._ask(lambda host: host.list()) if names else []
        ids = [vif.id for vif in listed if vif.join_tap and taps.name_of(vif.id) in names]
        if ids:
            try:
                self._ask(lambda host: host.unplug(ids))
            except VifplugError as error:
                LOG.error("ports %s are not unplugged: %s", ", ".join(ids), error)
                raise NotNowError(str(error)) from error
        gone = {network for device in names if (network := self.network_of(device)) is not None}
        for device in names:
            self._ports.pop(device, None)
            self._refusals.pop(device, None)
        for network in gone:
            if not self.devices_of(network):
                self.peers.forget(network)

    def change_peers(self, networks: Collection[str]) -> None:
        """Give the networks' uplinks their present hosts.

        :raises NotNowError: vifplugd cannot do it now.
        """
        for network in networks:
            devices = self.devices_of(network)
            peers = self.peers.of(network)
            changed = {name: port_request.with_peers(self._ports[name].vif, peers) for name in devices}
            plugged = [vif for name, vif in changed.items() if self._ports[name].is_plugged]
            for name, vif in changed.items():
                self._ports[name].vif = vif
            if not plugged:
                continue
            try:
                self._ask(lambda host, vifs=plugged: host.plug(vifs))  # type: ignore[misc]
            except VifplugError as error:
                LOG.error("network %s does not get its hosts %s: %s", network, sorted(peers), error)

    def left(self, present: Collection[str]) -> set[str]:
        """Taps of ports that vifplugd has recorded for an agent, and that are gone.

        :raises NotNowError: vifplugd does not answer.
        """
        listed = self._ask(lambda host: host.list())
        names = {taps.name_of(vif.id) for vif in listed if vif.join_tap}
        return names - set(present)

    def lost(self, present: Collection[str]) -> set[str]:
        """Taps that are there, and whose ports are no longer recorded: another user has unplugged them.

        :raises NotNowError: vifplugd does not answer.
        """
        recorded = {taps.name_of(vif.id) for vif in self._ask(lambda host: host.list())}
        return {device for device, port in self._ports.items() if port.is_plugged} & set(present) - recorded

    def vifs(self) -> list[VifReport]:
        """Every VIF of this host. Any thread may ask: it has a connection of its own.

        :raises VifplugError: vifplugd does not answer.
        """
        with self.connect() as host:
            return host.list()

    def _know(self, network: str, details: Mapping[str, Any]) -> None:
        """Begin with the peers that the network's device has: those of the last run, or of another agent."""
        is_tunnelled = details["network_type"] == binding.VXLAN and self.setup.by_unicast
        if is_tunnelled and not self.peers.knows(network):
            self.peers.seed(network, self.peers_of(int(details["segmentation_id"])))

    def _has_own_tap(self, port_id: str) -> bool:
        try:
            report = self._ask(lambda host: host.get(port_id))
        except UnknownVif:
            return False
        return any(device.kind == _TAP for device in report.devices)

    def _ask(self, call: Callable[[Host], T]) -> T:
        try:
            if self._host is None:
                self._host = self.connect()
            return call(self._host)
        except VifplugError as error:
            if isinstance(error, DaemonUnreachable):
                self.close()
            if isinstance(error, DaemonUnreachable) or is_retryable(error):
                raise NotNowError(str(error)) from error
            raise
