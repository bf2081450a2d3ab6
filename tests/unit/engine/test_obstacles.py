"""What stops frames on a link of ours, and whose decision it is."""

from __future__ import annotations

import struct
from dataclasses import replace

from vifplug import naming
from vifplug.engine.plan import obstacles
from vifplug.netlink import links
from vifplug.netlink.message import IFINFO, attribute
from vifplug.resources import passage
from vifplug.resources.bridge import Bridge
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed, Qos, Station
from vifplug.resources.ovs_port import OvsPort
from vifplug.resources.tap import Tap
from vifplug.resources.veth import Veth

_VIF = "3fe5648f-4734-49a7-9fef-daa6f86f6799"


def _names(desired: Link, found: Link, *others: Link, **rows: object) -> set[str]:
    links = {link.name: link for link in (found, *others)}
    return {item.attribute for item in obstacles.on_link(desired, found, Observed(links=links, **rows))}  # type: ignore[arg-type]


def _stopped_tap() -> tuple[Tap, Tap]:
    desired = Tap(name="tap0", owner=_VIF, master="brq0")
    found = Tap(name="tap0", owner=_VIF, master="brq0", carrier=True, impeded={passage.PORT_STATE: 4})
    return desired, found


def test_port_that_stp_of_another_programs_bridge_stops_is_no_drift() -> None:
    assert _names(*_stopped_tap(), Bridge(name="brq0", up=True, stp=1)) == set()


def test_port_that_is_stopped_is_drift_where_no_stp_may() -> None:
    assert _names(*_stopped_tap(), Bridge(name="brq0", up=True, stp=0)) == {passage.PORT_STATE}
    assert _names(*_stopped_tap(), Bridge(name="brq0", up=True, stp=1, owner="net:x")) == {passage.PORT_STATE}


def test_port_of_a_bridge_that_is_down_is_not_named_beside_it() -> None:
    assert _names(*_stopped_tap(), Bridge(name="brq0", up=False, stp=0)) == set()


def test_qdisc_of_a_control_planes_qos_is_no_drift_and_any_other_is() -> None:
    desired, found = Veth(name="qvo0"), Veth(name="qvo0", impeded={passage.QDISC: "htb"})
    foreign = OvsPort(name="qvo0", bridge="br-int", qos="theirs")
    assert _names(desired, found, ports={"qvo0": foreign}) == set()
    own = Qos(uuid="ours", type="linux-noop", owner=_VIF)
    marked = OvsPort(name="qvo0", bridge="br-int", qos="ours")
    assert _names(desired, found, ports={"qvo0": marked}, qos=(own,)) == {passage.QDISC}
    assert _names(desired, found) == {passage.QDISC}


def test_tap_may_have_the_qdiscs_of_libvirt_and_of_the_kernel_but_no_other() -> None:
    desired = Tap(name="tap0")
    for kind in ("htb", "pfifo_fast", "fq_codel", "mq"):
        assert _names(desired, Tap(name="tap0", impeded={passage.QDISC: kind})) == set()
    for kind in ("netem", "blackhole", "tbf", "pfifo"):
        assert _names(desired, Tap(name="tap0", impeded={passage.QDISC: kind})) == {passage.QDISC}


def test_master_of_ovs_is_right_and_any_other_is_not() -> None:
    desired = Veth(name="qvo0")
    assert _names(desired, Veth(name="qvo0", master="ovs-system", slave_kind="openvswitch")) == set()
    for kind in ("bridge", "bond", "vrf", "team"):
        assert _names(desired, Veth(name="qvo0", master="x", slave_kind=kind)) == {"master"}


def test_link_message_shows_what_is_not_as_the_kernel_makes_it() -> None:
    flags = b"".join(
        attribute(number, (1 - value if name.endswith("isolated") else value).to_bytes(size, "little"))
        for name, (number, size, value) in passage.PORT_FLAGS.items()
    )
    slave = attribute(4, b"bridge\0") + attribute(5, flags + attribute(passage.PORT_STATE_NUMBER, b"\3"))
    attrs = attribute(3, b"qvb0\0") + attribute(18, attribute(1, b"veth\0") + slave) + attribute(6, b"netem\0")
    attrs += attribute(13, struct.pack("=I", 0)) + attribute(17, b"\1") + attribute(43, attribute(2, b"\2"))
    link = links.decode(IFINFO.pack(0, 0, 7, 1, 0) + attrs)
    assert link["slave_kind"] == "bridge"
    assert link["impeded"] == {
        passage.QDISC: "netem",
        passage.TX_QUEUE: 0,
        passage.LINK_MODE: 1,
        passage.XDP: "generic",
        "bridge_port:isolated": 1,
    }


def test_every_attribute_has_a_right_value_and_no_name_of_a_links_own() -> None:
    fields = {"up", "mtu", "master", naming.OWNER_KEY}
    assert not fields & passage.RIGHT.keys()
    assert set(passage.PORT_FLAGS) | set(passage.BRIDGE) | passage.FINAL <= passage.RIGHT.keys()


def _bridge(**changes: object) -> Bridge:
    plain = Bridge(name="qbr0", owner=_VIF, station="fa:16:3e:00:00:01", station_port="tap0")
    return replace(plain, **changes)  # type: ignore[arg-type]


def _stations(desired: Link, *entries: tuple[str, str, str], links: tuple[Link, ...] = ()) -> list[str]:
    seen = tuple(
        Station(bridge=desired.master or desired.name, port=port, address=address, kind=kind)
        for port, address, kind in entries
    )
    observed = Observed(links={link.name: link for link in links}, stations=seen)
    return [entry.port for entry in obstacles.stations_on(desired, observed)]


def test_bridge_of_one_vif_has_no_set_entry_but_its_guests_own() -> None:
    mac, other = "fa:16:3e:00:00:01", "02:00:00:00:00:09"
    assert _stations(_bridge(), ("tap0", mac, "static")) == []
    assert _stations(_bridge(), ("tap0", mac, "permanent"), ("tap0", other, "static")) == ["tap0", "tap0"]
    assert _stations(_bridge(), ("qvb0", mac, "static"), ("qvb0", other, "static")) == ["qvb0", "qvb0"]
    assert _stations(_bridge(station="", station_port=""), ("qvb0", mac, "static")) == []


def test_shared_bridge_keeps_entries_that_are_other_stations() -> None:
    mac, other = "fa:16:3e:00:00:01", "02:00:00:00:00:09"
    shared = _bridge(owner=f"net:{_VIF}")
    assert _stations(shared, ("eth1", other, "static"), ("tap7", other, "static")) == []
    assert _stations(shared, ("eth1", mac, "static"), ("tap0", other, "static")) == ["eth1", "tap0"]


def test_entry_on_our_tap_is_drift_on_another_programs_bridge_too() -> None:
    tap = Tap(name="tap0", owner=_VIF, master="brq0", address="fe:16:3e:00:00:01")
    foreign, own = Bridge(name="brq0"), Bridge(name="brq0", owner="net:x")
    wrong = ("tap0", "02:00:00:00:00:09", "static")
    right = ("tap0", "fa:16:3e:00:00:01", "static")
    assert _stations(tap, wrong, right, links=(foreign,)) == ["tap0"]
    assert _stations(tap, wrong, links=(own,)) == []  # named of the bridge


def test_ingress_filter_is_drift_where_neither_ovs_nor_libvirt_may_have_set_it() -> None:
    ingress = {passage.INGRESS: "ingress"}
    assert _names(Veth(name="qvb0"), Veth(name="qvb0", impeded=ingress)) == {passage.INGRESS}
    policed = OvsPort(name="qvo0", bridge="br-int", polices=True)
    assert _names(Veth(name="qvo0"), Veth(name="qvo0", impeded=ingress), ports={"qvo0": policed}) == set()
    assert _names(Tap(name="tap0"), Tap(name="tap0", impeded=ingress)) == set()
    assert _names(Tap(name="tap0"), Tap(name="tap0", impeded={passage.INGRESS: "clsact"})) == {passage.INGRESS}
