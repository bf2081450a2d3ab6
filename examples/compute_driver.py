#!/usr/bin/env python3
"""A compute driver small enough to read: one instance, its Neutron ports, one QEMU.

    examples/compute_driver.py ports.json --instance-uuid UUID -- \\
        qemu-system-x86_64 -accel kvm -m 512 -nodefaults -display none -drive file=disk.qcow2,if=virtio

It plugs all ports of the instance, starts the guest paused, waits until the network has every port, and only then lets
the guest run; when the guest ends, for whatever reason, it unplugs. A boot that fails at any step leaves nothing: no
process, no device, no port. Copy it, and put your own hypervisor in Guest's place.

ports.json is what Neutron answers to GET /v2.0/ports?device_id=UUID, with the ports bound to this host. vifplugd must
run. To end the guest from outside, send SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import vifplug

UNPLUG_SECONDS = 60
"""How long to go on trying when vifplugd or Open vSwitch is just being restarted."""


class BootError(Exception):
    """The guest did not start, or did not live to run. What QEMU said of it is on stderr."""


class Guest:
    """One QEMU, started paused, with its monitor on the standard streams.

    :param command: QEMU and all of its arguments, but for the monitor.
    :param lock: what must stay taken for as long as it lives.
    """

    def __init__(self, command: Sequence[str], lock: socket.socket) -> None:
        self._process = subprocess.Popen(
            [*command, "-S", "-monitor", "stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[lock.fileno()],
        )

    def await_start(self) -> None:
        """Return once QEMU has opened its taps and disks, made its devices, and answers.

        :raises BootError: when it ends instead.
        """
        self._tell("info status")
        assert self._process.stdout is not None
        if not any("VM status" in line for line in self._process.stdout):
            raise BootError(f"the guest did not start: exit status {self._process.wait()}")

    def resume(self) -> None:
        """Let the guest run.

        :raises BootError: when it has ended meanwhile.
        """
        self._tell("cont")

    def wait(self) -> int:
        """Return its exit status, once it has ended."""
        assert self._process.stdout is not None
        for _line in self._process.stdout:  # its monitor repeats what it is told
            pass
        return self._process.wait()

    def end(self) -> None:
        """Make sure that it is gone."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BootError(f"the guest ended before it ran: exit status {self._process.wait()}") from None


def lock_of(instance: str) -> socket.socket:
    """The right to run this instance here: taken until this process and its QEMU are gone, however they end.

    :raises BootError: when another process has it: to plug again and fail would unplug a guest that runs.
    """
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0compute_driver/{instance}")
    except OSError:
        lock.close()
        raise BootError(f"instance {instance} runs here already") from None
    return lock


def ports_of(path: str, instance: dict[str, str | None], mtu: int | None) -> list[vifplug.Vif]:
    """The VIFs of a file of Neutron's, with a tap that vifplug makes for each.

    QEMU only opens a tap. Made before it starts, the tap is up and where it belongs: on its bridge, or a port that OVN
    can have claimed already. A driver that uses libvirt leaves create_tap as Neutron has it.
    """
    vifs = vifplug.load_all(pathlib.Path(path).read_text(), instance=instance, mtu=mtu)
    return [vif.model_copy(update={"create_tap": True}) for vif in vifs]


@contextlib.contextmanager
def running(vifs: Sequence[vifplug.Vif], options: argparse.Namespace) -> Iterator[Guest]:
    """A guest that runs, with its VIFs; when the block is left, both are gone."""
    ids = [vif.id for vif in vifs]
    with contextlib.ExitStack() as undo:
        lock = undo.enter_context(lock_of(options.instance_uuid))
        undo.callback(persistently, lambda: unplug(ids))  # before the guest, so that it is undone after it
        with vifplug.connect() as host, host.expect(ids, state=options.state, timeout=options.timeout):
            host.plug(vifs)  # all of them or none; when it raises, nothing of them is left
            network = [word for vif_id in ids for word in host.guest(vif_id, "qemu").arguments]
            guest = Guest([*options.command, *network], lock)
            undo.callback(guest.end)
            guest.await_start()
        # Here expect has waited: every VIF is where it should be. A guest that is resumed now misses nothing.
        guest.resume()
        yield guest


def unplug(ids: Sequence[str]) -> None:
    """Unplug; what is not plugged is done."""
    with vifplug.connect() as host:  # a guest lives longer than a connection
        host.unplug(ids)


def persistently(work: Callable[[], None]) -> None:
    """Do it, and again where vifplug says that this may help."""
    deadline = time.monotonic() + UNPLUG_SECONDS
    while True:
        try:
            return work()
        except vifplug.errors.VifplugError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise
            print(f"compute_driver: {error}; trying again", file=sys.stderr)
            time.sleep(1)


def end(number: int, _frame: object) -> None:
    """Leave in good order when told to; once is enough."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main() -> int:
    """Run one instance, from its first port to its last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ports", help="Neutron's ports of the instance, a JSON file")
    parser.add_argument("--instance-uuid", required=True)
    parser.add_argument("--instance-name")
    parser.add_argument("--mtu", type=int, help="of the networks; by default vifplug's configuration says")
    parser.add_argument("--state", default="wired", help="what to wait for: plugged, wired (the default) or active")
    parser.add_argument("--timeout", type=float, default=300, help="seconds to wait for it")
    parser.add_argument("command", nargs="+", metavar="-- QEMU", help="the hypervisor and its other arguments")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    instance = {"uuid": options.instance_uuid, "name": options.instance_name}
    try:
        vifs = ports_of(options.ports, instance, options.mtu)
        with running(vifs, options) as guest:
            print("running", flush=True)
            return guest.wait()
    except (vifplug.errors.VifplugError, BootError, OSError) as error:
        print(f"compute_driver: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
