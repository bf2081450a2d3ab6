"""A host with a device for uplinks, whose other end is in the same namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.network.two_hosts import NIC, PHYSNET
from tests.support.world.world import World

NIC_MTU = 1600


@pytest.fixture
def host() -> Iterator[World]:
    """A world whose eth1 is up and is the device of physnet1; ``wire`` is its other end."""
    with World() as world:
        world.add_bridge("br-int")
        world.ip("link", "add", NIC, "mtu", str(NIC_MTU), "type", "veth", "peer", "name", "wire")
        for name in ("wire", NIC):
            world.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
            world.ip("link", "set", name, "mtu", str(NIC_MTU), "up")
        world.write_config(bridge={"physical_networks": f"{PHYSNET}:{NIC}"})
        yield world
