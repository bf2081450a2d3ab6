"""What ovs-appctl prints, as Open vSwitch 3.1 printed it."""

from __future__ import annotations

from vifplug.trace import ofproto

GUEST = "fa:16:3e:eb:5e:26"
HEAD = """\
Flow: arp,in_port="qvo1",vlan_tci=0x0000,dl_src=fa:16:3e:eb:5e:26,dl_dst=ff:ff:ff:ff:ff:ff

bridge("br-int")
----------------
"""
FLOODED = (
    HEAD
    + """\
 0. priority 0
    NORMAL
     -> no learned MAC for destination, flooding

Final flow: unchanged
Megaflow: recirc_id=0,eth,arp,in_port="qvo1",dl_dst=ff:ff:ff:ff:ff:ff
Datapath actions: push_vlan(vid=77,pcp=0),br-int,station0
"""
)
DROPPED = (
    HEAD
    + """\
 0. in_port="qvo1", priority 100
    drop

Final flow: unchanged
Datapath actions: drop
"""
)
NO_MATCH = (
    HEAD
    + """\
 0. No match.
    drop

Final flow: unchanged
Datapath actions: drop
"""
)
RECIRCULATED = (
    HEAD
    + """\
 0. ip, priority 10
    ct(table=2)
Datapath actions: ct,recirc(0x5)

===============================================================================
recirc(0x5) - resume conntrack with default ct_state=trk|new (use --ct-next to customize)
===============================================================================
bridge("br-int")
----------------
 2. priority 0
    drop

Final flow: unchanged
Datapath actions: drop
"""
)


def test_outputs_are_the_ports_and_no_other_actions() -> None:
    way = ofproto.way(FLOODED)
    assert way.outputs == {"br-int", "station0"}
    assert way.reason.startswith("table 0 of br-int: flow 'priority 0': NORMAL")


def test_drop_names_table_and_flow() -> None:
    assert ofproto.way(DROPPED).reason == "table 0 of br-int: flow 'in_port=\"qvo1\", priority 100': drop"
    assert ofproto.way(DROPPED).outputs == frozenset()
    assert ofproto.way(NO_MATCH).reason == "table 0 of br-int: no flow matches: drop"


def test_last_round_of_a_recirculated_frame_counts() -> None:
    way = ofproto.way(RECIRCULATED)
    assert (way.actions, way.outputs) == ("drop", frozenset())
    assert way.reason == "table 2 of br-int: flow 'priority 0': drop"


def test_controller_is_an_output() -> None:
    text = "Datapath actions: userspace(pid=0,controller(reason=1,dont_send=0)),set(eth(src=a,dst=b)),tap1"
    assert ofproto.way(text).outputs == {"controller", "tap1"}


def test_empty_answer_has_no_way() -> None:
    assert ofproto.way("") == ofproto.Way("", frozenset(), "")


def test_forwarding_table_has_names_of_ports() -> None:
    text = f" port  VLAN  MAC                Age\n    1     0  {GUEST}    7\n    9     5  02:00:00:00:00:01  static\n"
    first, second = ofproto.stations(text, "br-int", {"1": "qvo1"})
    assert (first.port, first.address, first.age, first.vlan) == ("qvo1", GUEST, 7.0, 0)
    assert (second.port, second.kind, second.age, second.vlan) == ("9", "static", None, 5)


def test_flows_of_a_guest_and_those_that_dropped_frames() -> None:
    ours = f"recirc_id(0),in_port(tap2),eth(src=02:00:00:00:00:01,dst={GUEST}), packets:0, bytes:0, actions:drop"
    dropped = "recirc_id(0),in_port(qvo1),eth(), packets:3, bytes:126, used:0.1s, actions:drop"
    text = f"{ours}\n{dropped}\nrecirc_id(0),in_port(tap9),eth(src=a,dst=b), packets:1, actions:drop\n"
    assert ofproto.flows_of(text, GUEST, "qvo1") == [ours, dropped]
    assert [ofproto.drops_frames(flow) for flow in (ours, dropped)] == [False, True]
