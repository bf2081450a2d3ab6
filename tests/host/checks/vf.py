"""Virtual functions of two real (emulated) NICs: QEMU's igb, whose driver is the kernel's own."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import vifplug
from tests.host.checks.macvtap import refused
from tests.host.checks.ring import Row, check, end, links, note, run, shell
from vifplug import errors
from vifplug.api.local import LocalHost

DEVICES = Path("/sys/bus/pci/devices")
CONFIGURATION = Path("/run/vifplug-vf/vifplug.conf")
VFS = 3
_SET_CONTAINER, _SET_IOMMU, _GET_DEVICE, _TYPE1 = 0x3B68, 0x3B66, 0x3B6A, 1
"""VFIO_GROUP_SET_CONTAINER and so on, of linux/vfio.h."""


class Nic:
    """A physical function with virtual ones."""

    def __init__(self, path: Path) -> None:
        self.address = path.name
        for number in (0, VFS):  # new ones, whatever a batch before has left on them
            (path / "sriov_numvfs").write_text(str(number))
        deadline = time.monotonic() + 60
        while not all((path / f"virtfn{number}").exists() for number in range(VFS)):
            assert time.monotonic() < deadline, "no virtual functions"
            time.sleep(0.2)
        self.device = next((path / "net").iterdir()).name
        self.functions = [os.path.basename(os.readlink(path / f"virtfn{number}")) for number in range(VFS)]
        run("ip", "link", "set", self.device, "up")

    def own_device(self, address: str) -> str:
        """The present name of a virtual function's own network device."""
        return next((DEVICES / address / "net").iterdir()).name

    def shown(self) -> list[Row]:
        """Its virtual functions as ``ip`` has them."""
        (link,) = json.loads(run("ip", "-j", "link", "show", self.device))
        functions: list[Row] = link["vfinfo_list"]
        return functions


def nics() -> list[Nic]:
    """The NICs with their functions made."""
    run("modprobe", "igb")
    found = sorted(path.parent for path in DEVICES.glob("*/sriov_numvfs"))
    assert len(found) == 2, found
    return [Nic(path) for path in found]


def vif(number: int, address: str, **device: object) -> vifplug.Vif:
    """A VIF with a virtual function."""
    return vifplug.load(
        {
            "id": f"{number:08x}-88c4-4b1e-8a51-6f0e5c9d77aa",
            "vif_type": "vf",
            "address": f"fa:16:3e:88:00:{number:02x}",
            "pci_device": {"address": address, **device},
        }
    )


def settings(shown: Row) -> tuple[str, int, bool, bool]:
    """MAC, VLAN, spoof check and trust."""
    vlans = shown.get("vlan_list") or [{}]
    return shown["address"], vlans[0].get("vlan", 0), shown["spoofchk"], shown["trust"]


def checks(host: LocalHost, first: Nic, second: Nic) -> None:
    """All of them, in this order."""
    before = first.shown(), second.shown()
    note(f"before: {json.dumps(before[0])}")
    one, other = vif(1, first.functions[0], vlan=100), vif(2, first.functions[2], trusted=True, spoof_check=False)
    with check("vf: MAC, VLAN, spoof check and trust are set as ip shows them, of these functions alone"):
        host.plug([one, other])
        during = first.shown()
        note(f"during: {json.dumps(during)}")
        assert settings(during[0])[:2] == (one.address, 100), during[0]
        assert settings(during[0])[2:] == settings(before[0][0])[2:], during[0]
        assert settings(during[2]) == (other.address, 0, False, True), during[2]
        assert during[1] == before[0][1]
        assert second.shown() == before[1]
        assert host.check().clean
    with check("vf: a replug changes nothing"):
        assert not host.plan([one, other]).actions
        host.plug([one, other])
        assert first.shown() == during
    with check("vf: a removed MAC and VLAN are named and repaired"):
        run("ip", "link", "set", first.device, "vf", "0", "mac", "00:00:00:00:00:00", "vlan", "0")
        (checked,) = host.check([one.id]).vifs
        assert {(item.subject, item.attribute) for item in checked.drift} == {
            (first.functions[0], "address"),
            (first.functions[0], "vlan"),
        }, checked.drift
        host.repair([one.id])
        assert first.shown() == during
    with check("vf: a second VIF of one function is a Conflict that names the first"):
        refused(host, vif(3, first.functions[0]), errors.Conflict, one.id)
        assert first.shown() == during
    with check("vf: what is absent, no virtual function, or not listed is bad input, and nothing is touched"):
        refused(host, vif(3, "0000:fe:1f.7"), errors.InputError, "there is no PCI device 0000:fe:1f.7")
        refused(host, vif(3, first.address), errors.InputError, "is not a virtual function")
        refused(host, vif(3, second.functions[0]), errors.InputError, "[pci] devices does not list")
        assert (first.shown(), second.shown()) == (during, before[1])
    with check("vf: an unplug puts back what was there, and ip shows the NIC as before"):
        host.unplug([one.id])
        assert [settings(shown) for shown in first.shown()[:2]] == [settings(shown) for shown in before[0][:2]]
        host.unplug([other.id])
        note(f"after: {json.dumps(first.shown())}")
        assert first.shown() == before[0]


def external(number: int, address: str, **device: object) -> vifplug.Vif:
    """A VIF that is given a function for which nothing is done here."""
    document = vif(number, address, **device).model_dump(mode="json", exclude_none=True)
    return vifplug.load({**document, "vif_type": "external"})


def checks_of_holders(host: LocalHost, first: Nic) -> None:
    """Those of functions that several VIFs name."""
    before, function = first.shown(), first.functions[0]
    part, whole = vif(1, function, vlan=100), external(3, first.address, whole=True)
    with check("vf: a function of an external VIF is a Conflict that names it, and the other way round"):
        host.plug([external(3, function)])
        refused(host, part, errors.Conflict, f"is held by VIF {whole.id}")
        assert first.shown() == before
        host.unplug([whole.id])
        host.plug([part])
        during = first.shown()
        refused(host, external(3, function), errors.Conflict, f"is held by VIF {part.id}")
        assert first.shown() == during
    with check("vf: the NIC of a plugged function is not given away as a whole, and a function of one that is, is not"):
        refused(host, whole, errors.Conflict, f"its physical function {first.address!r}")
        host.unplug([part.id])
        host.plug([whole])
        refused(host, part, errors.Conflict, f"its virtual function {function!r}")
        refused(host, external(4, first.functions[1]), errors.Conflict, "its virtual function")
        host.unplug([whole.id])
        assert first.shown() == before


def checks_of_macvtap(host: LocalHost, first: Nic) -> None:
    """Those of guests that have a macvtap on a function."""
    before, function = first.shown(), first.functions[0]
    guest, device = vif(1, function, macvtap="passthrough", vlan=100), first.own_device(function)
    with check("vf: a macvtap's function gets MAC and VLAN, and guest names the function's device as it is now"):
        host.plug([guest])
        assert settings(first.shown()[0])[:2] == (guest.address, 100)
        text = host.guest(guest.id, "libvirt").text
        assert f'<source dev="{device}" mode="passthrough"/>' in text and '<tag id="100"/>' in text, text
        # Not named back: udev gives it its former name as another one beside.
        shell(f"ip link set {device} down; ip link set {device} name other0")
        assert '<source dev="other0"' in host.guest(guest.id, "libvirt").text
        assert host.check().clean and not host.plan([guest]).actions
        host.unplug([guest.id])
        assert first.shown() == before
    guest, device = vif(1, function, macvtap="passthrough"), first.own_device(function)
    was = links()[device]
    # Not with frames: a virtual function of QEMU's igb has no carrier ("PF still resetting").
    with check("vf: a macvtap that guest's commands make is on the function, and both have the guest's MAC"):
        host.plug([guest])
        report = host.guest(guest.id, "qemu")
        for command in report.before:
            run(*command)
        macvtap, below = links()[report.before[-1][4]], links()[device]
        assert (macvtap["address"], below["address"]) == (guest.address, guest.address)
        assert macvtap["linkinfo"]["info_data"]["mode"] == "passthru" and macvtap["link"] == device, macvtap
        assert "UP" in below["flags"] and host.check().clean
        run("ip", "link", "del", macvtap["ifname"])
        host.unplug([guest.id])
        assert first.shown() == before
        shell(f"ip link set {device} down; ip link set {device} address {was['address']}")
    with check("vf: a macvtap on a function bound to vfio-pci is a Conflict, and nothing is touched"), guests(function):
        refused(host, guest, errors.Conflict, "has no network device")
        assert first.shown() == before
        assert not host.list()


def checks_of_others(host: LocalHost, first: Nic) -> None:
    """Those of what other programs and guests have set or open."""
    before, one = first.shown(), vif(1, first.functions[0], vlan=100)
    with check("vf: what an earlier guest left (a MAC, a VLAN with a priority) comes back"):
        run("ip", "link", "set", first.device, "vf", "1", "mac", "02:00:00:00:00:07", "vlan", "7", "qos", "3")
        left = first.shown()
        host.plug([vif(4, first.functions[1])])
        assert settings(first.shown()[1])[:2] == ("fa:16:3e:88:00:04", 0)
        host.unplug([vif(4, first.functions[1]).id])
        assert first.shown() == left
    with check("vf: what another program has changed since is left, with a warning"):
        host.plug([one])
        run("ip", "link", "set", first.device, "vf", "0", "vlan", "200")
        (report,) = host.unplug([one.id])
        assert settings(first.shown()[0])[:2] == (settings(before[0])[0], 200)
        assert any("vlan of vf" in words for words in report.warnings), report.warnings
        run("ip", "link", "set", first.device, "vf", "0", "vlan", "0")
    with check("vf: a function bound to vfio-pci and not open is plugged"), guests(first.functions[0]):
        host.plug([one])
        host.unplug([one.id])
    with check("vf: a function that a guest has open is a Conflict that names it, and its own VIF's is repaired"):
        with guests(first.functions[0]), opened(first.functions[0]):
            held = first.shown()
            refused(host, one, errors.Conflict, f"{first.functions[0]!r} for VIF {one.id} is in use by a guest")
            assert first.shown() == held
        with guests(first.functions[0]):
            host.plug([one])
            with opened(first.functions[0]):
                run("ip", "link", "set", first.device, "vf", "0", "vlan", "0")
                host.repair([one.id])
                assert settings(first.shown()[0])[:2] == (one.address, 100)
            host.unplug([one.id])


@contextlib.contextmanager
def guests(address: str) -> Iterator[None]:
    """A function bound to the driver by which VMMs open it."""
    shell("modprobe vfio_iommu_type1 allow_unsafe_interrupts=1; modprobe vfio-pci")
    path = DEVICES / address
    with contextlib.suppress(OSError):
        (path / "driver" / "unbind").write_text(address)
    (path / "driver_override").write_text("vfio-pci")
    Path("/sys/bus/pci/drivers_probe").write_text(address)
    try:
        yield
    finally:
        (path / "driver" / "unbind").write_text(address)
        (path / "driver_override").write_text("\n")
        Path("/sys/bus/pci/drivers_probe").write_text(address)


@contextlib.contextmanager
def opened(address: str) -> Iterator[None]:
    """A function that is open as in a VMM."""
    group = os.path.basename(os.readlink(DEVICES / address / "iommu_group"))
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(open("/dev/vfio/vfio", "r+b", buffering=0))
        device = stack.enter_context(open(f"/dev/vfio/{group}", "r+b", buffering=0))
        fcntl.ioctl(device, _SET_CONTAINER, ctypes.c_int(container.fileno()))
        fcntl.ioctl(container, _SET_IOMMU, _TYPE1)
        # Of a buffer that may be changed, ioctl() gives what the kernel returns: the function's descriptor.
        descriptor = fcntl.ioctl(device, _GET_DEVICE, bytearray(address.encode() + b"\0"))
        note(f"descriptor {descriptor}, enable {(DEVICES / address / 'enable').read_text().strip()}")
        try:
            yield
        finally:
            os.close(descriptor)


def main() -> None:
    """The batch. Its own library, store and configuration: the daemon is not asked."""
    first, second = nics()
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(f"[DEFAULT]\nstate_dir = {CONFIGURATION.parent}/state\n[pci]\ndevices = {first.address}\n")
    with vifplug.local(str(CONFIGURATION)) as host:
        checks(host, first, second)
        checks_of_holders(host, first)
        checks_of_macvtap(host, first)
        checks_of_others(host, first)
    end()


if __name__ == "__main__":
    main()
