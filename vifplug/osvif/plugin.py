"""The os-vif plugins. os-vif turns their errors into PlugException and UnplugException, with the same text."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from os_vif.plugin import PluginBase

from vifplug.errors import (
    BridgeMissing,
    Conflict,
    DaemonUnreachable,
    HelperDied,
    InputError,
    UnknownVif,
    VifplugError,
)
from vifplug.model import vif as model
from vifplug.osvif import connect, options, requests, versions
from vifplug.osvif.delegate import OwnOvs, stand_in
from vifplug.osvif.options import Choice

if TYPE_CHECKING:
    from vifplug.api.contract import Host

_LOG = logging.getLogger(__name__)


class _Plugin(PluginBase):  # type: ignore[misc]
    """Plugs through vifplug."""

    def plug(self, vif: Any, instance_info: Any) -> None:
        """Plug, all or nothing. A VIF that already matches is not written to.

        :raises VifplugError: as ``plug`` of the configured host; it is rolled back.
        """
        request = requests.read(vif, instance_info)
        choice = options.current()
        connect.working(choice, lambda host: _plug(host, request, choice))

    def unplug(self, vif: Any, instance_info: Any) -> None:
        """Unplug the VIF by its record, not by the object; an absent one counts as success.

        :raises VifplugError: as ``unplug`` of the configured host.
        """
        connect.working(options.current(), lambda host: _unplug(host, vif))


class Vifplug(_Plugin):
    """``vifplug``: for callers that choose the plugin by name."""

    CONFIG_OPTS = options.OPTIONS

    def describe(self) -> Any:
        """The supported VIF classes and versions."""
        return versions.described(requests.VIFPLUG, *versions.plugged())


class LinuxBridge(_Plugin):
    """``linux_bridge``: os-vif has no such plugin since version 5; earlier versions keep their own."""

    @classmethod
    def load(cls, plugin_name: str) -> Any:
        """Load os-vif's own plugin if it exists, else this one."""
        try:
            module = importlib.import_module("vif_plug_linux_bridge.linux_bridge")
        except ImportError:
            return super().load(plugin_name)
        return module.LinuxBridgePlugin.load(plugin_name)

    def describe(self) -> Any:
        """The supported VIF classes and versions."""
        return versions.described(requests.LINUX_BRIDGE, versions.bridge())


class Ovs(_Plugin):
    """``ovs``: replaces os-vif's own plugin, and delegates to it without ``take_ovs``, and for VIFs that only it
    supports.

    VIFs that os-vif plugged before ``take_ovs`` was set stay os-vif's until they are unplugged.
    """

    def __init__(self, own: OwnOvs) -> None:
        super().__init__(own.plugin.config)
        self._own = own

    @classmethod
    def load(cls, plugin_name: str) -> Ovs:
        """Load both plugins, and log whether vifplug plugs."""
        if options.current().take_ovs:
            _LOG.info("vifplug plugs the VIFs of os-vif's plugin %s", plugin_name)
        return cls(OwnOvs())

    def describe(self) -> Any:
        """The supported VIF classes and versions of both plugins."""
        described = self._own.plugin.describe()
        if not options.current().take_ovs:
            return described
        mine = versions.plugged()
        names = {info.vif_object_name for info in mine}
        others = [info for info in versions.of_their_classes(described) if info.vif_object_name not in names]
        return versions.described(requests.OVS, *mine, *others)

    def plug(self, vif: Any, instance_info: Any) -> None:
        """As ``_Plugin.plug``, or as os-vif does it."""
        choice = options.current()
        if self._takes(choice, vif):
            if connect.working(choice, lambda host: self._is_plugged_here(host, vif, instance_info, choice)):
                return
            _LOG.info("VIF %s is passed to os-vif's own plugin", vif.id)
        self._own.plugin.plug(vif, instance_info)

    def _is_plugged_here(self, host: Host, vif: Any, instance_info: Any, choice: Choice) -> bool:
        """Plug it; False if os-vif has plugged it, or has to plug it."""
        if self._own.is_the_only_one_for(vif) and not _is_recorded(host, vif):
            return False
        # A plugged VIF keeps its way until it is unplugged, whatever the option says by then.
        gives_own_bridge = self._own.gives_own_bridge(vif) and not _is_recorded(host, vif)
        request = requests.read(vif, instance_info, isolates=self._own.isolates, gives_own_bridge=gives_own_bridge)
        try:
            _plug(host, request, choice)
        except Conflict:
            if not self._has_plugged(vif):
                raise
            return False
        return True

    def unplug(self, vif: Any, instance_info: Any) -> None:
        """As ``_Plugin.unplug``, or by os-vif's own plugin if that plugged it."""
        choice = options.current()
        if not self._takes(choice, vif):
            self._own.plugin.unplug(vif, instance_info)
            return
        if not connect.working(choice, lambda host: self._is_unplugged_here(host, vif, instance_info)):
            self._own.plugin.unplug(vif, instance_info)

    def _is_unplugged_here(self, host: Host, vif: Any, instance_info: Any) -> bool:
        """Unplug it; False if os-vif has to unplug it."""
        if not _is_recorded(host, vif) and self._is_os_vifs(host, vif, instance_info):
            return False
        _unplug(host, vif)
        return True

    def _takes(self, choice: Choice, vif: Any) -> bool:
        return choice.take_ovs and requests.is_of_our_class(vif)

    def _is_os_vifs(self, host: Host, vif: Any, instance_info: Any) -> bool:
        """Whether os-vif has to unplug a VIF that vifplug does not know."""
        if self._own.is_the_only_one_for(vif):
            return True
        try:
            host.plan([requests.read(vif, instance_info)])
        except Conflict:
            return self._has_plugged(vif)
        except InputError as error:
            _LOG.info("VIF %s is unplugged, though it could not be plugged: %s", vif.id, error)
        except (DaemonUnreachable, HelperDied):
            raise  # a retry can decide it
        except VifplugError as error:
            _LOG.warning("VIF %s: cannot determine whether os-vif itself has plugged it: %s", vif.id, error)
        return False

    def _has_plugged(self, vif: Any) -> bool:
        try:
            return self._own.has_plugged(vif)
        except (OSError, ValueError) as error:  # os-vif's OVSDB address may be wrong while vifplug's works
            _LOG.warning("VIF %s: cannot determine whether os-vif itself has plugged it: %s", vif.id, error)
            return False


def _plug(host: Host, request: model.Vif, choice: Choice) -> None:
    try:
        reports = host.plug([request])
    except BridgeMissing as error:
        if choice.missing_bridge != options.WARN or not _is_recorded(host, request):
            raise
        _LOG.warning("VIF %s is recorded and waits for its bridge: %s; vifplugd repairs it then", request.id, error)
        return
    for warning in [*host.warnings, *(warning for report in reports for warning in report.warnings)]:
        _LOG.warning("%s", warning)


def _unplug(host: Host, vif: Any) -> None:
    host.unplug([vif.id])
    for warning in host.warnings:
        _LOG.warning("%s", warning)


def _is_recorded(host: Host, vif: Any) -> bool:
    try:
        host.get(vif.id)
    except UnknownVif:
        return False
    except (DaemonUnreachable, HelperDied):
        raise
    except VifplugError:
        return True  # a damaged record can be unplugged, too
    return True


stand_in(Ovs)
