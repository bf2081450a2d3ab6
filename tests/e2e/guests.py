"""Guests with a system of their own: what a test asks of one, and one that QEMU runs as vifplug says."""

from __future__ import annotations

import hashlib
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.e2e.console import Console
from tests.e2e.image import Image
from tests.support.network.traffic import IP_AND_ICMP_HEADER_BYTES
from tests.support.vifs import Request
from tests.support.world.world import World

MEMORY_MIB = 96
_END_SECONDS = 10.0


def cmdline(name: str, address: str) -> str:
    """The kernel's, for a guest of that name; ``address`` is an IP address with its prefix length, or ``dhcp``."""
    return f"console=ttyS0 quiet mitigations=off nokaslr guest.name={name} guest.address={address}"


def page_of(name: str) -> tuple[int, str]:
    """Bytes and MD5 of the page that a guest serves: as ``init`` makes it."""
    page = f"the page of {name}\n{''.join(f'{number}{chr(10)}' for number in range(1, 60001))}".encode()
    return len(page), hashlib.md5(page, usedforsecurity=False).hexdigest()


class Guest:
    """A guest that is asked by its console."""

    def __init__(self, name: str, address: str, console: Console) -> None:
        self.name, self.console = name, console
        self.ip = address.partition("/")[0]

    def run(self, command: str) -> str:
        """Run a shell command in the guest, which must end well; what it printed."""
        said = self.console.run(command)
        assert said.status == 0, f"{self.name}: {command!r} ended with {said.status}: {said.text}"
        return said.text

    def pings(self, ip: str, size: int = 84, count: int = 3) -> bool:
        """Whether one of up to ``count`` pings is answered; ``size`` is the whole IP packet's."""
        command = f"ping -q -c 1 -W 1 -s {size - IP_AND_ICMP_HEADER_BYTES} {ip}"
        return any(self.console.run(command).status == 0 for _ in range(count))

    def fetches(self, other: Guest) -> bool:
        """Whether the other's page comes whole."""
        size, checksum = page_of(other.name)
        said = self.console.run(f"fetch {other.ip}").text
        return f"FETCHED the page of {other.name}: {size} bytes, md5 {checksum}\n" in said

    def reboot(self) -> None:
        """The guest boots anew, and is ready again."""
        self.console.say("0 reboot -f")
        self.console.await_ready()


class QemuGuest(Guest):
    """A guest of QEMU's own, with the arguments that vifplug gives for its VIF; a context manager that ends it.

    Make it, then ``start`` it: two that boot together boot in the time of one and a half.
    """

    memory: ClassVar[tuple[str, ...]] = ()
    """QEMU's arguments for another memory than its own."""

    def __init__(self, world: World, image: Image, request: Request, name: str, address: str, log: Path) -> None:
        super().__init__(name, address, Console(world.directory / f"{name}.console", log))
        self._world = world
        self._image = image
        self._request = request
        self._cmdline = cmdline(name, address)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Boot; ``console.await_ready`` tells when it is there."""
        described = self._described()
        argv = [
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-M",
            "pc",
            "-m",
            str(MEMORY_MIB),
            *self.memory,
            "-nodefaults",
            "-display",
            "none",
        ]
        argv += ["-kernel", str(self._image.kernel), "-initrd", str(self._image.initramfs), "-append", self._cmdline]
        argv += ["-chardev", f"socket,id=console,path={self.console.path}", "-serial", "chardev:console"]
        with self._world.namespace.entered():
            self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv, *described])
        return self

    def _described(self) -> list[str]:
        """The arguments that vifplug gives for the card, once what must be there before is there."""
        described = self._world.vifplug_json("guest", "qemu", self._request.id)
        for command in described["before"]:
            self._world.run(*command)
        arguments: list[str] = described["arguments"]
        return arguments

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End QEMU with a signal: as when somebody pulls the plug."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_END_SECONDS)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.console.close()


class VhostUserGuest(QemuGuest):
    """A guest with a vhost-user socket: it shares its memory with ovs-vswitchd."""

    memory = ("-object", f"memory-backend-memfd,id=mem,size={MEMORY_MIB}M,share=on", "-numa", "node,memdev=mem")

    def _described(self) -> list[str]:
        # QEMU 7.2 without KVM crashes when Open vSwitch masks an MSI-X vector of the card: it gets none.
        return [f"{one},vectors=0" if one.startswith("virtio-net-pci") else one for one in super()._described()]


def must_talk(one: Guest, other: Guest, mtu: int) -> None:
    """Each reaches the other: by ping, by packets of exactly the MTU, and whole pages by TCP."""
    for guest, peer in ((one, other), (other, one)):
        assert guest.pings(peer.ip), f"{guest.name} does not reach {peer.name}"
        assert guest.pings(peer.ip, mtu), f"no packet of {mtu} bytes from {guest.name} reaches {peer.name}"
        assert guest.fetches(peer), f"{guest.name} has not got the page of {peer.name}"
