"""os-vif's own plugin ``ovs``, and its replacement by vifplug's.

Of two entry points with the same name the last one wins, in the order of sys.path and, within a folder, of the file
system. So vifplug registers none. It patches the class that os-vif registers: ``OvsPlugin.load`` returns vifplug's
plugin, independent of the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from os_vif.objects.vif import VIFOpenVSwitch
from os_vif.plugin import PluginBase
from vif_plug_ovs.ovs import OvsPlugin

from vifplug import naming
from vifplug.osvif import ovsdb, requests


class OwnOvs:
    """os-vif's plugin, loaded as os-vif loads it, with its options."""

    def __init__(self) -> None:
        # The class's load() is vifplug's by now; this is the original one.
        self.plugin: Any = PluginBase.load.__func__(OvsPlugin, requests.OVS)

    @property
    def isolates(self) -> bool:
        """nova.conf's isolate_vif, on which a host may rely."""
        return bool(self.plugin.config.isolate_vif)

    def gives_own_bridge(self, vif: Any) -> bool:
        """Whether nova.conf's per_port_bridge gives a VIF an OVS bridge of its own."""
        return isinstance(vif, VIFOpenVSwitch) and bool(self.plugin.config.per_port_bridge)

    def is_the_only_one_for(self, vif: Any) -> bool:
        """Whether os-vif creates an OVS bridge for a VIF whose port vifplug leaves to libvirt."""
        has_bridge = requests.is_on_trunk(vif) or self.gives_own_bridge(vif)
        return has_bridge and not requests.wants_a_port(vif)

    def has_plugged(self, vif: Any) -> bool:
        """Whether it plugged this VIF: an OVS interface has the VIF's iface-id, without vifplug's mark.

        It uses os-vif's address, but not os-vif's connection, which logs every attempt, and retries in a thread while
        the process runs.

        :raises OSError: when OVSDB does not answer there.
        :raises ValueError: for an invalid answer or address.
        """
        database = ovsdb.Database(self.plugin.config.ovsdb_connection, self.plugin.config.ovs_vsctl_timeout)
        for row in database.select("Interface", ["name"], ["external_ids", "includes", _map({"iface-id": vif.id})]):
            for port in database.select("Port", ["external_ids"], ["name", "==", row["name"]]):
                if naming.OWNER_KEY not in dict(port["external_ids"][1]):
                    return True
        return False


def _map(values: Mapping[str, str]) -> list[Any]:
    """A map in OVSDB's JSON (RFC 7047, 5.1)."""
    return ["map", [list(pair) for pair in values.items()]]


def stand_in(plugin: type[Any]) -> None:
    """Make os-vif load this plugin in place of its own ``ovs``. It may be called again."""

    def load(cls: Any, plugin_name: str) -> Any:
        if cls is OvsPlugin and plugin_name == requests.OVS:
            return plugin.load(plugin_name)
        return PluginBase.load.__func__(cls, plugin_name)  # a subclass of it, or another name

    OvsPlugin.load = classmethod(load)
