"""Uplinks of networks' bridges on a kernel that has VLAN devices: functional tests on two hosts, each a namespace.

Guests of VLAN 5 and of VLAN 6 on both hosts, with captures in the guests and on the wire; drift of VLAN devices,
repaired by the daemon; failures and kills at every step; what is refused. Flat and VXLAN run here too, on this kernel.
"""

from __future__ import annotations

from tests.host.checks import functional

_NETWORKS = "uplink/test_two_networks.py::test_"
_FAULTS, _DRIFT = "uplink/test_uplink_faults.py::test_", "uplink/test_uplink_drift.py::test_"
TESTS = (
    f"{_NETWORKS}networks_carry_their_own_frames_and_hear_nothing_of_each_other",
    f"{_NETWORKS}uplink_that_is_repaired_a_hundred_times_lets_nothing_into_the_other_network[vlan]",
    "uplink/test_two_hosts.py::test_flat_carries_frames_and_gives_the_device_back",
    *(
        f"uplink/test_two_hosts.py::test_vxlan_carries_frames_and_goes_with_the_last_vif[{case}]"
        for case in ("multicast", "unicast", "unicast over IPv6")
    ),
    f"{_DRIFT}daemon_repairs_each_drift_within_two_seconds",
    *(
        f"{_DRIFT}drift_of_an_uplink_is_named_and_repaired[{case}]"
        for case in (
            "vlan: deleted",
            "vlan: taken out of the bridge",
            "vlan: mtu",
            "vlan: bridge deleted",
            "vxlan: ttl",
        )
    ),
    f"{_DRIFT}replug_writes_nothing[vlan]",
    *(
        f"{_FAULTS}{test}"
        for test in (
            "error_at_every_action_is_undone[vlan-False]",
            "plug_killed_at_every_action[vlan-kill_group]",
            "unplug_killed_at_every_action[vlan]",
            "helper_killed_at_every_action_is_undone_at_once[vlan]",
            "repair_killed_at_every_action_ends_as_recorded[vlan]",
        )
    ),
    *(
        f"uplink/test_neutron_ports.py::test_guests_talk_until_their_ports_are_unplugged[{kind}]"
        for kind in ("flat", "vlan", "vxlan")
    ),
    "uplink/test_uplink_sharing.py::test_uplink_stays_while_one_vif_is_plugged[vlan]",
    "uplink/test_uplink_sharing.py::test_vlan_device_of_another_program_is_used_and_left",
    "uplink/test_uplink_sharing.py::test_bridge_and_uplink_of_another_program_are_used_and_left[vlan]",
    "uplink/test_uplink_sharing.py::test_networks_on_vlans_of_a_device_that_another_has_as_a_whole",
    *(
        f"uplink/test_uplink_refusals.py::test_bad_input_is_one_line_and_changes_nothing[{case}]"
        for case in (
            *("vlan: of another network", "vlan: under another name", "vlan: its name with another VLAN"),
            *(
                "vlan: of another program with an address",
                "vlan: a device that is down",
                "vlan: an MTU that does not fit",
            ),
        )
    ),
)

if __name__ == "__main__":
    functional.run(TESTS)
