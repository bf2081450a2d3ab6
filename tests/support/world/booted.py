"""A separate machine to test the systemd units: the real systemd as pid 1 of namespaces, with an Open vSwitch.

Its /etc, /var/lib and /usr/local are overlays of the machine's, its /run and its network are separate, and it only
knows our units and those that they need. Nothing is left of it: the end of its pid namespace ends everything in it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.world.daemons import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
UNITS = REPOSITORY / "etc" / "systemd"
SYSTEMD = "/lib/systemd/systemd"
LOG = "/run/vifplugd.log"
"""The path of the daemon's log on that machine."""

_SECONDS = 90.0
_FIRST_USER = 1000
_TARGETS = ("sysinit", "basic", "sockets", "paths", "timers", "slices", "shutdown", "network-pre", "multi-user")
_OPEN_VSWITCH = """
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'mkdir -p /run/openvswitch; cd /run/openvswitch; \
  ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema; \
  ovsdb-server --detach --no-chdir --pidfile --log-file=/run/openvswitch/ovsdb-server.log -vconsole:off \
    --remote=punix:/run/openvswitch/db.sock conf.db; \
  ovs-vsctl --no-wait init; \
  ovs-vswitchd --detach --no-chdir --pidfile --log-file=/run/openvswitch/ovs-vswitchd.log -vconsole:off; \
  ovs-vsctl add-br br-int -- set Bridge br-int datapath_type=netdev'
"""
_BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=0755 overlays "$1"
for place in etc var/lib usr/local root; do
    mkdir -p "$1/$place/upper" "$1/$place/work"
    mount -t overlay -o "lowerdir=/$place,upperdir=$1/$place/upper,workdir=$1/$place/work" overlay "/$place"
done
mount -t tmpfs -o mode=0755 run /run
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
rm -rf /var/lib/vifplug /etc/vifplug
mkdir -p /usr/local/bin /etc/sysusers.d /etc/tmpfiles.d /etc/systemd/system
if [ "$5" = installed ]; then
    ln -sf "$2/.venv/bin/vifplugd" "$2/.venv/bin/vifplug" /usr/local/bin/
    cp "$2"/etc/sysusers.d/* /etc/sysusers.d/
    cp "$2"/etc/tmpfiles.d/* /etc/tmpfiles.d/
    systemd-sysusers vifplug.conf
    systemd-tmpfiles --create vifplug.conf
else
    rm -rf /etc/systemd/system/*  # the machine's own units need others that are not here
fi
exec env -i PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" container=vifplug \\
    SYSTEMD_UNIT_PATH="$3" "$4" --system --unit=sysinit.target --log-target=console --show-status=0
"""


class Booted:
    """A running systemd that knows vifplugd's units; a context manager.

    :param bare: nothing of vifplug is installed, and systemd knows the units of /etc, too.
    """

    def __init__(self, *, bare: bool = False) -> None:
        self._bare = bare
        self.directory = Path(tempfile.mkdtemp(prefix="vifplug-booted-"))
        self.log = self.directory / "systemd.log"
        self._group = own_group() / f"vifplug-{uuid.uuid4().hex[:12]}"
        self._pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _boot(self) -> None:
        self._write_units()
        (self.directory / "overlays").mkdir()
        self._group.mkdir()
        # The shell moves itself before it makes the namespaces: its cgroup is the root of what systemd sees.
        enter = f'echo $$ >"{self._group}/cgroup.procs"; exec "$@"'
        namespaces = ("--pid", "--mount", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child")
        units = f"{self.directory / 'units'}{':/etc/systemd/system' if self._bare else ''}"
        content = "bare" if self._bare else "installed"
        arguments = (self.directory / "overlays", REPOSITORY, units, SYSTEMD, content)
        boot = ("unshare", *namespaces, "--mount-proc", "sh", "-c", _BOOT, "boot", *map(str, arguments))
        argv = ["setpriv", "--pdeathsig", "KILL", "sh", "-ec", enter, "sh", *boot]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._is_up, f"the start of systemd, see {self.log}", _SECONDS)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"systemd ended: {self.log.read_text()}"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._pid = int(children[0]) if children else 0
        return bool(self._pid) and self.run("systemctl", "is-active", "sysinit.target", check=False).returncode == 0

    def _write_units(self) -> None:
        units = self.directory / "units"
        units.mkdir()
        for target in _TARGETS:
            (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        (units / "openvswitch-switch.service").write_text(_OPEN_VSWITCH)
        for name in () if self._bare else ("vifplugd.service", "vifplugd.socket"):
            shutil.copy(UNITS / name, units)
        self.add_drop_in("log", f"[Service]\nStandardError=append:{LOG}\n")  # there is no journal
        # A developer's interpreter or checkout may be where an installed one never is, and which the unit cannot see.
        places = (Path(sys.base_prefix), REPOSITORY)
        if any(place.is_relative_to(home) for place in places for home in _homes()):
            self.add_drop_in("home", "[Service]\nProtectHome=no\n")
        if any(place.is_relative_to(hidden) for place in places for hidden in ("/tmp", "/var/tmp")):
            self.add_drop_in("tmp", "[Service]\nPrivateTmp=no\n")

    def add_drop_in(self, name: str, text: str) -> None:
        """Change vifplugd.service as an operator would; ``systemctl daemon-reload`` reads it."""
        folder = self.directory / "units" / "vifplugd.service.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.conf").write_text(text)

    def run(self, *argv: str, check: bool = True, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on that machine."""
        become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups") if user else ()
        done = subprocess.run(
            ["nsenter", "-t", str(self._pid), "-m", "-p", "-n", "-i", "-u", "-C", "-w/", *become, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def property(self, name: str, unit: str = "vifplugd.service") -> str:
        """systemd's properties of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def close(self) -> None:
        """End everything on that machine."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError):
                (self._group / "cgroup.kill").write_text("1")
        for folder in sorted(self._group.glob("**/"), reverse=True):
            wait_until(lambda folder=folder: _is_removed(folder), f"the end of {folder}")  # type: ignore[misc]
        if not os.environ.get("KEEP_WORLD"):
            shutil.rmtree(self.directory)


def _is_removed(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True


def own_group() -> Path:
    """This process's group in the unified hierarchy."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    root = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    assert root is not None, "there is no cgroup2 file system: mount one, or run the container with a cgroup namespace"
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    return root / own.removeprefix("0::").lstrip("/")


def _homes() -> list[str]:
    """The directories that ProtectHome= hides, if they exist here."""
    return [entry.pw_dir for entry in pwd.getpwall() if entry.pw_uid == 0 or entry.pw_uid >= _FIRST_USER]
