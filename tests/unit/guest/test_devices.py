"""Guests with a virtual function, its vDPA device, or a macvtap."""

from __future__ import annotations

import pytest

from tests.support import builders
from tests.support.builders import HOST_DEVICE, MACVTAP, VF
from vifplug.errors import InputError
from vifplug.guest import libvirt, qemu
from vifplug.guest.description import describe
from vifplug.guest.nic import Nic


def test_function_is_libvirts_to_bind() -> None:
    assert libvirt.text(builders.vif("vf", pci_device={"address": "0000:3b:00.2", "vlan": 100})) == (
        """<interface type="hostdev" managed="yes">
  <mac address="fa:16:3e:4c:2a:0f"/>
  <source>
    <address type="pci" domain="0x0000" bus="0x3b" slot="0x00" function="0x2"/>
  </source>
  <vlan>
    <tag id="100"/>
  </vlan>
</interface>"""
    )
    assert "<vlan>" not in libvirt.text(builders.vif("vf"))


def test_function_is_qemus() -> None:
    report = describe(builders.vif("vf"), "qemu")
    assert list(report.arguments) == ["-device", f"vfio-pci,host=0000:3b:00.2,id=nic-{VF}"]
    assert not report.before


@pytest.mark.parametrize(("vlan", "source"), [(None, "eth1"), (100, "eth1.100")])
def test_macvtap_is_libvirts_to_make(vlan: int | None, source: str) -> None:
    vif = builders.vif("macvtap", macvtap={"source": "eth1", "mode": "vepa", "vlan": vlan})
    assert libvirt.text(vif, Nic(queues=4)) == (
        f"""<interface type="direct">
  <mac address="fa:16:3e:4c:2a:01"/>
  <source dev="{source}" mode="vepa"/>
  <model type="virtio"/>
  <driver queues="4"/>
</interface>"""
    )


def test_macvtap_is_made_before_qemu_which_gets_its_descriptor() -> None:
    vif = builders.vif("macvtap", macvtap={"source": "eth1", "mode": "passthrough", "vlan": 100})
    name = f"macvtap{MACVTAP}"[:14]
    report = describe(vif, "qemu")
    assert list(report.arguments) == [
        *("-netdev", f"tap,id=vif-{MACVTAP},fd=3"),
        *("-device", f"virtio-net-pci,netdev=vif-{MACVTAP},id=nic-{MACVTAP},mac=fa:16:3e:4c:2a:01,host_mtu=1450"),
    ]
    make, up = (" ".join(command) for command in report.before)
    assert make == f"ip link add link eth1.100 name {name} address fa:16:3e:4c:2a:01 type macvtap mode passthru"
    assert up == f"ip link set dev {name} address fa:16:3e:4c:2a:01 addrgenmode none up"
    assert f"3<>/dev/tap$(cat /sys/class/net/{name}/ifindex)" in report.warnings[0]
    with pytest.raises(InputError, match="has a single queue here"):
        qemu.arguments(vif, Nic(queues=2))


@pytest.mark.parametrize("vlan", [None, 100])
def test_macvtap_on_a_function_is_libvirts_to_make(vlan: int | None) -> None:
    vif = builders.vif("vf", pci_device={"address": "0000:3b:00.2", "vlan": vlan, "macvtap": "passthrough"})
    tag = (
        ""
        if vlan is None
        else f"""
  <vlan>
    <tag id="{vlan}"/>
  </vlan>"""
    )
    assert libvirt.text(vif, Nic(function_device="eth4v0")) == (
        f"""<interface type="direct">
  <mac address="fa:16:3e:4c:2a:0f"/>
  <source dev="eth4v0" mode="passthrough"/>{tag}
  <model type="virtio"/>
</interface>"""
    )


def test_macvtap_on_a_function_is_made_before_qemu_with_the_function_up() -> None:
    vif = builders.vif("vf", pci_device={"address": "0000:3b:00.2", "vlan": 7, "macvtap": "passthrough"})
    name, address = f"macvtap{VF}"[:14], "fa:16:3e:4c:2a:0f"
    report = describe(vif, "qemu", Nic(function_device="eth4v0"))
    assert [" ".join(command) for command in report.before] == [
        "ip link set dev eth4v0 addrgenmode none up",
        f"ip link add link eth4v0 name {name} address {address} type macvtap mode passthru",
        f"ip link set dev {name} address {address} addrgenmode none up",
    ]
    assert f"3<>/dev/tap$(cat /sys/class/net/{name}/ifindex)" in report.warnings[0]


def test_macvtap_on_a_function_without_a_device_is_refused() -> None:
    vif = builders.vif("vf", pci_device={"address": "0000:3b:00.2", "macvtap": "bridge"})
    for describe_ in (libvirt.text, qemu.arguments, qemu.before):
        with pytest.raises(InputError, match=r"function 0000:3b:00\.2 of VIF .* has no network device"):
            describe_(vif)


def test_name_that_xml_does_not_allow_is_refused() -> None:
    with pytest.raises(InputError, match="has a character that XML does not allow"):
        libvirt.text(builders.vif("macvtap", macvtap={"source": "e\ufffe"}))


@pytest.mark.parametrize(("vdpa", "path"), [(None, ""), (False, ""), (False, "/dev/vhost-vdpa-0")])
def test_represented_function_is_libvirts_to_bind(vdpa: bool | None, path: str) -> None:
    vif = builders.vif("host-device", pci_device={"address": "0000:3b:00.2", "vdpa": vdpa})
    assert libvirt.text(vif, Nic(vdpa=path)) == (
        """<interface type="hostdev" managed="yes">
  <mac address="fa:16:3e:4c:2a:0d"/>
  <source>
    <address type="pci" domain="0x0000" bus="0x3b" slot="0x00" function="0x2"/>
  </source>
</interface>"""
    )
    assert qemu.arguments(vif, Nic(vdpa=path)) == ["-device", f"vfio-pci,host=0000:3b:00.2,id=nic-{HOST_DEVICE}"]


@pytest.mark.parametrize("vdpa", [None, True])
def test_vdpa_device_is_a_virtio_card(vdpa: bool | None) -> None:
    vif = builders.vif("host-device", pci_device={"address": "0000:3b:00.2", "vdpa": vdpa})
    nic = Nic(queues=4, vdpa="/dev/vhost-vdpa-3")
    assert libvirt.text(vif, nic) == (
        """<interface type="vdpa">
  <mac address="fa:16:3e:4c:2a:0d"/>
  <source dev="/dev/vhost-vdpa-3"/>
  <model type="virtio"/>
  <driver queues="4"/>
</interface>"""
    )
    card = f"virtio-net-pci,netdev=vif-{HOST_DEVICE},id=nic-{HOST_DEVICE},mac=fa:16:3e:4c:2a:0d"
    assert qemu.arguments(vif, nic) == [
        *("-netdev", f"vhost-vdpa,id=vif-{HOST_DEVICE},vhostdev=/dev/vhost-vdpa-3,queues=4"),
        *("-device", f"{card},mq=on,vectors=10"),
    ]
    assert qemu.arguments(vif, Nic(vdpa="/dev/vhost-vdpa-0")) == [
        *("-netdev", f"vhost-vdpa,id=vif-{HOST_DEVICE},vhostdev=/dev/vhost-vdpa-0"),
        *("-device", card),
    ]
    assert not qemu.before(vif, nic)
    assert "<driver" not in libvirt.text(vif, Nic(vdpa="/dev/vhost-vdpa-0"))


def test_vdpa_device_that_is_not_there_or_does_not_fit_is_refused() -> None:
    vif = builders.vif("host-device", pci_device={"address": "0000:3b:00.2", "vdpa": True})
    with pytest.raises(InputError, match=r"0000:3b:00.2 of VIF .* has no vDPA device that is bound to vhost_vdpa now"):
        libvirt.text(vif)
    for describe_ in (libvirt.text, qemu.arguments):
        with pytest.raises(InputError, match="a vDPA device, which needs a virtio card; 'e1000' is not"):
            describe_(vif, Nic(model="e1000", vdpa="/dev/vhost-vdpa-0"))
    with pytest.raises(InputError, match=r"queues is 2; VIF .* is a PCI function"):
        qemu.arguments(builders.vif("host-device"), Nic(queues=2))
