"""What other programs write costs no comparison: to Open vSwitch's tables, and on links of their own."""

from __future__ import annotations

import time

from tests.functional.daemon.test_daemon_contention import put
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults.faults import vif
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

_NETWORK = "14ec4c8b-001b-49c3-89fb-bf84c4f41e24"
_HEARD_SECONDS = 1.5
"""Well above the time in which a comparison follows a change."""
_ON_BRIDGE = 8


def _compared(daemon: Vifplugd) -> float:
    return daemon.metric("vifplug_compared_vifs_total")


def _settled(daemon: Vifplugd) -> float:
    """How many were compared, once nothing is any more."""
    known = -1.0
    while known != (now := _compared(daemon)):
        known = now
        time.sleep(_HEARD_SECONDS)
    return known


def _quiet(world: World, daemon: Vifplugd, *commands: str) -> None:
    before = _settled(daemon)
    for command in commands:
        program, *words = command.split()
        if program == "ovs-vsctl":
            world.vsctl("--no-wait", *words)
        else:
            world.run(program, *words)
    time.sleep(_HEARD_SECONDS)
    assert _compared(daemon) == before, commands


def test_foreign_writes_cost_no_comparison(world: World) -> None:
    vifs = [vif("ovs-hybrid" if number % 2 else "ovs", number + 1) for number in range(4)]
    with Vifplugd(world, repair_interval=3600) as daemon:
        for each in vifs:
            put(daemon, each.model_dump(mode="json", exclude_none=True))
        _quiet(
            *(world, daemon),
            *(f"ovs-vsctl set Open_vSwitch . external_ids:not-ours={number}" for number in range(5)),
            "ovs-vsctl set Open_vSwitch . other_config:not-ours=1 external_ids:ovn-encap-ip=127.0.0.1",
            "ovs-vsctl remove Open_vSwitch . external_ids not-ours",
        )
        _quiet(
            *(world, daemon),
            "ovs-vsctl set Bridge br-int external_ids:not-ours=1 other_config:not-ours=1",
            "ovs-vsctl set-fail-mode br-int standalone",
            "ovs-vsctl set-controller br-int tcp:127.0.0.1:6633",
            "ovs-vsctl del-controller br-int",
            "ovs-vsctl del-fail-mode br-int",
            "ovs-vsctl -- --id=@m create Mirror name=m select_all=true -- set Bridge br-int mirrors=@m",
            "ovs-vsctl clear Bridge br-int mirrors",
            "ovs-vsctl add-br br-foreign -- set Bridge br-foreign datapath_type=netdev",
            "ovs-vsctl del-br br-foreign",
        )
        _quiet(
            *(world, daemon),
            "ovs-vsctl add-port br-int foreign0 -- set Interface foreign0 type=internal",
            "ovs-vsctl set Interface foreign0 external_ids:iface-id=not-ours external_ids:ovn-installed=true",
            "ovs-vsctl set Port foreign0 tag=7 external_ids:not-ours=1",
            "ovs-vsctl -- --id=@q create QoS type=linux-htb -- set Port foreign0 qos=@q",
            "ovs-vsctl -- clear Port foreign0 qos -- --all destroy QoS",
            "ovs-vsctl del-port foreign0",
        )
        _quiet(
            *(world, daemon),
            "ip link add foreign1 type bridge",
            "ip link set foreign1 up mtu 1400 alias not-ours",
            "ip address add 192.0.2.1/24 dev foreign1",
            "ip route add 198.51.100.0/24 dev foreign1",
            "ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev foreign1",
            "ip link del foreign1",
        )


def test_ovns_own_keys_are_heard(world: World) -> None:
    each = vif("ovs", 1)
    with Vifplugd(world, repair_interval=3600) as daemon:
        put(daemon, each.model_dump(mode="json", exclude_none=True))
        for key in ("ovn-remote=tcp:127.0.0.1:6642", "ovn-bridge=br-other", "ovn-bridge=br-int"):
            before = _settled(daemon)
            world.vsctl("--no-wait", "set", "Open_vSwitch", ".", f"external_ids:{key}")
            _await_comparison(daemon, before, key)


def test_foreign_links_on_a_shared_bridge_cost_few_comparisons(world: World) -> None:
    network = {"id": _NETWORK, "bridge": "brq14ec4c8b-00"}
    vifs = [vif("bridge", number + 1, network=network) for number in range(_ON_BRIDGE)]
    with Vifplugd(world, repair_interval=3600) as daemon:
        for each in vifs:
            put(daemon, each.model_dump(mode="json", exclude_none=True))
        before = _settled(daemon)
        world.ip("link", "set", "brq14ec4c8b-00", "txqueuelen", "500")
        time.sleep(_HEARD_SECONDS)
        assert _compared(daemon) - before < _ON_BRIDGE, "of many VIFs a few are looked at"
        # What is wrong with the bridge is found all the same.
        world.ip("link", "set", "brq14ec4c8b-00", "type", "bridge", "stp_state", "1")
        wait_until(lambda: _stp(world) == 0, "the repair of the bridge", 30)


def _stp(world: World) -> int:
    link = world.link("brq14ec4c8b-00")
    assert link is not None
    return int(link["linkinfo"]["info_data"]["stp_state"])


def _await_comparison(daemon: Vifplugd, before: float, key: str) -> None:
    wait_until(lambda: _compared(daemon) > before, f"a comparison after {key}", 15)
