"""What neutron-server sends to the agent by RPC. Nothing is done here: it is noted, and the agent's loop is woken."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import oslo_messaging
from neutron.api.rpc.handlers import securitygroups_rpc
from neutron.plugins.ml2.drivers.agent import _agent_manager_base as agent_base
from neutron.plugins.ml2.drivers.l2pop.rpc_manager import l2population_rpc
from oslo_config import cfg

from vifplug.neutron import taps


class Callbacks(
    securitygroups_rpc.SecurityGroupAgentRpcCallbackMixin,  # type: ignore[misc]
    l2population_rpc.L2populationRpcCallBackMixin,  # type: ignore[misc]
    agent_base.CommonAgentManagerRpcCallBackBase,  # type: ignore[misc]
):
    """The methods that neutron-server calls; their threads are not the loop's.

    :param wake: set after each that leaves something to do.
    """

    # 1.5: binding_activate and binding_deactivate.
    target = oslo_messaging.Target(version="1.5")

    def __init__(self, context: Any, agent: Any, sg_agent: Any, wake: threading.Event) -> None:
        super().__init__(context, agent, sg_agent)
        self._wake = wake
        self._lock = threading.Lock()
        self.removed_devices: set[str] = set()
        self.fdb: deque[tuple[str, Mapping[str, Any]]] = deque()
        """Messages of l2population, in order: "add" or "remove", and the entries."""

    def note_updated(self, *devices: str) -> None:
        """Have the loop look at devices again."""
        with self._lock:
            self.updated_devices.update(devices)
        self._wake.set()

    def get_and_clear_updated_devices(self) -> set[str]:
        """Devices to look at again, once each."""
        with self._lock:
            updated: set[str] = super().get_and_clear_updated_devices()
        return updated

    def take_removed(self) -> set[str]:
        """Devices whose ports are deleted, or have gone to another host; once each."""
        with self._lock:
            removed, self.removed_devices = self.removed_devices, set()
        return removed

    def _note_removed(self, *devices: str) -> None:
        with self._lock:
            self.removed_devices.update(devices)
        self._wake.set()

    def port_update(self, context: Any, **values: Any) -> None:
        """A port has changed; its details are asked for, because messages may overtake each other."""
        self.note_updated(taps.name_of(values["port"]["id"]))

    def port_delete(self, context: Any, **values: Any) -> None:
        """A port is deleted."""
        self._note_removed(taps.name_of(values["port_id"]))

    def network_update(self, context: Any, **values: Any) -> None:
        """A network has changed: its MTU concerns all its ports."""
        self.note_updated(*self.agent.mgr.plugging.devices_of(values["network"]["id"]))

    def network_delete(self, context: Any, **values: Any) -> None:
        """A network is deleted, after its ports."""
        self._note_removed(*self.agent.mgr.plugging.devices_of(values["network_id"]))

    def binding_deactivate(self, context: Any, **values: Any) -> None:
        """A port's guest has moved to another host."""
        if values.get("host") == cfg.CONF.host:
            self._note_removed(taps.name_of(values["port_id"]))

    def binding_activate(self, context: Any, **values: Any) -> None:
        """A port's guest has moved to this host."""
        if values.get("host") == cfg.CONF.host:
            self.note_updated(taps.name_of(values["port_id"]))

    def security_groups_rule_updated(self, context: Any, **values: Any) -> None:
        """Rules of a security group have changed."""
        super().security_groups_rule_updated(context, **values)
        self._wake.set()

    def security_groups_member_updated(self, context: Any, **values: Any) -> None:
        """Members of a security group have changed."""
        super().security_groups_member_updated(context, **values)
        self._wake.set()

    def fdb_add(self, context: Any, fdb_entries: Mapping[str, Any]) -> None:
        """Hosts and MACs of VXLAN networks."""
        self.fdb.append(("add", fdb_entries))
        self._wake.set()

    def fdb_remove(self, context: Any, fdb_entries: Mapping[str, Any]) -> None:
        """The same that are gone."""
        self.fdb.append(("remove", fdb_entries))
        self._wake.set()

    def fdb_update(self, context: Any, fdb_entries: Mapping[str, Any]) -> None:
        """Addresses of ports have changed: for an ARP responder, of which there is none."""
