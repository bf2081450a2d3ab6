"""Two hosts of one OVN: two worlds joined by a cable, with Geneve between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.world.ovn import Chassis, Ovn
from tests.support.world.world import World

_UNDERLAY = {"world": "192.168.99.1", "elsewhere": "192.168.99.2"}
_CABLE = "phy0"
MTU = 1442
"""What Geneve leaves of the cable's 1500."""


@dataclass(frozen=True)
class Host:
    """One of them, with a vifplugd."""

    world: World
    chassis: Chassis
    daemon: Vifplugd


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Ovn, Host, Host]]:
    """OVN, the host that has its central, and the other."""
    with World() as here, World() as there:
        here_ip, there_ip = _UNDERLAY.values()
        here.ip("link", "add", _CABLE, "type", "veth", "peer", "name", _CABLE, "netns", there.namespace.path)
        for world, ip in ((here, here_ip), (there, there_ip)):
            _join(world, ip)
        ovn = Ovn(here, here_ip)
        other = Chassis(there, "elsewhere", ovn.remote, there_ip)
        with ovn, contextlib.ExitStack() as stack:
            stack.callback(other.stop)
            other.start()
            daemons = [stack.enter_context(Vifplugd(world)) for world in (here, there)]
            yield ovn, Host(here, ovn.chassis, daemons[0]), Host(there, other, daemons[1])


def _join(world: World, ip: str) -> None:
    """The cable goes into a bridge, on which the host's address is: tunnels of the userspace datapath want it so."""
    world.add_bridge("br-int")
    world.add_bridge("br-phy")
    world.vsctl("add-port", "br-phy", _CABLE)
    for device in (_CABLE, "br-phy"):
        world.run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
        world.ip("link", "set", device, "up")
    world.ip("address", "add", f"{ip}/24", "dev", "br-phy")
