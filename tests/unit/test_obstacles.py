"""What stops frames on a link of ours, and whose decision it is."""

from __future__ import annotations

import struct

from vifplug import naming, passage
from vifplug.engine import obstacles
from vifplug.privileged import reading
from vifplug.privileged.link_message import IFINFO, attribute
from vifplug.resources import Bridge, Link, Observed, OvsPort, Qos, Tap, Veth

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
    link = reading.decode(IFINFO.pack(0, 0, 7, 1, 0) + attrs)
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
