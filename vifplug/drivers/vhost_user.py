"""vhost-user: a port of Open vSwitch's userspace datapath that shares memory with the guest. It has no device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vifplug import naming
from vifplug.drivers import builders
from vifplug.drivers.contract import Options, mtu_of
from vifplug.drivers.guest_end import GuestEnd, VhostUser
from vifplug.errors import InputError
from vifplug.model import vif as model
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource
from vifplug.resources.ovs_port import LISTENS

_CONNECTS = "dpdkvhostuserclient"
"""Interface.type where Open vSwitch connects to the VMM's socket."""


class VhostUserPort:
    """One port, with its type, socket and MTU in the transaction that creates it."""

    vif_type = "vhost-user"
    makes_tap = False

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """The port; a trunk's bridge. The port's MTU is set at its creation, because it determines the size of its
        buffers (LP 1959586)."""
        builders.refuse_tap(vif)
        socket, name = _socket_of(vif, options.vhostuser_socket_dir), _name(vif)
        if vif.vhost_user is not None and vif.vhost_user.mode == model.CLIENT:
            _check_own_socket(vif, socket, name)
            own: dict[str, Any] = {"type": LISTENS}
        else:
            own = {"type": _CONNECTS, "options": {"vhost-server-path": socket}}
        port = builders.ovs_port(vif, options, name)
        # Only a userspace datapath has such ports, and none of them has QoS.
        port = replace(port, qos_type=None, settings={**own, "mtu_request": mtu_of(vif)})
        return [port, *builders.trunk_bridge(vif, options)]

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The OVS bridge of the port."""
        return builders.ovs_bridge(vif, options)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The socket. A VIF's ``mode`` is the VMM's."""
        part = vif.vhost_user
        return VhostUser(part.socket, is_server=part.mode != model.CLIENT) if part is not None else None


def _name(vif: Vif) -> str:
    return vif.names.vhu or naming.device(naming.ROLE_VHOST_USER, vif.id)


def _socket_of(vif: Vif, directory: str) -> str:
    if vif.vhost_user is None:
        raise InputError(f"vhost_user of VIF {vif.id} is not given; a vhost-user VIF needs its socket", vif.id)
    path = vif.vhost_user.socket
    fault = naming.socket_path_fault(path, directory)
    if fault:
        raise InputError(f"the vhost-user socket {path!r} of VIF {vif.id} cannot be used: {fault}", vif.id)
    return path


def _check_own_socket(vif: Vif, socket: str, name: str) -> None:
    """Refuse a socket on which the guest would wait for ever: Open vSwitch names its own by the port.

    :raises InputError: also for a name that another file in Open vSwitch's directory may have.
    """
    if not naming.may_listen(name):
        raise InputError(
            f"names.vhu {name!r} of VIF {vif.id} cannot be the name of a port at which Open vSwitch listens (mode "
            f"client): {naming.LISTENING_PORT_RULE}",
            vif.id,
        )
    if os.path.basename(socket) != name:
        raise InputError(
            f"the vhost-user socket {socket!r} of VIF {vif.id} would not be there: in mode client Open vSwitch makes "
            f"it, with the name of the port, {name!r}; give that name, or mode server",
            vif.id,
        )
