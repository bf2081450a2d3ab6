"""Virtual functions of a real NIC when vifplug fails or is killed at any step, as ``ip link show`` has them then."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import vifplug
from tests.host.checks.processes import processes
from tests.host.checks.ring import SOCKET, check, end, note, run, shell, wait_until
from tests.host.checks.vf import Nic, nics, settings, vif
from tests.support.faults import faults
from vifplug import errors
from vifplug.api.local import LocalHost

CONFIGURATION = Path("/run/vifplug-vf-faults/vifplug.conf")
DAEMONS = Path("/etc/vifplug/vifplug.conf")
KILLERS = {"caller and helper": faults.kill_group, "the caller": faults.kill_caller, "the helper": faults.kill_helper}
DAEMON_KILLS = 6
Verb = Callable[[LocalHost, list[vifplug.Vif]], object]
PLUG: Verb = lambda host, vifs: host.plug(vifs)  # noqa: E731
UNPLUG: Verb = lambda host, vifs: host.unplug([one.id for one in vifs])  # noqa: E731


def batch(nic: Nic) -> list[vifplug.Vif]:
    """A VIF for each function, each with other settings."""
    first, second, third = nic.functions
    return [
        vif(1, first, vlan=100),
        vif(2, second, trusted=True, spoof_check=False, macvtap="passthrough"),
        vif(3, third, vlan=4094, spoof_check=True),
    ]


def opened() -> LocalHost:
    """The library in this process, with a store and a configuration of its own."""
    return vifplug.local(str(CONFIGURATION))


def is_plugged(nic: Nic, vifs: list[vifplug.Vif]) -> bool:
    """Whether all functions have what the VIFs ask for."""
    wanted = [(one.address, (one.pci_device.vlan or 0) if one.pci_device else 0) for one in vifs]
    return [settings(shown)[:2] for shown in nic.shown()] == wanted


def failures(nic: Nic, vifs: list[vifplug.Vif], steps: int) -> None:
    """An error in place of each step, and behind the last."""
    before = nic.shown()
    for after in range(steps + 1):
        with check(f"vf: a failure after {after} of {steps} steps of a plug: the NIC is as it was"), opened() as host:
            try:
                with faults.cut(after, faults.raising(errors.LinkError("injected"))):
                    host.plug(vifs)
            except errors.LinkError as error:
                assert error.message == "injected", error
            else:
                raise AssertionError("it did not fail")
            assert nic.shown() == before
            assert not host.list() and host.check().clean


def kills(nic: Nic, vifs: list[vifplug.Vif], steps: int) -> None:
    """Each process killed before each step of a plug and of an unplug, and behind the last."""
    before = nic.shown()
    for who, killer in KILLERS.items():
        for after in range(steps + 1):
            with check(f"vf: {who} killed after {after} of {steps} steps of a plug: settled by the next command"):
                killed(PLUG, vifs, after, killer)
                with opened() as host:
                    host.repair()
                    recorded = [one.id for one in host.list()]
                    assert recorded in ([], [one.id for one in vifs]), recorded
                    assert is_plugged(nic, vifs) if recorded else nic.shown() == before, nic.shown()
                    assert host.check().clean
                    host.plug(vifs)
                    assert is_plugged(nic, vifs)
                    host.unplug([one.id for one in vifs])
                assert nic.shown() == before, nic.shown()
            with check(f"vf: {who} killed after {after} of {steps} steps of an unplug: ended by the next one"):
                with opened() as host:
                    host.plug(vifs)
                killed(UNPLUG, vifs, after, killer)
                with opened() as host:
                    host.unplug([one.id for one in vifs])
                    assert not host.list() and host.check().clean
                assert nic.shown() == before, nic.shown()


def killed(verb: Verb, vifs: list[vifplug.Vif], after: int, killer: faults.Deed) -> None:
    """A verb in a process of its own, which is killed after some steps. With the helper alone it ends by itself."""

    def work() -> None:
        with opened() as host, faults.cut(after, killer):
            verb(host, vifs)

    status = faults.in_child(work)
    assert status in (-signal.SIGKILL, 1 if killer is faults.kill_helper else -signal.SIGKILL, 0), status


def by_daemon(nic: Nic, vifs: list[vifplug.Vif]) -> None:
    """The installed daemon, in its unit: plugs, repairs, and its worker killed in a plug and in an unplug."""
    before = nic.shown()
    with check("vf: the daemon, in its unit, plugs, repairs what ip changes, and puts back"):
        DAEMONS.write_text(f"{DAEMONS.read_text()}\n[pci]\ndevices = {nic.address}\n")
        run("systemctl", "restart", "vifplugd.service")
        with vifplug.connect(SOCKET) as host:
            host.plug(vifs)
            assert is_plugged(nic, vifs)
            device = nic.own_device(nic.functions[1])
            assert f'<source dev="{device}" mode="passthrough"/>' in host.guest(vifs[1].id, "libvirt").text
            during = nic.shown()
            run("ip", "link", "set", nic.device, "vf", "0", "vlan", "7")
            host.repair([one.id for one in vifs])
            assert nic.shown() == during
            host.unplug([one.id for one in vifs])
        assert nic.shown() == before
    for number in range(DAEMON_KILLS):
        verb = ("plug", "unplug")[number % 2]
        delay = 0.05 * (number + 1)
        with check(f"vf: the daemon's worker killed {delay:.2f} s into a {verb}: the NIC is as it was after an unplug"):
            with vifplug.connect(SOCKET, retry=120) as host:
                if verb == "unplug":
                    host.plug(vifs)
            killed_daemon(verb, vifs, delay)
            with vifplug.connect(SOCKET, retry=120) as host:
                recorded = [one.id for one in host.list()]
                assert len(recorded) in (0, len(vifs)) or verb == "unplug", recorded
                host.unplug([one.id for one in vifs])
                assert host.check().clean
            assert nic.shown() == before, nic.shown()


def killed_daemon(verb: str, vifs: list[vifplug.Vif], delay: float) -> None:
    """A request to the daemon whose worker is killed meanwhile."""

    def work() -> None:
        with vifplug.connect(SOCKET) as host:
            (PLUG if verb == "plug" else UNPLUG)(host, vifs)  # type: ignore[arg-type]

    child = faults.start_child(work)
    time.sleep(delay)
    if worker := processes().get("worker"):
        shell(f"kill -9 {worker} || true")
    faults.join_children([child])
    wait_until(lambda: run("systemctl", "is-active", "vifplugd", check=False).strip() == "active", "vifplugd")


def main() -> None:
    """The batch."""
    nic, _other = nics()
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(f"[DEFAULT]\nstate_dir = {CONFIGURATION.parent}/state\n[pci]\ndevices = {nic.address}\n")
    vifs = batch(nic)
    with opened() as host:
        steps = len(host.plan(vifs).actions)
    note(f"{steps} steps; before: {nic.shown()}")
    failures(nic, vifs, steps)
    kills(nic, vifs, steps)
    by_daemon(nic, vifs)
    end()


if __name__ == "__main__":
    main()
