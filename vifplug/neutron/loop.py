"""The agent's loop: Neutron's, woken by events, and patient with vifplugd."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

from neutron.agent import rpc as agent_rpc
from neutron.plugins.ml2.drivers.agent import _common_agent as common_agent
from neutron_lib.agent import topics
from oslo_config import cfg

from vifplug.model import backoff
from vifplug.neutron import binding, taps
from vifplug.neutron.bridges import Bridges
from vifplug.neutron.plugging import NotNowError
from vifplug.neutron.vxlan_hosts import SETTLE_SECONDS

LOG = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 1.0, 30.0
_CONFIRM_SECONDS = 5.0
"""How long after a report that a port is up it is repeated, once. Neutron 29 loses one of two reports that arrive
together, the DHCP agent's and ours: provisioning_complete deletes its row and looks for others in one transaction, in
which the other's deletion does not show, and the port stays DOWN."""


class Plugin(agent_rpc.PluginApi):  # type: ignore[misc]
    """neutron-server, as the agent calls it."""

    refreshes_tunnels = False
    """Whether the server is asked for all hosts of a network again: after a start, and after an absence."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.reported: dict[str, float] = {}
        """Devices that were reported up, and not a second time yet, with the time."""

    def update_device_up(self, context: Any, device: str, agent_id: str, host: str | None = None) -> Any:
        """Report that a port is up. Neutron's own method cannot ask for the network's hosts."""
        client = self.client.prepare(version="1.9")
        self.reported[device] = time.monotonic()
        return client.call(
            context,
            "update_device_up",
            device=device,
            agent_id=agent_id,
            host=host,
            refresh_tunnels=self.refreshes_tunnels,
        )


class AgentLoop(common_agent.CommonAgentLoop):  # type: ignore[misc]
    """Neutron's common loop. Between two turns it waits for an event; the poll remains, as what finds a lost one.

    :param wake: what wakes it.
    :param poll_seconds: the longest wait.
    """

    def __init__(self, bridges: Bridges, wake: threading.Event, poll_seconds: float, quitting_rpc_timeout: int) -> None:
        super().__init__(bridges, 0, quitting_rpc_timeout, binding.AGENT_TYPE, binding.BINARY)
        self._wake, self._poll_seconds = wake, poll_seconds
        self._failures = 0
        self._is_ending = False
        self._later: set[str] = set()
        """Devices whose ports vifplugd could not plug."""
        self._unreleased: set[str] = set()
        """Devices whose ports vifplugd could not unplug."""
        self._compared: float | None = None
        """When all VIFs were last compared with all taps; None for not yet."""
        self._settles: float | None = None
        self._reason = ""

    def start(self) -> None:
        """Run. In this process, which oslo.service has forked: a thread of the parent's would not be here."""
        taps.TapWatch(self._wake).start()
        super().start()

    def stop(self, graceful: bool = True) -> None:
        """End the loop at its next turn, which is now."""
        self._is_ending = True
        self._wake.set()
        if self.connection is not None:  # Neutron's needs what a starting agent has not yet
            super().stop(graceful)

    def setup_rpc(self) -> None:
        """As Neutron's, with our plugin API."""
        super().setup_rpc()
        self.plugin_rpc = Plugin(topics.PLUGIN)

    def scan_devices(self, previous: Any, sync: bool) -> Any:
        """Wait for something to do, and say what: devices added, updated and removed."""
        if previous is not None:
            self._wait(sync)
        if self._is_ending:
            sys.exit(0)  # Neutron's loop has no end; nothing has to be saved
        self.plugin_rpc.refreshes_tunnels = sync
        if sync:
            self._settles = time.monotonic() + SETTLE_SECONDS
        info = super().scan_devices(previous, sync)
        present = info["current"]
        info["updated"] = info["updated"] | (self._later & present)
        self._later = set()
        self._release(present)
        self._compare(info, present)
        self._confirm(present)
        self._take_hosts()
        return info

    def _wait(self, sync: bool) -> None:
        is_troubled = sync or self._later or self._unreleased
        self._failures = self._failures + 1 if is_troubled else 0
        pause = backoff.pause(self._failures, _FIRST_PAUSE_SECONDS, _PAUSE_MAX_SECONDS)
        calm = min(self._poll_seconds, _CONFIRM_SECONDS) if self.plugin_rpc.reported else self._poll_seconds
        self._wake.wait(pause if is_troubled else calm)
        self._wake.clear()

    def _release(self, present: Collection[str]) -> None:
        """Unplug ports that were deleted, or moved away, while their taps stay; and what could not be unplugged
        before."""
        removed = (self.rpc_callbacks.take_removed() & set(present)) | self._unreleased
        self._unreleased = set()
        try:
            self.mgr.plugging.unplug(removed)
        except NotNowError as error:
            self._unreleased = removed
            self._note_absence(error)

    def _compare(self, info: dict[str, Any], present: Collection[str]) -> None:
        """Find what came with no event: ports whose taps went while the agent was away, and ports that another user
        unplugged, or that vifplugd refused to plug."""
        now = time.monotonic()
        if self._compared is not None and now - self._compared < self._poll_seconds:
            return
        try:
            info["removed"] = info["removed"] | self.mgr.plugging.left(present)
            again = self.mgr.plugging.lost(present) | self.mgr.plugging.failed()
            info["updated"] = info["updated"] | (again & set(present))
        except NotNowError as error:
            self._note_absence(error)
            return
        self._compared = now

    def _confirm(self, present: Collection[str]) -> None:
        """Report ports up a second time (``_CONFIRM_SECONDS``)."""
        reported, before = self.plugin_rpc.reported, time.monotonic() - _CONFIRM_SECONDS
        due = [device for device, when in reported.items() if when <= before]
        for device in due:
            del reported[device]
        up = [device for device in due if device in present and self.mgr.plugging.is_plugged(device)]
        if not up:
            return
        try:
            self.plugin_rpc.update_device_list(self.context, up, [], self.agent_id, cfg.CONF.host)
        except Exception as error:
            LOG.warning("could not report %d ports up again: %s", len(up), error)
            reported.update(dict.fromkeys(up, time.monotonic()))

    def _take_hosts(self) -> None:
        """Carry out what l2population sent."""
        peers, changed = self.mgr.plugging.peers, set[str]()
        while self.rpc_callbacks.fdb:
            verb, entries = self.rpc_callbacks.fdb.popleft()
            changed |= peers.add(entries) if verb == "add" else peers.remove(entries)
        if self._settles is not None and time.monotonic() >= self._settles:
            self._settles = None
            changed |= peers.settle()
        try:
            self.mgr.plugging.change_peers(changed)
        except NotNowError as error:
            for network in changed:
                self._later |= self.mgr.plugging.devices_of(network)
            self._note_absence(error)

    def _process_device_if_exists(self, device_details: Mapping[str, Any]) -> None:
        """As Neutron's; a port that the server does not know, or has on another host, leaves its bridge."""
        device = device_details["device"]
        try:
            self._unreleased.discard(device)
            if "port_id" not in device_details:
                self.mgr.plugging.unplug([device])
            super()._process_device_if_exists(device_details)
        except NotNowError as error:
            self._later.add(device)
            self._note_absence(error)
        else:
            self._reason = ""

    def treat_devices_removed(self, devices: Collection[str]) -> bool:
        """As Neutron's; unplugged first, so that vifplugd does not put a new tap of that name on the bridge before its
        security groups are there."""
        try:
            self.mgr.plugging.unplug(devices)
        except NotNowError as error:
            self._unreleased |= set(devices)
            self._note_absence(error)
        return bool(super().treat_devices_removed(devices))

    def _note_absence(self, error: NotNowError) -> None:
        """One line in the log for each reason, not one for each port."""
        if str(error) != self._reason:
            self._reason = str(error)
            LOG.warning("vifplugd cannot be asked now, and what is to be done is kept: %s", error)

    def _report_state(self) -> None:
        """As Neutron's, with the VIFs by state and what is wrong with them."""
        try:
            self.agent_state["configurations"] |= self.mgr.health()
        except Exception:
            LOG.exception("could not summarise the VIFs of this host")
        was_failed = self.failed_report_state
        super()._report_state()
        if was_failed and not self.failed_report_state:
            # Messages of the meantime may be lost: fanout queues go with the message bus.
            self.fullsync = True
            self._wake.set()
