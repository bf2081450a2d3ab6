"""The other hosts of VXLAN networks, as neutron-server's driver l2population names them. Pure.

Only hosts count: their entry of the MAC of all zeros. A VXLAN device learns where each other MAC is from the frames
that arrive, so that a guest's MAC needs no entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FLOODING = "00:00:00:00:00:00"
SETTLE_SECONDS = 60.0
"""How long after the last start neutron-server's complete list is waited for, before hosts that it does not name are
forgotten."""


@dataclass(slots=True)
class _Hosts:
    seeded: set[str] = field(default_factory=set)
    """As the device had them when the agent started; not named by the server since."""
    named: set[str] = field(default_factory=set)

    @property
    def all(self) -> set[str]:
        return self.seeded | self.named


class Peers:
    """The hosts of each network.

    :param own: this host's address, which is never a peer of its own.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._networks: dict[str, _Hosts] = {}

    def of(self, network: str) -> frozenset[str]:
        """The other hosts of a network."""
        hosts = self._networks.get(network)
        return frozenset(hosts.all if hosts is not None else ())

    def knows(self, network: str) -> bool:
        """Whether the network is on this host."""
        return network in self._networks

    def seed(self, network: str, addresses: Iterable[str]) -> None:
        """Begin with the hosts that the network's device has."""
        self._networks.setdefault(network, _Hosts(seeded=set(addresses) - {self._own}))

    def forget(self, network: str) -> None:
        """The last port of the network has left this host."""
        self._networks.pop(network, None)

    def add(self, entries: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Take hosts that were named.

        :param entries: as of add_fdb_entries: for each network, under ``ports``, MACs and addresses by host.
        :returns: networks whose hosts are others now.
        """
        changed: set[str] = set()
        for network, address in _flooded(entries):
            hosts = self._networks.get(network)
            if hosts is None or address == self._own:
                continue
            if address not in hosts.all:
                changed.add(network)
            hosts.named.add(address)
            hosts.seeded.discard(address)
        return changed

    def remove(self, entries: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Forget hosts; as ``add``."""
        changed: set[str] = set()
        for network, address in _flooded(entries):
            hosts = self._networks.get(network)
            if hosts is not None and address in hosts.all:
                changed.add(network)
                hosts.named.discard(address)
                hosts.seeded.discard(address)
        return changed

    def settle(self) -> set[str]:
        """Forget hosts that the server has not named since the start, of networks of which it has named some.

        :returns: networks whose hosts are others now.
        """
        changed = {network for network, hosts in self._networks.items() if hosts.named and hosts.seeded}
        for network in changed:
            self._networks[network].seeded.clear()
        return changed


def _flooded(entries: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Network and host of each entry that names a host."""
    for network, values in entries.items():
        ports: Mapping[str, Sequence[Sequence[str]]] = values.get("ports", {})
        for address, listed in ports.items():
            if any(entry[0] == FLOODING for entry in listed):
                yield network, address
