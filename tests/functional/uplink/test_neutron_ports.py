"""Ports of Neutron's networks on two hosts, as vifplug's agent has them plugged; without Neutron."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import vifplug
from tests.support.network.endpoints import guest_on_tap
from tests.support.network.traffic import ping, transfer
from tests.support.network.two_hosts import ADDRESSES, GUESTS, NIC, PHYSNET, VIFS, Hosts, two_hosts
from tests.support.vifs import BRIDGE, must_link
from tests.support.world.world import World
from vifplug.neutron.host_setup import HostSetup
from vifplug.neutron.plugging import Plugging
from vifplug.neutron.vxlan_hosts import FLOODING

VNI, MTU = 100, 1450
NETWORK = str(BRIDGE.document["network"]["id"])
TYPES: dict[str, dict[str, Any]] = {
    "flat": {"network_type": "flat", "physical_network": PHYSNET},
    "vlan": {"network_type": "vlan", "physical_network": PHYSNET, "segmentation_id": 5},
    "vxlan": {"network_type": "vxlan", "segmentation_id": VNI},
}
CASES = [
    # It needs 8021q: it runs in the booted host.
    pytest.param(name, marks=pytest.mark.kernel_datapath if name == "vlan" else ())
    for name in TYPES
]


def details(number: int, kind: str, **changes: Any) -> dict[str, Any]:
    """What neutron-server answers about the port of a host."""
    request = VIFS[number]
    port = {"device": request.tap, "port_id": request.id, "mac_address": request.address, "network_id": NETWORK}
    addresses = {"fixed_ips": [{"ip_address": GUESTS[number]}], "allowed_address_pairs": []}
    state = {"admin_state_up": True, "mtu": MTU, "device_owner": "compute:nova", "port_security_enabled": True}
    return {**port, **addresses, **state, **TYPES[kind], **changes}


@dataclass
class Agent:
    """An agent's plugging, in its host's network namespace."""

    world: World
    plugging: Plugging

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            with self.world.namespace.entered():
                return getattr(self.plugging, name)(*arguments)

        return call


@contextlib.contextmanager
def agents(hosts: Hosts, kind: str) -> Iterator[list[Agent]]:
    """The agents of both hosts; a second call stands for their restart."""
    with contextlib.ExitStack() as stack:
        made = []
        for world, address in zip(hosts.worlds, ADDRESSES, strict=True):
            tunnel = address if kind == "vxlan" else ""
            setup = HostSetup(mappings={PHYSNET: NIC}, filters=True, tunnel_address=tunnel, by_unicast=bool(tunnel))
            agent = Agent(world, Plugging(connecting(world), setup))
            stack.callback(agent.close)
            made.append(agent)
        yield made


def connecting(world: World) -> Any:
    return lambda: vifplug.local(str(world.config_file))


def flooding(number: int) -> dict[str, Any]:
    """The message of l2population that names the other host."""
    return {NETWORK: {"ports": {ADDRESSES[1 - number]: [(FLOODING, "0.0.0.0")]}}}


@pytest.mark.parametrize("kind", CASES)
def test_guests_talk_until_their_ports_are_unplugged(kind: str) -> None:
    with two_hosts(addresses=kind == "vxlan") as hosts:
        for world, address in zip(hosts.worlds, ADDRESSES, strict=True):
            bridge = {"physical_networks": f"{PHYSNET}:{NIC}"}
            bridge |= {"vxlan_local_ip": address} if kind == "vxlan" else {}
            world.write_config(bridge=bridge, filter={"enabled": "true"})
        for world, request in zip(hosts.worlds, VIFS, strict=True):
            world.ip("tuntap", "add", request.tap, "mode", "tap")
            world.ip("link", "set", request.tap, "up")
        before, nics = [world.snapshot() for world in hosts.worlds], hosts.nics()
        with agents(hosts, kind) as running:
            for number, agent in enumerate(running):
                assert agent.plug(details(number, kind))
                if kind == "vxlan":
                    agent.change_peers(agent.plugging.peers.add(flooding(number)))
            assert_guests_talk(hosts, running, kind)
        # Agents that are started again disturb nothing, and know the other host.
        with agents(hosts, kind) as running:
            seen = [world.snapshot() for world in hosts.worlds]
            for number, agent in enumerate(running):
                assert agent.plug(details(number, kind))
            assert [world.snapshot() for world in hosts.worlds] == seen
            if kind == "vxlan":
                assert [agent.plugging.peers.of(NETWORK) for agent in running] == [{ADDRESSES[1]}, {ADDRESSES[0]}]
            for agent, request in zip(running, VIFS, strict=True):
                assert agent.left(()) == {request.tap}
                agent.unplug([request.tap])
                assert agent.vifs() == []
        assert [world.snapshot() for world in hosts.worlds] == before
        assert hosts.nics() == nics


def assert_guests_talk(hosts: Hosts, running: list[Agent], kind: str) -> None:
    """Both ways, with the whole MTU; not from another address, and not while the port is down."""
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(guest_on_tap(world, request.tap, request.address, ip, MTU))
            for world, request, ip in zip(hosts.worlds, VIFS, GUESTS, strict=True)
        )
        assert ping(one, GUESTS[1], MTU)
        assert transfer(one, other)
        one.run("ip", "address", "add", "10.9.0.99/24", "dev", one.device)
        assert one.run("ping", "-c", "1", "-W", "1", "-I", "10.9.0.99", GUESTS[1], check=False).returncode != 0
        pair = [{"ip_address": "10.9.0.99"}]
        assert running[0].plug(details(0, kind, allowed_address_pairs=pair))
        assert one.run("ping", "-c", "3", "-W", "1", "-I", "10.9.0.99", GUESTS[1], check=False).returncode == 0
        assert running[0].plug(details(0, kind, admin_state_up=False))
        assert not ping(one, GUESTS[1], count=1)
        assert running[0].plug(details(0, kind))
        assert ping(one, GUESTS[1])
        assert must_link(hosts.worlds[0], VIFS[0].tap)["mtu"] == MTU
