"""The daemon's processes killed and stopped, under the real systemd and its watchdog: no link changes, all goes on."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import vifplug
from tests.host.checks.ring import KINDS, SOCKET, check, device, end, expected_links, links, run, vif, wait_until

WATCHDOG_SECONDS = 240.0


def processes() -> dict[str, int]:
    """Parent, worker and helper of vifplugd, by their places in its control group."""
    group = run("systemctl", "show", "--value", "-p", "ControlGroup", "vifplugd").strip()
    main = int(run("systemctl", "show", "--value", "-p", "MainPID", "vifplugd"))
    found, members = {"parent": main}, ""
    with contextlib.suppress(FileNotFoundError):  # between the end of the last process and systemd's restart
        members = Path(f"/sys/fs/cgroup{group}/cgroup.procs").read_text()
    for pid in map(int, members.split()):
        if pid != main:
            with contextlib.suppress(OSError):
                found["helper" if Path(f"/proc/{pid}").stat().st_uid == 0 else "worker"] = pid
    return found


def answers() -> bool:
    """Whether the daemon answers, and finds everything as it should be."""
    with contextlib.suppress(vifplug.errors.VifplugError), vifplug.connect(SOCKET) as host:
        return host.check().clean
    return False


def is_active() -> bool:
    """Whether systemd calls it started."""
    return run("systemctl", "is-active", "vifplugd", check=False).strip() == "active"


def survives(name: str, deed: Callable[[dict[str, int]], None]) -> None:
    """What is done to the processes changes no link, and they are all there again."""
    with check(name):
        before, indexes = processes(), {link["ifname"]: link["ifindex"] for link in links().values()}
        deed(before)
        wait_until(lambda: len(processes()) == 3 and processes() != before, "other processes", WATCHDOG_SECONDS)
        wait_until(answers, "an answer", WATCHDOG_SECONDS)
        # The watchdog counts from READY, which comes after the first answer.
        wait_until(is_active, "systemd's word", WATCHDOG_SECONDS)
        assert {link["ifname"]: link["ifindex"] for link in links().values()} == indexes


def main() -> None:
    """Run the batch."""
    vifs = [vif(kind, 0x501 + number) for number, kind in enumerate(KINDS)]
    with vifplug.connect(SOCKET) as host:
        host.plug([vifplug.load(of) for of in vifs])
    for which in ("worker", "helper", "parent"):
        survives(f"processes: kill -9 of the {which}", lambda found, which=which: os.kill(found[which], signal.SIGKILL))  # type: ignore[misc]
    survives("processes: a worker that hangs is replaced", lambda found: os.kill(found["worker"], signal.SIGSTOP))
    survives("processes: a parent that hangs meets systemd's watchdog",
             lambda found: os.kill(found["parent"], signal.SIGSTOP))  # fmt: skip
    with check("processes: systemd counted restarts, and says that it runs"):
        assert int(run("systemctl", "show", "--value", "-p", "NRestarts", "vifplugd")) >= 2
        assert is_active()
    with check("processes: what drifts while it is stopped is repaired before systemd calls it started"):
        run("systemctl", "stop", "vifplugd.socket", "vifplugd.service")
        for name in (device("qbr", vifs[0]), device("tap", vifs[1]), device("tap", vifs[2])):
            run("ip", "link", "del", name)
        run("systemctl", "start", "vifplugd.service")
        missing = set().union(*map(expected_links, vifs)) - links().keys()
        assert not missing, sorted(missing)
    with vifplug.connect(SOCKET) as host:
        host.unplug([of["id"] for of in vifs])
    end()


if __name__ == "__main__":
    main()
