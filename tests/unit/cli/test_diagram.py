"""The drawing of a path: what a person reads, and what Graphviz gets."""
# ruff: noqa: RUF001 - the cross of a broken connection is meant

from __future__ import annotations

import dataclasses

from vifplug.cli import diagram
from vifplug.model.reports import DriftItem, Hop, PathReport, VifReport

VIF = VifReport(
    id="71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", state="plugged", vif_type="ovs-hybrid", address="fa:16:3e:eb:5e:26"
)
HYBRID = (
    Hop(name="vm-1", kind="guest", state="up"),
    Hop(name="tap71a6b0e4-1a", kind="tap", state="up", mtu=1450),
    Hop(name="qbr71a6b0e4-1a", kind="bridge", state="up", mtu=1450),
    Hop(name="qvb71a6b0e4-1a", kind="veth", state="up", mtu=1450),
    Hop(name="qvo71a6b0e4-1a", kind="veth", state="up", mtu=1450),
    Hop(name="qvo71a6b0e4-1a", kind="ovs-port", state="up", note="ofport 3, tag 1"),
    Hop(name="br-int", kind="ovs-bridge", state="up", mtu=1500),
)

LIMIT = (
    "Looked at: devices and their settings, membership of bridges, static forwarding entries, OVS ports and their "
    "settings. Not looked at: OpenFlow flows, other programs' firewall rules and tc filters, the guest. "
    "More: vifplug trace 71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
)


def path(*hops: Hop) -> PathReport:
    return PathReport(vif=VIF, hops=hops)


def altered(place: int, **changes: object) -> PathReport:
    hops = list(HYBRID)
    hops[place] = dataclasses.replace(hops[place], **changes)  # type: ignore[arg-type]
    return PathReport(vif=VIF, hops=hops)


def test_text_healthy_hybrid_path_reads_whole() -> None:
    assert (
        diagram.as_text(path(*HYBRID))
        == """\
VIF 71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b  ovs-hybrid  plugged  fa:16:3e:eb:5e:26

● guest       vm-1            up
│
● tap         tap71a6b0e4-1a  up  mtu 1450
│
● bridge      qbr71a6b0e4-1a  up  mtu 1450
│
● veth        qvb71a6b0e4-1a  up  mtu 1450
│
● veth        qvo71a6b0e4-1a  up  mtu 1450
│
● ovs-port    qvo71a6b0e4-1a  up            ofport 3, tag 1
│
● ovs-bridge  br-int          up  mtu 1500

The path is complete.
"""
        + LIMIT
    )


def test_text_qvb_out_of_qbr_and_port_missing_shows_where_it_breaks() -> None:
    hops = list(HYBRID)
    drift = DriftItem(subject="qvb71a6b0e4-1a", attribute="master", observed=None, desired="qbr71a6b0e4-1a")
    hops[2] = dataclasses.replace(hops[2], joined=False)
    hops[3] = dataclasses.replace(hops[3], drift=(drift,))
    hops[5] = dataclasses.replace(hops[5], state="missing", note="", joined=False)
    assert (
        diagram.as_text(path(*hops))
        == """\
VIF 71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b  ovs-hybrid  plugged  fa:16:3e:eb:5e:26

● guest       vm-1            up
│
● tap         tap71a6b0e4-1a  up       mtu 1450
│
● bridge      qbr71a6b0e4-1a  up       mtu 1450
╳ not connected
● veth        qvb71a6b0e4-1a  up       mtu 1450
│     drift: qvb71a6b0e4-1a master: None, should be 'qbr71a6b0e4-1a'
│
● veth        qvo71a6b0e4-1a  up       mtu 1450
╳ not connected
✗ ovs-port    qvo71a6b0e4-1a  missing
╳ not connected
● ovs-bridge  br-int          up       mtu 1500

The path is broken: qvo71a6b0e4-1a is missing, qbr71a6b0e4-1a and qvb71a6b0e4-1a are not connected. \
Drifted: 1; `vifplug repair` repairs it.
"""
        + LIMIT
    )


def test_text_without_unicode_is_ascii() -> None:
    drawn = diagram.as_text(altered(2, state="down", joined=False), unicode=False)
    assert drawn.isascii()
    assert "! bridge      qbr71a6b0e4-1a  down  mtu 1450\nX not connected\n* veth" in drawn


def test_text_waiting_tap_is_not_drawn_as_broken() -> None:
    hops = [
        Hop(name="guest", kind="guest", state="unknown"),
        Hop(name="tap71a6b0e4-1a", kind="tap", state="waiting", joined=False),
        HYBRID[2],
    ]
    drawn = diagram.as_text(path(*hops))
    assert "◌ tap     tap71a6b0e4-1a  waiting\n┊ waiting\n● bridge" in drawn
    assert drawn.endswith("\nThe path is complete except for: tap71a6b0e4-1a (not made yet).\n" + LIMIT)


def test_text_smaller_mtu_than_neighbours_is_noted_on_that_hop_only() -> None:
    drawn = diagram.as_text(altered(3, mtu=1400))
    note = "smaller than the mtu 1450 of qbr71a6b0e4-1a: larger frames are lost here"
    assert [line for line in drawn.splitlines() if "larger frames" in line] == [
        f"● veth        qvb71a6b0e4-1a  up  mtu 1400  {note}"
    ]


def test_text_ovs_bridge_with_smaller_mtu_is_no_bottleneck() -> None:
    assert "larger frames" not in diagram.as_text(altered(6, mtu=1400))


def test_text_color_marks_broken_hops_red_and_only_when_asked() -> None:
    broken = altered(3, state="missing")
    assert "\x1b" not in diagram.as_text(broken)
    assert "\x1b[31m✗ veth" in diagram.as_text(broken, color=True)
    assert "\x1b" not in diagram.as_text(path(*HYBRID), color=True)


def test_text_control_characters_in_a_name_are_written_out() -> None:
    assert "\\x1b[2J" in diagram.as_text(altered(0, name="vm\x1b[2J"))


def test_text_no_hops_says_so() -> None:
    assert "The path is not known." in diagram.as_text(path())


def test_dot_broken_edge_is_dashed_red_and_names_are_quoted() -> None:
    hops = (dataclasses.replace(HYBRID[0], name='a"b\\N'), dataclasses.replace(HYBRID[1], joined=False), HYBRID[2])
    assert (
        diagram.as_dot(path(*hops))
        == r"""graph "vif 71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b" {
  rankdir=LR;
  node [shape=box, fontname="monospace"];
  hop0 [label="a\"b\\N\nguest\nup"];
  hop1 [label="tap71a6b0e4-1a\ntap\nup\nmtu 1450"];
  hop2 [label="qbr71a6b0e4-1a\nbridge\nup\nmtu 1450"];
  hop0 -- hop1;
  hop1 -- hop2 [color=red, style=dashed, label="broken"];
}"""
    )


def test_text_drift_beside_a_break_shows_one_cross() -> None:
    drift = DriftItem(subject="qbr71a6b0e4-1a", attribute="stp", observed=1, desired=0)
    drawn = diagram.as_text(altered(2, joined=False, drift=(drift,)))
    assert "mtu 1450\n      drift: qbr71a6b0e4-1a stp: 1, should be 0\n╳ not connected\n● veth" in drawn


def test_dot_missing_hop_is_red() -> None:
    assert 'mtu 1450", color=red, fontcolor=red];' in diagram.as_dot(altered(3, state="missing"))


def test_json_holds_the_vif_and_each_hop() -> None:
    document = diagram.as_json(path(*HYBRID))
    assert document["vif"] == VIF.as_json()
    assert document["hops"][5] == {
        "name": "qvo71a6b0e4-1a",
        "kind": "ovs-port",
        "state": "up",
        "mtu": None,
        "notes": ["ofport 3, tag 1"],
        "joined": True,
        "drift": [],
    }
