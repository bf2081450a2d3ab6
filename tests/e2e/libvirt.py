"""A libvirtd of a world's own, in mount and process namespaces of its own; nothing of the machine's libvirt is touched.

It calls ``ovs-vsctl`` without an address: its /run/openvswitch is the world's directory. Its own folders are the
world's, too, and there is a user libvirt-qemu that the machine need not have. It ends, and each of its guests with it,
when the first process of its process namespace does.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

import pytest

from tests.e2e.console import Console
from tests.e2e.guests import MEMORY_MIB, Guest, cmdline
from tests.e2e.image import Image
from tests.support.vifs import Request
from tests.support.world.daemons import wait_until
from tests.support.world.started import Started
from tests.support.world.world import World

START_SECONDS = 60.0
_END_SECONDS = 20.0
_MINE = ("/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt")
_QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
dynamic_ownership = 0
stdio_handler = "file"
"""
_LIBVIRTD_CONF = """
unix_sock_group = "root"
auth_unix_rw = "none"
"""
_USER = "libvirt-qemu:x:64055:"


class Libvirtd(Started):
    """The daemon, and ``virsh`` that talks to it; a context manager."""

    def __init__(self, world: World) -> None:
        if shutil.which("libvirtd") is None:
            pytest.skip("no libvirtd: tools/setup --e2e brings it")
        self.world = world
        self.directory = world.directory / "libvirt"
        self.socket = self.directory / "run/libvirt-sock"
        self.log = self.directory / "libvirtd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it answers."""
        script = self._script()
        argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with self.world.namespace.entered(), self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv, "sh", "-ec", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "libvirtd's answer", START_SECONDS)
        return self

    def virsh(self, *args: str, check: bool = True) -> str:
        """What virsh prints."""
        uri = f"qemu+unix:///system?socket={self.socket}"
        return self.world.run("virsh", "--quiet", "--connect", uri, *args, check=check).stdout

    def close(self) -> None:
        """End it and its guests."""
        if self._process is not None:
            # unshare's child is told by the kernel, and all of its namespace goes with it.
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_END_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"libvirtd ended: {self.log.read_text()[-3000:]}"
        return self.socket.exists() and bool(self.virsh("uri", check=False))

    def _script(self) -> str:
        """What makes the namespace a machine of libvirtd's own, and runs it."""
        lines = ["mount -t tmpfs tmpfs /run"]
        for number, path in enumerate((*_MINE, "/etc/openvswitch")):
            own = self._folder(f"own{number}")
            # One that is not there on the machine is not looked for either.
            lines.append(f"[ ! -d {path} ] || mount --bind {own} {path}")
            if path == "/etc/libvirt":
                (own / "qemu.conf").write_text(_QEMU_CONF)
                (own / "libvirtd.conf").write_text(_LIBVIRTD_CONF)
        for path, source in (("/run/libvirt", self._folder("run")), ("/run/openvswitch", self.world.directory)):
            lines.append(f"mkdir {path} && mount --bind {source} {path}")
        for name, line in (("passwd", f"{_USER}64055::/:/bin/false"), ("group", _USER)):
            mine = self.directory / name
            mine.write_text(f"{Path('/etc', name).read_text().rstrip()}\n{line}\n")
            lines.append(f"mount --bind {mine} /etc/{name}")
        conf = shlex.quote(str(self.directory / "own3/libvirtd.conf"))
        # The shell stays: libvirtd as process 1 would wait for ever for the end of a QEMU whose parent has gone.
        return "\n".join([*lines, f"libvirtd --config {conf}", "exit"])

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(parents=True)
        return folder


class Domain(Guest):
    """A guest of libvirt's, with the interface that vifplug says; a context manager that destroys and undefines it."""

    def __init__(self, libvirt: Libvirtd, image: Image, request: Request, name: str, address: str, log: Path) -> None:
        super().__init__(name, address, Console(libvirt.world.directory / f"{name}.console", log))
        self._libvirt, self._image, self._request = libvirt, image, request
        self._cmdline = cmdline(name, address)

    def define(self) -> Self:
        """Define it with what ``vifplug guest libvirt`` prints now."""
        file = self._libvirt.directory / f"{self.name}.xml"
        file.write_text(self._xml(self._libvirt.world.vifplug("guest", "libvirt", self._request.id).stdout))
        self._libvirt.virsh("define", str(file))
        return self

    def start(self) -> None:
        """Boot; ``console.await_ready`` tells when it is there."""
        self._libvirt.virsh("start", self.name)

    def stop(self) -> None:
        """End it; libvirt takes away what it made."""
        self._libvirt.virsh("destroy", self.name, check=False)

    def interfaces(self) -> str:
        """As ``virsh domiflist`` has them."""
        return self._libvirt.virsh("domiflist", self.name)

    def _xml(self, interface: str) -> str:
        domain = Element("domain", type="qemu")
        for name, text in (("name", self.name), ("memory", str(MEMORY_MIB * 1024)), ("vcpu", "1")):
            SubElement(domain, name).text = text
        system = SubElement(domain, "os")
        SubElement(system, "type", arch="x86_64", machine="pc").text = "hvm"
        for name, text in (("kernel", str(self._image.kernel)), ("initrd", str(self._image.initramfs))):
            SubElement(system, name).text = text
        SubElement(system, "cmdline").text = self._cmdline
        SubElement(SubElement(domain, "features"), "acpi")
        devices = SubElement(domain, "devices")
        serial = SubElement(devices, "serial", type="unix")
        SubElement(serial, "source", mode="connect", path=str(self.console.path))
        SubElement(devices, "controller", type="usb", model="none")
        SubElement(devices, "memballoon", model="none")
        devices.append(fromstring(interface))
        return tostring(domain, encoding="unicode")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._libvirt.virsh("undefine", self.name, check=False)
        self.console.close()
