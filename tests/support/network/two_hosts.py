"""Two hosts joined by a wire, and one VIF of a network on each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.network.endpoints import Station, guest_on_tap
from tests.support.network.traffic import ping, transfer
from tests.support.vifs import BRIDGE, Request
from tests.support.world.daemons import wait_until
from tests.support.world.world import Row, World

NIC = "eth1"
PHYSNET = "physnet1"
ADDRESSES, ADDRESSES6 = ("192.0.2.1", "192.0.2.2"), ("fd00::1", "fd00::2")
GUESTS = ("10.9.0.1", "10.9.0.2")
SECOND_ID, SECOND_MAC = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c", "fa:16:3e:f6:04:91"
WIRE_MTU = 1600
VIFS = (BRIDGE, BRIDGE.but(id=SECOND_ID, address=SECOND_MAC))


def with_uplink(request: Request, mtu: int = 1500, **uplink: Any) -> Request:
    """The same VIF, with an uplink of its network."""
    return request.but(network={"mtu": mtu, "uplink": uplink})


@dataclass(frozen=True)
class Hosts:
    """Two worlds; eth1 of each is one end of the wire."""

    worlds: tuple[World, World]

    def configure(self, **bridge: str) -> None:
        """Write [bridge] of both; ``{}`` stands for each host's address, ``{6}`` for that of IPv6."""
        for world, ip, ip6 in zip(self.worlds, ADDRESSES, ADDRESSES6, strict=True):
            options = {"physical_networks": f"{PHYSNET}:{NIC}", **bridge}
            options = {key: value.replace("{}", ip).replace("{6}", ip6) for key, value in options.items()}
            world.write_config(bridge=options)

    def plug(self, mtu: int = 1500, **uplink: Any) -> None:
        """Plug a VIF on each; peers are the other host's address."""
        for world, request in zip(self.worlds, self.requests(mtu, **uplink), strict=True):
            world.vifplug("plug", "-", input=request.text)

    def requests(self, mtu: int = 1500, **uplink: Any) -> list[Request]:
        """Each host's request."""
        given = []
        for number, request in enumerate(VIFS):
            peers = uplink.get("peers")
            own = {} if peers is None else {"peers": [peers[1 - number]]}
            given.append(with_uplink(request, mtu, **{**uplink, **own}))
        return given

    def unplug(self) -> None:
        """Unplug both."""
        for world, request in zip(self.worlds, VIFS, strict=True):
            world.vifplug("unplug", request.id)

    def nics(self) -> list[dict[str, Any]]:
        """What must be as before of both devices: MTU, flags, bridge, promiscuity, addresses."""
        return [nic(world) for world in self.worlds]

    @contextlib.contextmanager
    def guests(self, mtu: int = 1500) -> Iterator[tuple[Station, Station]]:
        """A guest on each VIF's tap."""
        with contextlib.ExitStack() as stack:
            one, other = (
                stack.enter_context(guest_on_tap(world, request.tap, request.address, ip, mtu))
                for world, request, ip in zip(self.worlds, VIFS, GUESTS, strict=True)
            )
            yield one, other

    def assert_guests_talk(self, mtu: int = 1500) -> None:
        """Guests of both hosts ping each other, also with packets of exactly the MTU, and transfer 1 MB each way."""
        with self.guests(mtu) as (one, other):
            assert ping(one, GUESTS[1])
            assert ping(other, GUESTS[0], mtu)
            assert not ping(other, GUESTS[0], mtu + 1, count=1)
            assert transfer(one, other)
            assert transfer(other, one)


def nic(world: World, name: str = NIC) -> dict[str, Any]:
    """What vifplug may have changed of a device, and must restore."""
    (link,) = world.ip("address", "show", "dev", name)
    keys = ("mtu", "master", "promiscuity", "allmulti", "address", "ifalias", "qdisc")
    flags = set(link["flags"]) - {"LOWER_UP", "NO-CARRIER", "M-DOWN"}
    return {**{key: link.get(key) for key in keys}, "flags": flags, "addresses": _addresses(link)}


def _addresses(link: Row) -> list[str]:
    return sorted(f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"])


@contextlib.contextmanager
def two_hosts(*, mtu: int = WIRE_MTU, addresses: bool = True) -> Iterator[Hosts]:
    """Both hosts, whose eth1 are up.

    :param addresses: whether these have an address of IPv4 and one of IPv6, as the devices below VXLAN need.
    """
    with World() as here, World() as there:
        here.ip("link", "add", NIC, "mtu", str(mtu), "type", "veth", "peer", "name", NIC, "netns", there.namespace.path)
        for world, ip, ip6 in zip((here, there), ADDRESSES, ADDRESSES6, strict=True):
            world.run(
                "sysctl", "-qw", f"net.ipv6.conf.{NIC}.accept_dad=0", f"net.ipv6.conf.{NIC}.router_solicitations=0"
            )
            world.ip("link", "set", NIC, "mtu", str(mtu), "up")
            if addresses:
                world.ip("address", "add", f"{ip}/24", "dev", NIC)
                world.ip("address", "add", f"{ip6}/64", "dev", NIC)
        hosts = Hosts((here, there))
        hosts.configure()
        # The kernel adds the link-local address when it has noticed the other end's carrier.
        wait_until(
            lambda: all(any(text.startswith("fe80:") for text in one["addresses"]) for one in hosts.nics()),
            "link-local addresses",
        )
        yield hosts
