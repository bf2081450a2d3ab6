"""os-vif's own plugin ``ovs``: the one it would have without vifplug, and the way to stand in its place.

Which of two entry points of one name wins, the order decides in which they are found: the last one, and that is the
order of sys.path and, within a folder, the file system's. So vifplug registers none. It asks the class that os-vif
registers for its plugin: ``OvsPlugin.load`` answers with vifplug's, whatever order they were found in.
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
    """os-vif's plugin, loaded as os-vif loads it: its options are registered, too."""

    def __init__(self) -> None:
        # The class's own load() is vifplug's by now; this is the one it had.
        self.plugin: Any = PluginBase.load.__func__(OvsPlugin, requests.OVS)

    @property
    def isolates(self) -> bool:
        """What nova.conf says of isolation; a host that relies on it goes on doing so."""
        return bool(self.plugin.config.isolate_vif)

    def is_the_only_one_for(self, vif: Any) -> bool:
        """Whether a VIF of a class that vifplug plugs is to be on an OVS bridge that os-vif makes for it."""
        return requests.is_on_trunk(vif) or (
            isinstance(vif, VIFOpenVSwitch) and bool(self.plugin.config.per_port_bridge)
        )

    def has_plugged(self, vif: Any) -> bool:
        """Whether it plugged this VIF: some OVS interface has the VIF's identity, and vifplug's mark is not on it.

        It is asked over os-vif's address, but not through os-vif's connection: that one logs each of its attempts, and
        goes on with them in a thread for as long as the process lives.

        :raises OSError: when OVSDB does not answer there.
        :raises ValueError: when its answer, or the address, is not understood.
        """
        database = ovsdb.Database(self.plugin.config.ovsdb_connection, self.plugin.config.ovs_vsctl_timeout)
        for row in database.select("Interface", ["name"], ["external_ids", "includes", _map({"iface-id": vif.id})]):
            for port in database.select("Port", ["external_ids"], ["name", "==", row["name"]]):
                if naming.OWNER_KEY not in dict(port["external_ids"][1]):
                    return True
        return False


def _map(values: Mapping[str, str]) -> list[Any]:
    """A map as OVSDB has it in JSON (RFC 7047, 5.1)."""
    return ["map", [list(pair) for pair in values.items()]]


def stand_in(plugin: type[Any]) -> None:
    """Have os-vif load this plugin in the place of its own ``ovs``. Again is harmless."""

    def load(cls: Any, plugin_name: str) -> Any:
        if cls is OvsPlugin and plugin_name == requests.OVS:
            return plugin.load(plugin_name)
        return PluginBase.load.__func__(cls, plugin_name)  # somebody's subclass of it, or another name for it

    OvsPlugin.load = classmethod(load)
