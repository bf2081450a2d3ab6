"""A fresh Debian: a root of its own, booted as process 1 of its own namespaces by its own systemd.

The machine has no network but its loopback. What apt installs in it is downloaded before the boot. Nothing else on this
machine is changed: the end of the process namespace ends everything in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.world.booted import own_group

MIRROR = os.environ.get("VIFPLUG_MIRROR", "http://deb.debian.org/debian")
SUITES = {"12": "bookworm", "13": "trixie"}
BOOT_SECONDS, COMMAND_SECONDS = 180.0, 600.0
_PACKAGES = "systemd,systemd-sysv,dbus,udev,openvswitch-switch,iproute2,iputils-ping,procps,passwd"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")
_PREPARE = """
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
for device in $2; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
"""
_CHROOT = (
    _PREPARE
    + """
shift 2
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
"""
)
_BOOT = (
    _PREPARE
    + """
mount -t sysfs sys "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 run "$root/run"
ip link set lo up
exec chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=vifplug \\
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=0
"""
)
# The kernel's datapath needs a module, and a container may load none: Open vSwitch's scripts are told that it is there.
_MODPROBE = "#!/bin/sh\nexit 0\n"
APT = ("apt-get", "-y", "-q", "--no-install-recommends", "-o", "APT::Sandbox::User=root")


def archive(debian: str, work: Path) -> Path:
    """The archive of a fresh Debian with Open vSwitch, made once."""
    path, stamp = work / f"fresh-{SUITES[debian]}.tar", work / f"fresh-{SUITES[debian]}.stamp"
    if not (path.exists() and stamp.exists() and stamp.read_text() == _PACKAGES):
        work.mkdir(parents=True, exist_ok=True)
        options = ("--quiet", "--variant=minbase", "--aptopt=Acquire::Languages none", f"--include={_PACKAGES}")
        subprocess.run(["mmdebstrap", *options, SUITES[debian], path, MIRROR], check=True)
        stamp.write_text(_PACKAGES)
    return path


class Machine:
    """One fresh Debian; a context manager, which boots it.

    :param packages: files that are put into /srv, in the order in which they will be installed.
    """

    def __init__(self, debian: str, work: Path, packages: list[Path]) -> None:
        self.root = work / f"root-{debian}"
        self.log = work / f"systemd-{debian}.log"
        self._group = own_group() / f"vifplug-{uuid.uuid4().hex[:12]}"
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        tar = archive(debian, work)
        subprocess.run(["tar", "-C", self.root, "-xf", tar, "--exclude=./dev/*"], check=True)
        # dpkg waits for the disk after each file otherwise; this root is thrown away.
        (self.root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        (self.root / "usr/local/sbin/modprobe").write_text(_MODPROBE)
        (self.root / "usr/local/sbin/modprobe").chmod(0o755)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(Path("/etc", name), self.root / "etc" / name)
        for package in packages:
            shutil.copy(package, self.root / "srv")
        self.chroot("apt-get", "-q", "update")
        for package in packages:
            self.chroot(*APT, "--download-only", "install", f"/srv/{package.name}")
        (self.root / "etc/resolv.conf").unlink()

    def chroot(self, *argv: str, root: Path | None = None) -> None:
        """Run a command in the root, or in another one, before the boot, with this machine's network."""
        words = ("sh", "-c", _CHROOT, "chroot", str(root or self.root), " ".join(_DEVICES), *argv)
        subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", *words],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _boot(self) -> None:
        self._group.mkdir()
        # The shell moves itself before it makes the namespaces: its cgroup is the root of what systemd sees.
        enter = f'echo $$ >"{self._group}/cgroup.procs"; exec "$@"'
        namespaces = ("--pid", "--mount", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child")
        boot = ("unshare", *namespaces, "sh", "-c", _BOOT, "boot", str(self.root), " ".join(_DEVICES))
        argv = ["setpriv", "--pdeathsig", "KILL", "sh", "-ec", enter, "sh", *boot]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._is_up, f"the boot, see {self.log}", BOOT_SECONDS)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"systemd ended: {self.log.read_text()[-2000:]}"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._pid = int(children[0]) if children else 0
        return bool(self._pid) and self.run("systemctl", "is-active", "-q", "multi-user.target", check=False) == ""

    def argv(self, *argv: str) -> list[str]:
        """The command line that runs a command on the machine."""
        enter = ("nsenter", "-t", str(self._pid), "-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return [
            *enter,
            "env",
            "-i",
            f"PATH={path}",
            "LC_ALL=C.UTF-8",
            "HOME=/root",
            "DEBIAN_FRONTEND=noninteractive",
            *argv,
        ]

    def run(self, *argv: str, check: bool = True) -> str:
        """The output of a command on the machine; without ``check`` "" for success, else its exit status and its words.

        :raises AssertionError: with its words, when it fails.
        """
        done = subprocess.run(
            self.argv(*argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        words = f"{' '.join(argv)}: exit {done.returncode}: {done.stderr[-1500:]}{done.stdout[-1500:]}"
        if not check:
            return "" if done.returncode == 0 else words
        assert done.returncode == 0, words
        return done.stdout

    def apt(self, *argv: str) -> str:
        """Install or remove packages on the booted machine, which has no network."""
        return self.run(*APT, *argv)

    def close(self) -> None:
        """End everything on the machine, and remove its root."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError):
                (self._group / "cgroup.kill").write_text("1")
        for folder in sorted(self._group.glob("**/"), reverse=True):
            until(lambda folder=folder: _is_removed(folder), f"the end of {folder}", 60)  # type: ignore[misc]
        if not os.environ.get("KEEP_WORLD"):
            shutil.rmtree(self.root, ignore_errors=True)


def _is_removed(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until a condition holds.

    :raises AssertionError: when it does not within the time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timeout of {seconds:.0f} s: {what}"
        time.sleep(0.2)
