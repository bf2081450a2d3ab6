"""Ends of a path: guests and hosts with an address, each in a separate namespace if needed."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.world.daemons import PATIENCE
from tests.support.world.namespaces import Namespace
from tests.support.world.world import REPOSITORY, Completed, World

GUEST_DEVICE = "eth0"
_numbers = itertools.count()


@dataclass
class Station:
    """Something with an address that can send: a guest's end of a VIF, or a host on a bridge.

    Use it as a context manager, or call ``close``: a guest then unplugs its cable and ends.
    """

    world: World
    namespace: Namespace
    device: str
    ip: str
    _closers: list[Callable[[], object]] = field(default_factory=list)

    def run(self, *argv: str, check: bool = True, timeout: float = 30) -> Completed:
        """Run a program in the station's namespace; with ``check`` a status other than 0 is an AssertionError."""
        with self.namespace.entered():
            result = subprocess.run(argv, capture_output=True, text=True, timeout=timeout * PATIENCE)
        assert not check or result.returncode == 0, f"{argv} exited {result.returncode}: {result.stderr}"
        return result

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Enter the station's namespace; sockets created meanwhile belong to it."""
        with self.namespace.entered():
            yield

    def set_address(self, address: str, mtu: int, mac: str | None) -> None:
        """Give its device MAC, MTU and address and bring it up, without any IPv6 packet."""
        _without_ipv6(self.namespace, self.device)
        device = ["ip", "link", "set", "dev", self.device]
        self.run(*device, "mtu", str(mtu), *(["address", mac] if mac else []))
        self.run("ip", "address", "add", address if "/" in address else f"{address}/24", "dev", self.device)
        self.run(*device, "up")

    def close(self) -> None:
        """Delete it."""
        while self._closers:
            self._closers.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def guest_in_bridge(
    world: World, bridge: str, address: str, mtu: int = 1500, mac: str | None = None, outer: str | None = None
) -> Station:
    """A guest behind a veth whose host's end (``outer``, e.g. the tap's name) is enslaved to a Linux bridge.

    ``address`` is an IPv4 address, with /24 as the default prefix length.
    """
    station, outer = _behind_veth(world, address, mtu, mac, outer)
    world.ip("link", "set", outer, "master", bridge)
    return station


def guest_on_tap(world: World, tap: str, mac: str, address: str, mtu: int = 1500, multi_queue: bool = False) -> Station:
    """A guest whose "VMM" holds a tap open: the persistent one of that name, else one that is deleted with the
    guest."""
    station = _station(world, address)
    argv = [sys.executable, "-m", "tests.support.network.relay", tap, GUEST_DEVICE, station.namespace.path]
    with world.namespace.entered():
        relay = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv, *(["--multi-queue"] if multi_queue else [])],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
    station._closers.append(lambda: _end(relay))
    assert relay.stdout is not None
    if relay.stdout.readline() != "ready\n":
        station.close()
        raise AssertionError(f"no relay on {tap!r}: see the errors above")
    station.set_address(address, mtu, mac)
    return station


def host_on_bridge(world: World, bridge: str, address: str, mtu: int = 1500, outer: str | None = None) -> Station:
    """A host on an OVS bridge or a Linux one, in a namespace of its own behind a veth.

    Not on br-int's internal port: an address in the world's own namespace is answered for on every link there is
    (the kernel sees a userspace datapath's frames too), past Open vSwitch.
    """
    station, outer = _behind_veth(world, address, mtu, None, outer)
    if bridge in world.vsctl("list-br").splitlines():
        station._closers.append(lambda: world.vsctl("--if-exists", "del-port", outer))
        world.vsctl("add-port", bridge, outer)
    else:
        world.ip("link", "set", outer, "master", bridge)
    return station


def _behind_veth(world: World, address: str, mtu: int, mac: str | None, outer: str | None) -> tuple[Station, str]:
    """A station and the name of the world's end of its cable, which is up and in no bridge yet."""
    outer = outer or f"station{next(_numbers)}"
    station = _station(world, address)
    create = ["link", "add", outer, "mtu", str(mtu), "type", "veth", "peer", GUEST_DEVICE]
    world.ip(*create, "netns", station.namespace.path)
    # Deleted explicitly: the end of a namespace deletes its devices some time later.
    station._closers.append(lambda: world.run("ip", "link", "delete", outer, check=False))
    # OVS's userspace datapath loses packets whose checksum is left to the hardware.
    station.run("ethtool", "-K", GUEST_DEVICE, "tx", "off")
    _without_ipv6(world.namespace, outer)
    world.ip("link", "set", outer, "up")
    station.set_address(address, mtu, mac)
    return station, outer


def _station(world: World, address: str) -> Station:
    station = Station(world, Namespace.new(), GUEST_DEVICE, address.partition("/")[0])
    station._closers.append(station.namespace.close)
    return station


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _without_ipv6(namespace: Namespace, device: str) -> None:
    # /proc/sys/net is that of the opening thread's namespace, whatever the mount is.
    with namespace.entered():
        Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")
