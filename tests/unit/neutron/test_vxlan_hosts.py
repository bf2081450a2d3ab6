"""Which hosts a VXLAN network has, by l2population's messages."""

from __future__ import annotations

from typing import Any

from vifplug.neutron.vxlan_hosts import FLOODING, Peers

OWN, A, B = "192.0.2.1", "192.0.2.2", "192.0.2.3"
FLOOD, STATION = (FLOODING, "0.0.0.0"), ("fa:16:3e:00:00:01", "10.1.0.5")


def entries(network: str, **hosts: list[tuple[str, str]]) -> dict[str, Any]:
    addresses = {"own": OWN, "a": A, "b": B}
    return {network: {"network_type": "vxlan", "ports": {addresses[name]: listed for name, listed in hosts.items()}}}


def seeded(*addresses: str) -> Peers:
    peers = Peers(OWN)
    peers.seed("n", addresses)
    return peers


def test_hosts_come_and_go() -> None:
    peers = seeded()
    assert peers.add(entries("n", a=[FLOOD, STATION], b=[FLOOD])) == {"n"}
    assert peers.of("n") == {A, B}
    assert peers.remove(entries("n", a=[FLOOD])) == {"n"}
    assert peers.of("n") == {B}


def test_what_changes_nothing_is_not_reported() -> None:
    peers = seeded()
    peers.add(entries("n", a=[FLOOD]))
    assert peers.add(entries("n", a=[FLOOD, STATION])) == set()
    assert peers.remove(entries("n", b=[FLOOD])) == set()


def test_station_without_its_host_and_this_host_do_not_count() -> None:
    peers = seeded()
    assert peers.add(entries("n", a=[STATION], own=[FLOOD])) == set()
    assert peers.of("n") == frozenset()


def test_network_that_is_not_here_is_ignored() -> None:
    peers = seeded()
    assert peers.add(entries("other", a=[FLOOD])) == set()
    assert peers.of("other") == frozenset()


def test_hosts_of_the_last_run_stay_until_the_server_has_named_others() -> None:
    peers = seeded(A, B, OWN)
    assert peers.of("n") == {A, B}
    assert peers.settle() == set()
    assert peers.of("n") == {A, B}
    peers.add(entries("n", b=[FLOOD]))
    assert peers.of("n") == {A, B}
    assert peers.settle() == {"n"}
    assert peers.of("n") == {B}


def test_host_of_the_last_run_that_is_gone() -> None:
    peers = seeded(A)
    assert peers.remove(entries("n", a=[FLOOD])) == {"n"}
    assert peers.of("n") == frozenset()


def test_second_port_of_a_network_keeps_its_hosts() -> None:
    peers = seeded(A)
    peers.add(entries("n", b=[FLOOD]))
    peers.seed("n", ())
    assert peers.of("n") == {A, B}
    peers.forget("n")
    assert not peers.knows("n")
