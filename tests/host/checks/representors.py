"""Representors of netdevsim with switchdev, on the kernel's datapath, and a simulated vDPA device.

Real: the kernel's switch and its ports (devlink, phys_switch_id, phys_port_name), udev's names of them, netlink, Open
vSwitch. Not real: netdevsim is on a bus of its own, so a tmpfs over /sys/bus/pci/devices has PCI's links (physfn,
virtfnN), whose ``net`` is netdevsim's own directory; and no guest has a function. What is sent to a representor
netdevsim counts and drops, so that frames are seen as far as that.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import vifplug
from tests.host.checks.macvtap import refused
from tests.host.checks.ring import Row, check, end, note, row, rows, run, shell, wait_until
from tests.support.faults import faults
from vifplug import errors
from vifplug.api.local import LocalHost

DEVICES, SIMULATED = Path("/sys/bus/pci/devices"), Path("/sys/bus/netdevsim")
CONFIGURATION = Path("/run/vifplug-representors/vifplug.conf")
FIRST, SECOND = "0000:fa:00.0", "0000:fa:00.1"
"""Physical functions; the second is not listed."""
VFS, MTU = 8, 1450
_ATTEMPTS, _MADE_AGAIN = 5, 3
ADDRESSES = {physical: [f"0000:{bus}:01.{n}" for n in range(VFS)] for physical, bus in ((FIRST, "fa"), (SECOND, "fb"))}
Link = dict[str, object]


def vif(number: int, address: str, **device: object) -> vifplug.Vif:
    """A VIF with a virtual function."""
    return vifplug.load(
        {
            "id": f"{number:08x}-99c4-4b1e-8a51-6f0e5c9d77aa",
            "vif_type": "host-device",
            "address": f"fa:16:3e:99:00:{number:02x}",
            "network": {"mtu": MTU},
            "pci_device": {"address": address, **device},
        }
    )


def one(number: int, **device: object) -> vifplug.Vif:
    """The VIF of one of the first NIC's functions."""
    return vif(number + 1, ADDRESSES[FIRST][number], **device)


class Nic:
    """A device of netdevsim with virtual functions, in switchdev mode."""

    def __init__(self, number: int) -> None:
        self.handle = f"netdevsim/netdevsim{number}"
        self.path = SIMULATED / "devices" / f"netdevsim{number}"
        (SIMULATED / "new_device").write_text(f"{number} 1")
        (Path("/sys/kernel/debug/netdevsim") / f"netdevsim{number}" / "max_vfs").write_text(str(VFS))
        (self.path / "sriov_numvfs").write_text(str(VFS))
        self.switch("switchdev")

    def switch(self, mode: str) -> None:
        """Set the mode of its switch."""
        run("devlink", "dev", "eswitch", "set", self.handle, "mode", mode)
        if mode == "switchdev":
            wait_until(lambda: len(list((self.path / "net").iterdir())) == VFS + 1, "representors")
            run("udevadm", "settle")  # udev gives them their names
            # A device that was never up has no queueing discipline yet, and "down" does not take it away again.
            names = self.ports().values()
            shell("".join(f"ip link set {name} up; ip link set {name} down; " for name in names))

    def ports(self) -> dict[str, str]:
        """Its devices by the name of their port."""
        names = sorted(path.name for path in (self.path / "net").iterdir())
        return {(self.path / "net" / name / "phys_port_name").read_text().strip(): name for name in names}

    def representor(self, number: int) -> str:
        """The device of a function's port, by what the kernel shows."""
        return self.ports()[f"pf0vf{number}"]

    def shown(self) -> dict[str, Link]:
        """Its devices as ``ip -d`` has them, by port, without what counts frames and follows from "up"."""
        links = {link["ifname"]: link for link in json.loads(run("ip", "-d", "-j", "link"))}
        return {port: {**links[name], **ipv6(name)} for port, name in self.ports().items()}


def same(now: dict[str, Link], then: dict[str, Link], but: str = "") -> None:
    """Two looks at a NIC show the same, but for one of its ports."""
    differing = [
        f"{port}: {key} {then[port].get(key)} -> {now[port].get(key)}"
        for port in then
        if port != but
        for key in {**then[port], **now[port]}
        if then[port].get(key) != now[port].get(key)
    ]
    assert now.keys() == then.keys() and not differing, "; ".join(differing) or f"{[*then]} -> {[*now]}"


def ipv6(name: str) -> Link:
    """The IPv6 setting that vifplug changes."""
    path = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    return {"disable_ipv6": path.read_text().strip() if path.exists() else None}


def lay_out(nics: dict[str, Nic]) -> None:
    """PCI's links, beside those of the real functions."""
    real = {path.name: os.readlink(path) for path in DEVICES.iterdir()}
    run("mount", "-t", "tmpfs", "none", str(DEVICES))
    for name, target in real.items():
        (DEVICES / name).symlink_to(target)
    for physical, nic in nics.items():
        own = DEVICES / physical
        own.mkdir()
        (own / "net").symlink_to(nic.path / "net")
        for number, address in enumerate(ADDRESSES[physical]):
            (own / f"virtfn{number}").symlink_to(f"../{address}")
            function = DEVICES / address
            function.mkdir()
            (function / "physfn").symlink_to(f"../{physical}")
            (function / "enable").write_text("0\n")


def arrives(name: str) -> bool:
    """Whether broadcast frames of a host on br-int reach a device, by its count.

    The flows of a port that was made again follow a moment later: vswitchd revalidates those of the datapath.
    """
    count = Path(f"/sys/class/net/{name}/statistics/tx_packets")
    before = int(count.read_text())
    for _attempt in range(_ATTEMPTS):
        shell("ping -c 3 -W 1 -i 0.3 10.99.0.77 || true", check=False)
        if int(count.read_text()) > before:
            return True
    return False


def ports() -> list[str]:
    """The names of all ports of Open vSwitch."""
    return sorted(each["name"] for each in rows("Port"))


def is_attached(name: str) -> bool:
    """Whether a port has a number and no error, and is in the kernel's datapath."""
    interface = row("Interface", name)
    return bool(interface["ofport"]) and interface["ofport"] > 0 and not interface["error"]


def drift(host: LocalHost, of: vifplug.Vif) -> set[tuple[str, str]]:
    """What ``check`` says of a VIF."""
    (checked,) = host.check([of.id]).vifs
    return {(item.subject, item.attribute) for item in checked.drift}


def ids(of: vifplug.Vif) -> Row:
    """Interface.external_ids, but for what a control plane writes."""
    return {"iface-id": of.id, "iface-status": "active", "attached-mac": of.address}


def checks_of_the_path(host: LocalHost, nic: Nic, other: Nic) -> None:
    """Plugged, replugged, and seen from outside."""
    name, before, others = nic.representor(3), nic.shown(), other.shown()
    note(f"before: {json.dumps(before['pf0vf3'])}")
    with check("representors: the port is the representor, up, with MTU, ids and QoS, and no other device has changed"):
        host.plug([one(3)])
        during = nic.shown()
        link = during["pf0vf3"]
        assert (link["ifname"], link["mtu"], link["disable_ipv6"]) == (name, MTU, "1"), link
        assert "UP" in link["flags"], link  # type: ignore[operator]
        assert link["master"] == "ovs-system", link
        assert is_attached(name)
        assert row("Interface", name)["external_ids"] == ids(one(3))
        (qos,) = (each for each in rows("QoS") if each["external_ids"] == {"vifplug-vif": one(3).id})
        assert (qos["type"], row("Port", name)["qos"]) == ("linux-noop", qos["_uuid"])
        same(during, before, but="pf0vf3")
        same(other.shown(), others)
        assert host.check().clean
    with check("representors: frames that br-int floods get there, and to no other"):
        assert arrives(name)
        assert not arrives(nic.representor(0))
    with check("representors: a replug writes nothing"):
        port = row("Port", name)["_uuid"], row("Interface", name)["ofport"]
        assert not host.plan([one(3)]).actions
        host.plug([one(3)])
        assert (row("Port", name)["_uuid"], row("Interface", name)["ofport"]) == port
        same(nic.shown(), during)
    with check("representors: all eight at once, checked clean"):
        host.plug([one(number) for number in range(VFS)])
        assert all(is_attached(nic.representor(number)) for number in range(VFS))
        assert host.check().clean
        host.unplug([one(number).id for number in range(VFS) if number != 3])
        same(nic.shown(), before, but="pf0vf3")
    with check("representors: an unplug leaves ip -d link exactly as before, and no row"):
        host.unplug([one(3).id])
        same(nic.shown(), before)
        assert (host.list(), rows("QoS"), ports()) == ([], [], ["br-int"])


def checks_of_drift(host: LocalHost, nic: Nic) -> None:
    """What other programs and the kernel do to it."""
    host.unplug([each.id for each in host.list()])
    before, name = nic.shown(), nic.representor(1)
    address = ADDRESSES[FIRST][1]
    host.plug([one(1)])
    for attribute, command in (
        ("up", f"ip link set {name} down"),
        ("mtu", f"ip link set {name} mtu 1400"),
        ("disable_ipv6", f"echo 0 >/proc/sys/net/ipv6/conf/{name}/disable_ipv6"),
    ):
        with check(f"representors: {attribute} is named and repaired"):
            shell(command)
            assert drift(host, one(1)) == {(address, attribute)}, drift(host, one(1))
            host.repair([one(1).id])
            assert host.check().clean
    with check("representors: a port that was deleted is named and made again, and frames get there"):
        run("ovs-vsctl", "del-port", "br-int", name)
        assert drift(host, one(1)) == {(name, "port")}, drift(host, one(1))
        host.repair([one(1).id])
        assert is_attached(name)
        assert arrives(name)
        assert host.check().clean
    with check("representors: one that is renamed is named, its port follows, and frames get there"):
        shell(f"ip link set {name} down; ip link set {name} name blue0; ip link set blue0 up")
        seen = drift(host, one(1))
        assert (address, "netdev") in seen, seen
        host.repair([one(1).id])
        assert is_attached("blue0")
        assert name not in {each["name"] for each in rows("Interface")}
        assert arrives("blue0")
        assert host.check().clean
    with check("representors: renamed back while it is plugged, it is unplugged and as before"):
        # udev has made the former name an alternative one.
        shell(f"ip link set blue0 down; ip link property del dev blue0 altname {name} || true", check=False)
        shell(f"ip link set blue0 name {name}; ip link set {name} up")
        host.unplug([one(1).id])
        same(nic.shown(), before)
        assert ports() == ["br-int"]
    for time in range(1, _MADE_AGAIN + 1):
        made_again(host, nic, time)


def made_again(host: LocalHost, nic: Nic, time: int) -> None:
    """The driver deletes a representor and makes it again; sometimes ovs-vswitchd loses it then (decision 0023)."""
    address, name = ADDRESSES[FIRST][1], nic.representor(1)
    with check(f"representors: one that was made again is named and attached again, time {time} of {_MADE_AGAIN}"):
        host.plug([one(1)])
        nic.switch("legacy")
        seen = drift(host, one(1))
        assert (address, "netdev") in seen, seen
        try:
            host.repair([one(1).id])
        except errors.VifplugError as error:
            assert f"devlink dev eswitch set pci/{FIRST} mode switchdev" in str(error), error
        else:
            raise AssertionError("it was repaired without a representor")
        nic.switch("switchdev")
        again = nic.representor(1)
        note(f"{name} is {again}; {sorted(drift(host, one(1)))}")
        host.repair([one(1).id])
        assert is_attached(again)
        assert arrives(again)
        assert host.check().clean
        host.unplug([one(1).id])
        assert not Path(f"/sys/class/net/{again}/master").exists()


def checks_of_refusals(host: LocalHost, nic: Nic) -> None:
    """What is bad input, or another's."""
    host.unplug([each.id for each in host.list()])
    before = nic.shown(), ports()
    with check("representors: what is absent, no virtual function, not listed, or DPDK's alone is refused in words"):
        refused(host, vif(90, "0000:fe:1f.7"), errors.InputError, "there is no PCI device 0000:fe:1f.7")
        refused(host, vif(90, FIRST), errors.InputError, "is not a virtual function")
        refused(host, vif(90, ADDRESSES[SECOND][0]), errors.InputError, "[pci] devices does not list")
        refused(host, one(2, vdpa=True), errors.InputError, "has no vDPA device")
        same(nic.shown(), before[0])
        assert ports() == before[1]
    with check("representors: a second VIF of one function is a Conflict that names the first"):
        host.plug([one(2)])
        refused(host, vif(91, ADDRESSES[FIRST][2]), errors.Conflict, one(2).id)
        host.unplug([one(2).id])
    with check("representors: one that is in a bond, or a port of another program's, is a Conflict and is left alone"):
        name = nic.representor(2)
        run("ip", "link", "add", "br9", "type", "bridge")
        run("ip", "link", "set", name, "master", "br9")
        refused(host, one(2), errors.Conflict, f"ip link set {name} nomaster")
        run("ip", "link", "del", "br9")
        run("ovs-vsctl", "add-port", "br-int", name)
        refused(host, one(2), errors.Conflict, f"OVS port {name!r} for VIF {one(2).id} is held by a stranger")
        run("ovs-vsctl", "del-port", "br-int", name)
        same(nic.shown(), before[0])
    with check("representors: without switchdev the message says how to switch it on"):
        nic.switch("legacy")
        refused(host, one(2), errors.InputError, f"devlink dev eswitch set pci/{FIRST} mode switchdev")
        nic.switch("switchdev")


def checks_of_faults(nic: Nic) -> None:
    """A failure in place of each step of a plug, and caller and helper killed with -9 at each step of a plug and of an
    unplug: nothing is left that the next command does not settle."""
    before, vifs = nic.shown(), [one(4), one(5)]
    ids = [each.id for each in vifs]
    with opened() as host:
        steps = len(host.plan(vifs).actions)
    for after in range(steps + 1):
        with check(f"representors: a failure after {after} of {steps} steps of a plug: all is as it was"):
            with opened() as host, contextlib.suppress(errors.LinkError):
                with faults.cut(after, faults.raising(errors.LinkError("injected"))):
                    host.plug(vifs)
                raise AssertionError("it did not fail")
            must_be_gone(nic, before)
        with check(f"representors: killed after {after} of {steps} steps of a plug: settled by the next command"):
            killed(lambda host: host.plug(vifs), after)
            with opened() as host:
                host.repair()
                assert len(host.list()) in (0, len(vifs)), host.list()
                host.plug(vifs)
                assert host.check().clean
                host.unplug(ids)
            must_be_gone(nic, before)
        with check(f"representors: killed after {after} of {steps} steps of an unplug: ended by the next one"):
            with opened() as host:
                host.plug(vifs)
            killed(lambda host: host.unplug(ids), after)
            with opened() as host:
                host.unplug(ids)
            must_be_gone(nic, before)
    with opened() as host:
        host.unplug(ids)  # of a check that failed


def must_be_gone(nic: Nic, before: dict[str, Link]) -> None:
    """The NIC is as before, and there is no port and no record."""
    same(nic.shown(), before)
    assert ports() == ["br-int"], ports()
    with opened() as host:
        assert host.list() == [] and host.check().clean


def killed(verb: Callable[[LocalHost], object], after: int) -> None:
    """A verb in a process of its own, which is killed with its helper after some steps."""

    def work() -> None:
        with opened() as host, faults.cut(after, faults.kill_group):
            verb(host)

    _pid, status = os.waitpid(
        faults.start_child(work), 0
    )  # beside other work it takes longer than faults.in_child waits
    assert os.waitstatus_to_exitcode(status) in (-signal.SIGKILL, 0), status


def opened() -> LocalHost:
    """The library in this process, with a store and a configuration of its own."""
    return vifplug.local(str(CONFIGURATION))


@contextlib.contextmanager
def vdpa(address: str) -> Iterator[None]:
    """A simulated vDPA device, as a function's."""
    shell("modprobe vdpa_sim_net && modprobe vhost_vdpa")
    run("vdpa", "dev", "add", "name", "blue", "mgmtdev", "vdpasim_net")
    (DEVICES / address / "blue").symlink_to("/sys/bus/vdpa/devices/blue")
    try:
        wait_until(lambda: list(Path("/dev").glob("vhost-vdpa-*")), "/dev/vhost-vdpa-N")
        yield
    finally:
        (DEVICES / address / "blue").unlink()
        run("vdpa", "dev", "del", "blue")


def checks_of_vdpa(host: LocalHost, nic: Nic) -> None:
    """A function's vDPA device is the guest's end."""
    host.unplug([each.id for each in host.list()])
    before, address = nic.shown(), ADDRESSES[FIRST][6]
    with check("representors: a function's vDPA device is named to libvirt and QEMU, and its loss is drift"):
        with vdpa(address):
            (device,) = Path("/dev").glob("vhost-vdpa-*")
            host.plug([one(6, vdpa=True)])
            assert f'<source dev="{device}"/>' in host.guest(one(6).id, "libvirt").text
            assert f"vhostdev={device}" in host.guest(one(6).id, "qemu").text
            assert host.check().clean
        assert drift(host, one(6)) == {(address, "vdpa")}, drift(host, one(6))
        host.unplug([one(6).id])
        same(nic.shown(), before)


def main() -> None:
    """The batch. Its own library, store and configuration; a daemon would delete the ports that are in no record of its
    own."""
    had_daemon = run("systemctl", "is-active", "vifplugd", check=False).strip() == "active"
    shell("systemctl stop vifplugd.socket vifplugd", check=False)
    shell("modprobe netdevsim; systemctl start openvswitch-switch; ovs-vsctl --may-exist add-br br-int")
    shell("ip link set br-int up; ip addr add 10.99.0.254/24 dev br-int")
    nics = {FIRST: Nic(1), SECOND: Nic(2)}
    note(f"ports: {json.dumps(nics[FIRST].ports())}")
    lay_out(nics)
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    # Beside other work the emulated ovsdb-server takes more than the 10 s that it has by default.
    settings = f"[DEFAULT]\nstate_dir = {CONFIGURATION.parent}/state\n[ovs]\ntimeout = 60\n[pci]\ndevices = {FIRST}\n"
    CONFIGURATION.write_text(settings)
    try:
        with opened() as host:
            checks_of_the_path(host, nics[FIRST], nics[SECOND])
            checks_of_drift(host, nics[FIRST])
            checks_of_refusals(host, nics[FIRST])
            checks_of_vdpa(host, nics[FIRST])
        checks_of_faults(nics[FIRST])
    finally:
        shell(f"umount {DEVICES}; ip addr del 10.99.0.254/24 dev br-int", check=False)
        for number in (1, 2):
            (SIMULATED / "del_device").write_text(str(number))
        if had_daemon:
            shell("systemctl start vifplugd.socket vifplugd", check=False)
    end()


if __name__ == "__main__":
    main()
