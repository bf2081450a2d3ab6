"""Bridges that filter by VLAN, on a kernel that has them: each guest in its VLAN, and in no other at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

import vifplug
from tests.host.checks.macvtap import refused
from tests.host.checks.ring import Row, check, end, links, note, run, shell, wait_until
from tests.host.checks.traffic import _opened
from tests.support.faults import faults
from vifplug import errors
from vifplug.api.local import LocalHost

BRIDGE, OPERATORS, WIRE, MTU = "br-vlan", "br-operator", "wire0", 1450
DIRECTORY = Path("/run/vifplug-vlans")
CONFIGURATION, SOCKET = DIRECTORY / "vifplug.conf", DIRECTORY / "vifplug.sock"
MARKER = b"from the guest of VLAN 5"
REPAIRS = 100
_HEADER = bytes(10)
"""struct virtio_net_hdr, which a tap of vifplug's has before each frame."""


def vif(number: int, vlan: int | str | None, **more: Any) -> vifplug.Vif:
    """A VIF of a network of its own, on the shared bridge."""
    document: Row = {
        "id": f"{number:08x}-b1c4-4b1e-8a51-6f0e5c9d77aa",
        "vif_type": "bridge",
        "address": f"fa:16:3e:b1:00:{number:02x}",
        "network": {"id": f"{number:08x}-7f2b-4c36-9d2e-aa53a1f0c001", "bridge": BRIDGE, "mtu": MTU},
        **({"vlan": vlan} if vlan is not None else {}),
        **more,
    }
    return vifplug.load(document)


def tap(of: vifplug.Vif) -> str:
    """The name by the naming rule."""
    return f"tap{of.id}"[:14]


ONE, NEIGHBOUR, OTHER = vif(1, 5), vif(2, 5), vif(3, 6)
ACCESS = ["PVID", "Egress Untagged"]


def vlans() -> dict[str, dict[int, list[str]]]:
    """The VLANs of every port, as ``bridge`` has them."""
    shown = json.loads(run("bridge", "-j", "vlan", "show"))
    return {port["ifname"]: {entry["vlan"]: entry.get("flags", []) for entry in port["vlans"]} for port in shown}


def is_in(of: vifplug.Vif, vlan: int) -> bool:
    """Whether a VIF's port is in one VLAN alone, untagged; without the start of a program, which takes a second."""
    with IPRoute() as route:
        ports = route.get_vlans(index=socket.if_nametoindex(tap(of)))
        specs = [port.get_attr("IFLA_AF_SPEC") for port in ports]
        entries = [entry for spec in specs if spec for entry in spec.get_attrs("IFLA_BRIDGE_VLAN_INFO")]
    return [(entry["vid"], entry["flags"]) for entry in entries] == [(vlan, 6)]


class Guest:
    """A guest's VMM: it holds a tap open, collects frames, and sends broadcasts."""

    def __init__(self, name: str) -> None:
        self.heard: list[bytes] = []
        self._tap = _opened(name)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]

    def _listen(self) -> None:
        while not self._ended.is_set():
            if select.select([self._tap], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    self.heard.append(os.read(self._tap, 1 << 16))

    def send(self, vlan: int | None = None) -> None:
        """A broadcast frame, untagged or tagged."""
        tag = b"" if vlan is None else b"\x81\x00" + vlan.to_bytes(2)
        frame = b"\xff" * 6 + bytes.fromhex("fa163eb10001") + tag + b"\x88\xb5" + MARKER.ljust(60)
        with contextlib.suppress(OSError):
            os.write(self._tap, _HEADER + frame)

    def send_always(self) -> None:
        """Both kinds, until it ends."""

        def work() -> None:
            while not self._ended.wait(0.01):
                self.send()
                self.send(6)

        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    @property
    def marked(self) -> list[bytes]:
        """The frames of the guest of VLAN 5."""
        return [frame for frame in self.heard if MARKER in frame]

    def __enter__(self) -> Guest:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        os.close(self._tap)


@contextlib.contextmanager
def guests(*vifs: vifplug.Vif) -> Iterator[list[Guest]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Guest(tap(each))) for each in vifs]


def frames_are_right(seconds: float = 60.0) -> None:
    """A frame of ONE reaches its neighbour, and neither it nor a tagged one the guest of the other VLAN."""
    with guests(ONE, NEIGHBOUR, OTHER) as (one, neighbour, other):
        deadline = time.monotonic() + seconds
        while not neighbour.marked:
            assert time.monotonic() < deadline, "no frame reaches the neighbour"
            one.send()
            one.send(6)
            time.sleep(0.1)
        time.sleep(0.5)
        assert not other.marked, f"{len(other.marked)} frames are in another VLAN"


def checks(host: LocalHost) -> None:
    """What a plug makes, and which frames pass."""
    with check("vlan bridges: VIFs of three networks share a bridge that filters, each in its VLAN alone"):
        host.plug([ONE, NEIGHBOUR])
        host.plug([OTHER])
        data = links()[BRIDGE]["linkinfo"]["info_data"]
        assert (data["vlan_filtering"], data["vlan_default_pvid"]) == (1, 0), data
        assert vlans() == {tap(ONE): {5: ACCESS}, tap(NEIGHBOUR): {5: ACCESS}, tap(OTHER): {6: ACCESS}}, vlans()
    with check("vlan bridges: frames reach the same VLAN and no other, tagged or not"):
        frames_are_right()
    with check("vlan bridges: a trunk that an operator adds carries the VLANs tagged"):
        shell(
            f"""ip link add {WIRE} type veth peer name wirep
            ip link set {WIRE} master {BRIDGE} up; ip link set wirep up
            bridge vlan add dev {WIRE} vid 5; bridge vlan add dev {WIRE} vid 6"""
        )
        with guests(ONE) as (one,):
            heard = subprocess.Popen(
                ["timeout", "60", "tcpdump", "-c1", "-eni", "wirep", "vlan", "5"], stdout=subprocess.PIPE, text=True
            )
            one.send_always()
            assert "vlan 5" in heard.communicate()[0]
        run("ip", "link", "del", WIRE)
    with check("vlan bridges: a replug changes nothing, another VLAN is set in place"):
        assert not host.plan([ONE, NEIGHBOUR, OTHER]).actions
        before = links()[tap(ONE)]["ifindex"]
        host.plug([vif(1, 6)])
        assert vlans()[tap(ONE)] == {6: ACCESS}
        host.plug([vif(1, 4094)])
        host.plug([vif(1, 1)])
        assert vlans()[tap(ONE)] == {1: ACCESS}
        host.plug([ONE])
        assert (vlans()[tap(ONE)], links()[tap(ONE)]["ifindex"]) == ({5: ACCESS}, before)
        assert host.check().clean
        frames_are_right()


PORT, FILTERING = "bridge_vlan", "vlan_filtering"
DRIFTS: dict[str, set[str]] = {
    "bridge vlan del vid 5 dev {tap}": {PORT},
    "bridge vlan add vid 6 dev {tap}": {PORT},
    "bridge vlan add vid 6 pvid untagged dev {tap}": {PORT},
    "bridge vlan add vid 5 dev {tap}": {PORT},
    "bridge vlan add vid 100-300 dev {tap}": {PORT},
    "ip link set {br} type bridge vlan_filtering 0": {FILTERING, PORT},
    "ip link set {br} type bridge vlan_default_pvid 1": {"vlan_default_pvid", PORT},
    "ip link set {br} type bridge vlan_filtering 0 vlan_default_pvid 7": {FILTERING, "vlan_default_pvid", PORT},
    "ip link set {tap} nomaster": {"master", PORT},
    "ip link set {tap} nomaster; ip link set {tap} master {br}": {PORT},
}


def drifts(host: LocalHost) -> None:
    """What another program changes is named, all of it, and repaired."""
    for command, expected in DRIFTS.items():
        with check(f"vlan bridges: {command.format(tap='TAP', br='BRIDGE')}: named and repaired"):
            shell(command.format(tap=tap(ONE), br=BRIDGE))
            (checked,) = host.check([ONE.id]).vifs
            assert {item.attribute for item in checked.drift} == expected, checked.drift
            host.repair()
            assert host.check().clean
            assert vlans() == {tap(ONE): {5: ACCESS}, tap(NEIGHBOUR): {5: ACCESS}, tap(OTHER): {6: ACCESS}}, vlans()
    with check("vlan bridges: an entry of the forwarding table that leads the guest's frames away: named and repaired"):
        for port, where in ((NEIGHBOUR, ""), (NEIGHBOUR, "vlan 5")):
            run("bridge", "fdb", "replace", ONE.address, "dev", tap(port), "master", "static", *where.split())
            (checked,) = host.check([ONE.id]).vifs
            assert [item.attribute for item in checked.drift] == [f"fdb {ONE.address}"], checked.drift
            host.repair()
            assert host.check().clean
        run("bridge", "fdb", "replace", ONE.address, "dev", tap(OTHER), "master", "static", "vlan", "6")
        assert host.check([ONE.id]).clean, "in another VLAN that MAC is another station's"
        run("bridge", "fdb", "del", ONE.address, "dev", tap(OTHER), "master", "vlan", "6")
    with check("vlan bridges: the bridge deleted, a tap deleted: made again, and the frames pass"):
        run("ip", "link", "del", BRIDGE)
        host.repair()
        run("ip", "link", "del", tap(ONE))
        host.repair()
        assert host.check().clean
        frames_are_right()


def refusals(host: LocalHost) -> None:
    """Requests that contradict the bridge."""
    plain = vif(4, None, network={"bridge": BRIDGE, "mtu": MTU})
    with check("vlan bridges: a VIF without a VLAN is refused on the bridge of VIFs with, and the reverse"):
        before = (set(links()), vlans())
        refused(host, plain, errors.Conflict, "all of them need one, or none")
        refused(host, vif(1, "none"), errors.Conflict, "unplug it first")
        assert (set(links()), vlans()) == before
    with check("vlan bridges: an operator's bridge that does not filter is refused, and left"):
        run("ip", "link", "add", OPERATORS, "up", "type", "bridge")
        before = (set(links()), vlans())
        refused(host, vif(4, 5, network={"bridge": OPERATORS, "mtu": MTU}), errors.Conflict, "does not filter by VLAN")
        assert (set(links()), vlans()) == before


def operators_bridge(host: LocalHost) -> None:
    """An operator's bridge, on which each new port is in VLAN 1 first."""
    mine = vif(4, 5, network={"bridge": OPERATORS, "mtu": MTU})
    shell(
        f"""ip link set {OPERATORS} type bridge vlan_filtering 1
        ip tuntap add tap-one mode tap vnet_hdr; ip link set tap-one master {OPERATORS} up"""
    )
    with check("vlan bridges: on an operator's bridge the guest is in its VLAN alone, and never in VLAN 1"):
        with Guest("tap-one") as of_one:
            for _turn in range(20):
                host.plug([mine])
                assert vlans()[tap(mine)] == {5: ACCESS}
                with guests(mine) as (guest,):
                    guest.send_always()
                    for _again in range(3):
                        run("ip", "link", "set", tap(mine), "nomaster")
                        host.repair([mine.id])
                    assert vlans()[tap(mine)] == {5: ACCESS}
                    assert "UP" in links()[tap(mine)]["flags"]
                host.unplug([mine.id])
        assert not of_one.marked, f"{len(of_one.marked)} frames were in VLAN 1"
        assert vlans() == {
            **{OPERATORS: {1: ACCESS}, "tap-one": {1: ACCESS}},
            **{tap(ONE): {5: ACCESS}, tap(NEIGHBOUR): {5: ACCESS}, tap(OTHER): {6: ACCESS}},
        }
    shell(f"ip link del tap-one; ip link del {OPERATORS}")


def the_end(host: LocalHost, before: dict[str, Row]) -> None:
    with check("vlan bridges: the bridge goes with the last VIF, and nothing is left"):
        host.unplug([ONE.id, NEIGHBOUR.id])
        assert BRIDGE in links()
        host.unplug([OTHER.id])
        assert set(links()) == set(before)
        assert not vlans()


@contextlib.contextmanager
def daemon() -> Iterator[None]:
    """vifplugd, with the batch's store and configuration."""
    argv = [sys.executable, "-m", "vifplug.daemon.process.supervisor", "--config-file", str(CONFIGURATION)]
    with (DIRECTORY / "vifplugd.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            wait_until(SOCKET.exists, "the daemon's socket")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def repairs() -> None:
    """The daemon's, while the guest of VLAN 5 sends without a pause."""
    damages = (
        *("bridge vlan del vid 5 dev {tap}", "ip link set {tap} nomaster", "bridge vlan add vid 100 dev {tap}"),
        *("ip link set {tap} nomaster; ip link set {tap} master {br}", "bridge vlan add vid 5 dev {tap}"),
    )
    with daemon(), vifplug.connect(str(SOCKET)) as host:
        host.plug([ONE, NEIGHBOUR, OTHER])
        with check(f"vlan bridges: {REPAIRS} repairs by the daemon, and no frame in another VLAN"):
            longest = 0.0
            with guests(ONE, OTHER) as (one, other):
                one.send_always()
                for number in range(REPAIRS):
                    shell(damages[number % len(damages)].format(tap=tap(ONE), br=BRIDGE))
                    began = time.monotonic()
                    wait_until(lambda: is_in(ONE, 5), f"repair {number}")
                    longest = max(longest, time.monotonic() - began)
                assert not other.marked, f"{len(other.marked)} frames were in another VLAN"
            note(f"the longest of these repairs took {longest:.1f} s in this emulated machine")
        with check("vlan bridges: the frames pass behind these repairs"):
            wait_until(lambda: host.check().clean, "clean")
            frames_are_right()
        of_the_vmm(host)
        host.unplug([ONE.id, NEIGHBOUR.id, OTHER.id])


def of_the_vmm(host: vifplug.Host) -> None:
    """A tap that the VMM makes and puts on the bridge."""
    later = vif(5, 5, create_tap=False)
    with check("vlan bridges: the VMM's tap is in no VLAN until vifplug gives it its own"):
        host.plug([later])
        shell(f"ip tuntap add {tap(later)} mode tap vnet_hdr; ip link set {tap(later)} master {BRIDGE} up")
        wait_until(lambda: vlans().get(tap(later)) == {5: ACCESS}, "its VLAN")
        run("bridge", "vlan", "del", "vid", "5", "dev", tap(later))
        wait_until(lambda: vlans().get(tap(later)) == {5: ACCESS}, "its VLAN again")
        assert host.check().clean
        host.unplug([later.id])
        run("ip", "link", "del", tap(later))


def opened() -> LocalHost:
    """The library in this process, with the batch's store and configuration."""
    return vifplug.local(str(CONFIGURATION))


def failures() -> None:
    """An error in place of each step of a plug, and of a replug with another VLAN and another MTU."""
    other = vif(1, 6, network={"bridge": BRIDGE, "mtu": 1400})
    with opened() as host:
        steps = len(host.plan([ONE]).actions)
    for after in range(steps + 1):
        with check(f"vlan bridges: a failure after {after} of {steps} steps of a plug: nothing is left"):
            before = (set(links()), vlans())
            fail(ONE, after)
            assert (set(links()), vlans()) == before
    with opened() as host:
        host.plug([ONE])
        steps = len(host.plan([other]).actions)
    for after in range(steps + 1):
        with check(f"vlan bridges: a failure after {after} of {steps} steps of a replug: VLAN and MTU as they were"):
            fail(other, after)
            assert (vlans(), links()[tap(ONE)]["mtu"]) == ({tap(ONE): {5: ACCESS}}, MTU)
        with check(f"vlan bridges: killed after {after} of {steps} steps of a replug: settled by the next command"):
            faults.killed(opened, lambda host: host.plug([other]), after)
            with opened() as host:
                host.repair()
                assert host.check().clean
                wanted = 6 if host.list()[0].mtu == 1400 else 5
                assert vlans() == {tap(ONE): {wanted: ACCESS}}
                host.plug([vif(1, 5, network={"bridge": BRIDGE, "mtu": MTU})])
                assert vlans() == {tap(ONE): {5: ACCESS}}
    with opened() as host:
        host.unplug([ONE.id])


def fail(what: vifplug.Vif, after: int) -> None:
    with opened() as host:
        try:
            with faults.cut(after, faults.raising(errors.LinkError("injected"))):
                host.plug([what])
        except errors.LinkError as error:
            assert error.message == "injected", error
        else:
            raise AssertionError("it did not fail")
        assert host.check().clean


def configure() -> None:
    """The batch's own library, daemon, store and configuration: the installed daemon is not asked."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(
        f"[DEFAULT]\nstate_dir = {DIRECTORY}/state\nrun_dir = {DIRECTORY}\n[daemon]\nsocket = {SOCKET}\n"
        "user = no-such-user\nsocket_group = no-such-group\ncontended_after = 1000\n"
        f"[bridge]\nphysical_networks = physnet1:{WIRE}\n"
    )


def main() -> None:
    """The batch."""
    configure()
    with opened() as host:
        before = links()
        checks(host)
        drifts(host)
        refusals(host)
        operators_bridge(host)
        the_end(host, before)
    repairs()
    failures()
    end()


if __name__ == "__main__":
    main()
