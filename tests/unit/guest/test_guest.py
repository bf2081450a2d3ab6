"""What hypervisors are told of a VIF: golden elements and arguments, and what is refused before one is started."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import BRIDGE, EXTERNAL, HYBRID, TAP, vif
from vifplug import formats, naming
from vifplug.drivers import guest_end, registry
from vifplug.drivers.contract import Options
from vifplug.drivers.guest_end import GuestEnd
from vifplug.drivers.ovs import Ovs
from vifplug.errors import InputError
from vifplug.guest import GuestReport, Nic, libvirt, qemu
from vifplug.guest.description import describe
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource
from vifplug.resources.tap import Tap

SAMPLES = Path(__file__).parents[2] / "samples"
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
USERSPACE = Nic(is_userspace=True)

NO_OFFLOADS = """
  <driver>
    <host csum="off" gso="off" tso4="off" tso6="off" ecn="off" ufo="off"/>
    <guest csum="off" tso4="off" tso6="off" ecn="off" ufo="off"/>
  </driver>"""
QEMU_NO_OFFLOADS = (
    ",csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"
    ",guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
)


def made(tap: str, address: str, driver: str = "") -> str:
    return f"""<interface type="ethernet">
  <mac address="{address}"/>
  <target dev="{tap}" managed="no"/>
  <model type="virtio"/>{driver}
  <mtu size="1450"/>
</interface>"""


def bridged(bridge: str, tap: str, address: str) -> str:
    return f"""<interface type="bridge">
  <mac address="{address}"/>
  <source bridge="{bridge}"/>
  <target dev="{tap}"/>
  <model type="virtio"/>
  <mtu size="1450"/>
</interface>"""


LIBVIRTS: dict[str, tuple[Vif, Nic, str]] = {
    "libvirt's tap on qbr": (vif(), USERSPACE, bridged("qbr71a6b0e4-1a", "tap71a6b0e4-1a", "fa:16:3e:eb:5e:26")),
    "ours on qbr": (vif(create_tap=True), USERSPACE, made("tap71a6b0e4-1a", "fa:16:3e:eb:5e:26")),
    "ours, the port": (vif("ovs"), Nic(), made("tap81ab5618-df", "fa:16:3e:b9:2c:38")),
    "ours, the port of a userspace datapath": (
        vif("ovs"),
        USERSPACE,
        made("tap81ab5618-df", "fa:16:3e:b9:2c:38", NO_OFFLOADS),
    ),
    "libvirt's tap, our port": (
        vif("ovs", create_tap=False),
        USERSPACE,
        made("tap81ab5618-df", "fa:16:3e:b9:2c:38", NO_OFFLOADS).replace(' managed="no"', ""),
    ),
    "libvirt's tap on brq": (
        vif("bridge", create_tap=False),
        Nic(),
        bridged("brq14ec4c8b-00", "tap3fe5648f-47", "fa:16:3e:95:3a:3d"),
    ),
    "ours on brq": (vif("bridge"), USERSPACE, made("tap3fe5648f-47", "fa:16:3e:95:3a:3d")),
    "libvirt's tap and port": (
        vif("ovs", create_port=False),
        USERSPACE,
        f"""<interface type="bridge">
  <mac address="fa:16:3e:b9:2c:38"/>
  <source bridge="br-int"/>
  <virtualport type="openvswitch">
    <parameters interfaceid="{TAP}"/>
  </virtualport>
  <target dev="tap81ab5618-df"/>
  <model type="virtio"/>{NO_OFFLOADS}
  <mtu size="1450"/>
</interface>""",
    ),
    "a virtual function": (
        vif("external", pci_device={"address": "0000:3b:10.2"}),
        Nic(),
        """<interface type="hostdev" managed="yes">
  <mac address="fa:16:3e:0a:0b:0c"/>
  <source>
    <address type="pci" domain="0x0000" bus="0x3b" slot="0x10" function="0x2"/>
  </source>
</interface>""",
    ),
    "a whole NIC": (
        vif("external", pci_device={"address": "0000:3b:00.1", "whole": True}),
        Nic(),
        """<hostdev mode="subsystem" type="pci" managed="yes">
  <source>
    <address domain="0x0000" bus="0x3b" slot="0x00" function="0x1"/>
  </source>
</hostdev>""",
    ),
    "a socket of another switch": (
        vif("external", vhost_user={"socket": "/run/vpp/one", "mode": "client"}),
        Nic(queues=4),
        """<interface type="vhostuser">
  <mac address="fa:16:3e:0a:0b:0c"/>
  <source type="unix" path="/run/vpp/one" mode="client">
    <reconnect enabled="yes" timeout="1"/>
  </source>
  <model type="virtio"/>
  <driver queues="4"/>
  <mtu size="1450"/>
</interface>""",
    ),
    "a tap by itself": (vif("tap"), USERSPACE, made("tap0c5f3a52-9d", "fa:16:3e:07:08:09")),
    "names of the request's own": (
        vif(names={"qbr": "br-vm1", "tap": "vm1"}),
        Nic(),
        bridged("br-vm1", "vm1", "fa:16:3e:eb:5e:26"),
    ),
    "ours, multi-queue": (
        vif("ovs", multiqueue=True),
        Nic(queues=4),
        made("tap81ab5618-df", "fa:16:3e:b9:2c:38", '\n  <driver queues="4"/>'),
    ),
}


@pytest.mark.parametrize(("request_", "nic", "expected"), LIBVIRTS.values(), ids=LIBVIRTS)
def test_libvirts_element(request_: Vif, nic: Nic, expected: str) -> None:
    assert libvirt.text(request_, nic) == expected


def qemus(vif_id: str, tap: str, address: str, netdev: str = "", device: str = "") -> list[str]:
    opened = f"tap,id=vif-{vif_id},ifname={tap},script=no,downscript=no{netdev}"
    return ["-netdev", opened, "-device", f"virtio-net-pci,netdev=vif-{vif_id},id=nic-{vif_id},mac={address}{device}"]


def test_qemus_arguments() -> None:
    assert qemu.arguments(vif(), USERSPACE) == qemus(
        HYBRID, "tap71a6b0e4-1a", "fa:16:3e:eb:5e:26", device=",host_mtu=1450"
    )
    port = (TAP, "tap81ab5618-df", "fa:16:3e:b9:2c:38")
    assert qemu.arguments(vif("ovs")) == qemus(*port, device=",host_mtu=1450")
    assert qemu.arguments(vif("ovs"), USERSPACE) == qemus(*port, device=f",host_mtu=1450{QEMU_NO_OFFLOADS}")
    many = qemus(*port, netdev=",queues=3", device=",mq=on,vectors=8,host_mtu=1450")
    assert qemu.arguments(vif("ovs", multiqueue=True), Nic(queues=3)) == many


def test_qemu_has_nothing_to_do_before_where_vifplug_makes_the_tap() -> None:
    for request in (vif(create_tap=True), vif("ovs"), vif("bridge"), vif("tap"), vif("ovs", multiqueue=True)):
        assert qemu.before(request) == []
        assert describe(request, "qemu").warnings == []


def test_qemu_needs_the_vmms_tap_made_up_and_on_its_bridge() -> None:
    def commands(tap: str, *words: str, many: str = "") -> list[list[str]]:
        make = f"ip tuntap add dev {tap} mode tap{many}"
        return [make.split(), ["ip", "link", "set", "dev", tap, "addrgenmode", "none", "mtu", "1450", *words, "up"]]

    assert qemu.before(vif()) == commands("tap71a6b0e4-1a", "master", "qbr71a6b0e4-1a")
    assert qemu.before(vif("bridge", create_tap=False)) == commands("tap3fe5648f-47", "master", "brq14ec4c8b-00")
    assert qemu.before(vif("ovs", create_tap=False)) == commands("tap81ab5618-df")
    many = qemu.before(vif("ovs", create_tap=False), Nic(queues=2))
    assert many == commands("tap81ab5618-df", many=" multi_queue")
    (warning,) = describe(vif(), "qemu").warnings
    assert "--create-tap" in warning
    assert " && ".join(map(shlex.join, qemu.before(vif()))) in warning


def test_card_that_is_not_virtio_has_its_checksums_filled_in_by_qemu_where_they_would_be_lost() -> None:
    netdev, device = qemu.arguments(vif("ovs"), Nic(model="e1000e", is_userspace=True))[1::2]
    assert netdev.endswith(",vnet_hdr=off")
    assert device == f"e1000e,netdev=vif-{TAP},id=nic-{TAP},mac=fa:16:3e:b9:2c:38"
    assert "vnet_hdr" not in qemu.arguments(vif("ovs"), Nic(model="e1000e"))[1]
    assert "vnet_hdr" not in qemu.arguments(vif(), Nic(model="e1000e", is_userspace=True))[1]
    element = libvirt.interface(vif("ovs"), Nic(model="e1000", is_userspace=True))
    assert element.find("driver") is None
    assert [one.get("type") for one in element.findall("model")] == ["e1000"]
    with pytest.raises(InputError, match="leaves checksums"):
        libvirt.interface(vif("ovs"), Nic(model="e1000e", is_userspace=True))
    for taken in (vif("ovs"), vif(create_tap=True)):
        assert (
            libvirt.interface(taken, Nic(model="e1000e", is_userspace=taken.vif_type != "ovs")).find("driver") is None
        )


@pytest.mark.parametrize(
    ("model", "device"),
    {
        "virtio-transitional": "virtio-net-pci-transitional",
        "virtio-non-transitional": "virtio-net-pci-non-transitional",
        "virtio-net-device": "virtio-net-device",
    }.items(),
)
def test_virtio_by_other_names(model: str, device: str) -> None:
    said = qemu.arguments(vif("ovs", multiqueue=True), Nic(model=model, is_userspace=True))[3]
    assert said.startswith(f"{device},")
    assert said.endswith(f"host_mtu=1450{QEMU_NO_OFFLOADS}")
    assert ("vectors=6" in said) == ("-pci" in device)


# Queues: the tap's and QEMU's must agree, or the kernel refuses (EINVAL) once the guest is started.


def test_multi_queue_tap_is_opened_as_one_by_default() -> None:
    assert ",queues=2" in qemu.arguments(vif("ovs", multiqueue=True))[1]
    assert libvirt.interface(vif("ovs", multiqueue=True)).find("driver[@queues='2']") is not None


@pytest.mark.parametrize(
    ("changes", "nic", "words"),
    [
        ({"multiqueue": True}, Nic(queues=1), "2 or more queues"),
        ({"multiqueue": True}, Nic(model="e1000"), "a virtio card"),
        ({}, Nic(queues=2), "plug the VIF with multiqueue true"),
        ({"create_tap": False}, Nic(queues=2, model="e1000"), "2 need virtio"),
    ],
)
@pytest.mark.parametrize("format", ["libvirt", "qemu"])
def test_card_that_cannot_open_the_tap_is_refused(changes: dict[str, Any], nic: Nic, words: str, format: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        describe(vif("ovs", **changes), format, nic)
    assert refused.value.subject == TAP


def test_vmms_own_tap_has_as_many_queues_as_it_is_given() -> None:
    wanted = vif("bridge", create_tap=False, multiqueue=True)
    assert ",queues=2" in qemu.arguments(wanted)[1]
    assert "queues" not in qemu.arguments(wanted, Nic(queues=1))[1]
    assert "queues" not in qemu.arguments(wanted, Nic(model="e1000"))[1]
    assert ",queues=8" in qemu.arguments(vif("bridge", create_tap=False), Nic(queues=8))[1]


@pytest.mark.parametrize("queues", [0, -1, 257, 2.0, "2", True])
def test_number_of_queues_that_no_tap_has_is_refused(queues: Any) -> None:
    with pytest.raises(InputError, match="from 1 to 256"):
        Nic(queues=queues)


@pytest.mark.parametrize(
    "model", ["", "virtio,mac=00:00:00:00:00:01", "a b", "-x", "x" * 33, "virtio\n", 'v"', None, 7]
)
def test_model_that_would_say_more_than_a_model_is_refused(model: Any) -> None:
    with pytest.raises(InputError, match="model is"):
        Nic(model=model)


# Names


def test_commas_quotes_and_brackets_in_names_stay_names() -> None:
    request = vif(names={"tap": "a,b='<&\">", "qbr": "q,'&<"})
    assert "ifname=a,,b='<&\">," in qemu.arguments(request)[1]
    element = ElementTree.fromstring(libvirt.text(request))
    assert element.find("target").get("dev") == "a,b='<&\">"  # type: ignore[union-attr]
    assert element.find("source").get("bridge") == "q,'&<"  # type: ignore[union-attr]
    assert shlex.split(describe(request, "qemu").text) == qemu.arguments(request)


@given(name=st.text(min_size=1, max_size=15).filter(naming.is_link_name))
def test_whatever_the_kernel_takes_for_a_name_comes_out_whole_or_is_refused(name: str) -> None:
    request = vif(create_tap=True, names={"tap": name})
    assert shlex.split(describe(request, "qemu").text) == qemu.arguments(request)
    assert f"ifname={name.replace(',', ',,')},script" in qemu.arguments(request)[1]
    try:
        text = libvirt.text(request)
    except InputError as error:
        assert repr(name) in str(error)
        assert set(name) & set("\ufffe\uffff")
        return
    assert ElementTree.fromstring(text).find("target").get("dev") == name  # type: ignore[union-attr]


@pytest.mark.parametrize("names", [{"tap": "tap\ufffe"}, {"qbr": "q\uffff"}])
def test_name_that_xml_cannot_hold_is_refused(names: dict[str, str]) -> None:
    with pytest.raises(InputError, match="a character that XML does not allow"):
        libvirt.text(vif(names=names))


def test_name_that_libvirt_would_change_is_refused_unless_the_tap_is_there() -> None:
    with pytest.raises(InputError, match="libvirt would rename"):
        libvirt.text(vif(names={"tap": "vnet0"}))
    assert 'dev="vnet0" managed="no"' in libvirt.text(vif(create_tap=True, names={"tap": "vnet0"}))


# What a VIF leaves unsaid, and who speaks of it


def test_vif_that_was_never_plugged_is_described_as_far_as_it_goes() -> None:
    bare = Vif.model_validate({"id": BRIDGE, "vif_type": "bridge", "address": "fa:16:3e:95:3a:3d"} | {"network": {}})
    with pytest.raises(InputError, match=r"network\.id"):
        libvirt.text(bare)
    named = bare.model_copy(update={"network": bare.network.model_copy(update={"bridge": "br0"})})
    element = libvirt.interface(named)
    assert element.find("mtu") is None
    assert "mtu" not in qemu.arguments(named)[3]
    assert element.get("type") == "ethernet"


def test_real_ports_of_neutron_and_nova() -> None:
    def of(sample: str) -> str:
        (found,) = formats.load_all((SAMPLES / sample).read_text())
        return " ".join(libvirt.text(found).split())

    assert '<source bridge="qbr71a6b0e4-1a"/>' in of("ml2ovs_hybrid_port_get_active_1.json")
    assert '<target dev="tap81ab5618-df" managed="no"/>' in of("ovn_port_get_active.json")
    assert 'managed="no"' in of("nova_network_info_ovs_plain_create_tap.json")


class Macvtap(Ovs):
    """A driver of somebody else's, which knows nothing of guests."""

    vif_type = "other"

    def resources(self, vif: Vif, options: Options) -> list[Resource]:
        return [Tap(name="other0", owner=vif.id)]

    def guest_end(self, vif: Vif) -> GuestEnd:
        return guest_end.Tap("other0")


def test_third_party_driver_needs_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "drivers", lambda: {"other": Macvtap()})
    other = vif().model_copy(update={"vif_type": "other"})
    assert libvirt.interface(other).find("target[@dev='other0'][@managed='no']") is not None
    assert not qemu.before(other)


def test_no_rule_ever_gives_our_port_to_libvirt() -> None:
    for request, nic, _text in LIBVIRTS.values():
        element = libvirt.interface(request, nic)
        if request.create_port is False:
            continue  # the port is libvirt's
        assert element.find("virtualport") is None
        assert "br-int" not in ElementTree.tostring(element, encoding="unicode")


def test_qemus_arguments_of_ends_that_are_no_devices_here() -> None:
    function = vif("external", pci_device={"address": "0000:3b:10.2"})
    assert qemu.arguments(function) == ["-device", f"vfio-pci,host=0000:3b:10.2,id=nic-{EXTERNAL}"]
    socket = vif("external", vhost_user={"socket": "/run/vpp/a,b"})
    card = f"virtio-net-pci,netdev=vif-{EXTERNAL},id=nic-{EXTERNAL},mac=fa:16:3e:0a:0b:0c,host_mtu=1450"
    assert qemu.arguments(socket) == [
        *("-chardev", f"socket,id=vhost-{EXTERNAL},path=/run/vpp/a,,b,server=on"),
        *("-netdev", f"vhost-user,id=vif-{EXTERNAL},chardev=vhost-{EXTERNAL}", "-device", card),
    ]
    for request in (function, socket):
        assert describe(request, "qemu").before == ()


@pytest.mark.parametrize("format", ["libvirt", "qemu"])
@pytest.mark.parametrize(
    ("request_", "nic", "words"),
    [
        (vif("external"), Nic(), "is not known; plug it with pci_device or vhost_user"),
        (vif("external", pci_device={"address": "0000:3b:10.2"}), Nic(queues=2), "whose queues are its driver's"),
        (vif("external", vhost_user={"socket": "/x"}), Nic(model="e1000"), "needs a virtio card"),
    ],
)
def test_ends_that_are_not_known_or_do_not_fit_are_refused(request_: Vif, nic: Nic, words: str, format: str) -> None:
    with pytest.raises(InputError, match=words):
        describe(request_, format, nic)


def test_port_of_libvirts_is_not_for_qemu() -> None:
    with pytest.raises(InputError, match=r"tap81ab5618-df.* is made by libvirt \(create_port false\)"):
        describe(vif("ovs", create_port=False), "qemu")


def test_format_that_there_is_not() -> None:
    with pytest.raises(InputError, match="libvirt, qemu"):
        describe(vif(), "xen")


def test_report_comes_back_from_its_json() -> None:
    for format in ("libvirt", "qemu"):
        report = describe(vif(), format)
        again = GuestReport.from_json(report.as_json())
        assert again.as_json() == report.as_json()
        assert again.warnings == report.warnings


if SCHEMA.exists() and shutil.which("xmllint"):

    @pytest.mark.parametrize(("request_", "nic", "_text"), LIBVIRTS.values(), ids=LIBVIRTS)
    def test_libvirts_own_schema_takes_it(request_: Vif, nic: Nic, _text: str, tmp_path: Path) -> None:
        domain = tmp_path / "domain.xml"
        devices = libvirt.text(request_, nic)
        domain.write_text(
            "<domain type='qemu'><name>one</name><memory>65536</memory><os><type>hvm</type></os>"
            f"<devices>{devices}</devices></domain>"
        )
        subprocess.run(["xmllint", "--noout", "--relaxng", str(SCHEMA), str(domain)], check=True, capture_output=True)
