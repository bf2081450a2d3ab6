"""Functional tests in worlds of the kernel's datapath: those that hold there alone, and of the others the paths."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence

from tests.host.checks.ring import check, end

CHECKOUT = "/usr/local/src/checkout"
PATIENCE = "8"
"""By how much the worlds' time limits are longer under emulation."""
_HYBRID, _OVS, _BRIDGE = (f"plug/test_plug_{kind}.py::test_" for kind in ("hybrid", "ovs", "bridge"))
_TRUNK, _OWN_BRIDGE = (f"plug/test_{kind}.py::test_" for kind in ("trunk", "own_bridge"))
_FILTER, _FILTERED = "filter/test_frames.py::test_", ("bridge", "bridge, the VMM's tap", "ovs-hybrid, the VMM's tap")
_OWN_VLAN, _PATHS = "ovs/test_own_vlan.py::test_", ("ovs", "ovs-hybrid", "own bridge")
_FAILURES = {
    "failure/test_failure.py::test_error_at_every_action_is_undone": ("trunk", "own-bridge"),
    "failure/test_crash.py::test_plug_killed_at_every_action": ("trunk-kill_group",),
    "failure/test_crash.py::test_unplug_killed_at_every_action": ("own-bridge-kill_group",),
}
"""Tests of each step of a plug or an unplug, and their cases."""
TESTS = (
    "ovs/test_kernel_datapath.py",
    "test_world.py::test_hybrid_path_passes_its_mtu_and_tcp",
    f"{_HYBRID}neutron_port_plugged_veth_ends_have_every_setting",
    f"{_HYBRID}neutron_port_plugged_rows_carry_what_nova_writes_and_a_mark",
    f"{_HYBRID}guest_in_bridge_passes_tcp_and_exactly_the_mtu",
    f"{_HYBRID}second_plug_writes_nothing",
    f"{_HYBRID}other_ovs_bridge_in_a_replug_port_moves_with_all_it_carries",
    f"{_HYBRID}vif_unplugged_leaves_the_world_as_it_was",
    f"{_OVS}tap_made_by_vifplug_is_a_port_with_a_number_before_the_guest_starts",
    f"{_OVS}guest_on_tap_passes_tcp_and_exactly_the_mtu[False]",
    f"{_OVS}vmm_makes_the_tap_plugged_with_its_wait_named_and_no_drift",
    f"{_OVS}kernel_datapath_port_and_its_qos_come_in_one_transaction_and_go_together",
    f"{_OVS}qos_of_the_control_plane_outlives_replug_and_unplug",
    f"{_BRIDGE}two_guests_and_a_host_pass_tcp_and_exactly_the_mtu",
    f"{_FILTER}tap_of_a_port_of_the_kernels_datapath_is_filtered",
    *(f"{_FILTER}guest_sends_from_its_own_addresses_only[{case}]" for case in _FILTERED),
    f"{_TRUNK}bridge_is_made_with_its_port_in_one_transaction",
    f"{_TRUNK}bridge_is_shared_and_goes_with_the_last",
    f"{_OWN_BRIDGE}option_gives_a_bridge_a_patch_and_the_identity_at_its_far_end",
    f"{_OWN_BRIDGE}isolated_guest_is_not_heard_before_the_far_end_is_wired",
    f"{_OWN_BRIDGE}vmms_tap_is_waited_for_on_the_own_bridge",
    f"{_OWN_BRIDGE}toggled_option_strands_nothing[true]",
    *(f"{_OWN_VLAN}port_is_on_its_vlan_only_from_its_creation_and_an_unplug_leaves_nothing[{case}]" for case in _PATHS),
    f"{_OWN_VLAN}another_vlan_is_set_in_place",
    f"{_OWN_VLAN}no_frame_is_on_another_vlan_while_the_daemon_repairs_port_and_tag",
    *(f"{test}[{case}]" for test, cases in _FAILURES.items() for case in cases),
)
_OUTCOME = re.compile(r"(?:tests/functional/)?(\S+::.+) PASSED\b")
"""A test's case may contain spaces."""
_SUMMARY = re.compile(r"(?:FAILED|ERROR|SKIPPED) .+")


def run(tests: Sequence[str]) -> None:
    """Run a batch: each test is a check, and so is pytest's exit status."""
    done = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-v", "--tb=short", *(f"tests/functional/{test}" for test in tests)],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "VIFPLUG_DATAPATH_TYPE": "system",
            "VIFPLUG_PATIENCE": PATIENCE,
            "VIFPLUG_NO_SKIP": "1",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "600",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.stdout is not None
    said: list[str] = []
    for line in done.stdout:
        said.append(line)
        if passed := _OUTCOME.match(line):
            with check(f"functional, kernel datapath: {passed[1]}"):
                pass
    for line in said:
        if _SUMMARY.match(line):
            name, _dash, reason = line.partition(" - ")
            with check(f"functional, kernel datapath: {name.partition('::')[2]}"):
                raise AssertionError(reason or line)
    with check("functional, kernel datapath: pytest ended well"):
        assert done.wait() == 0, "".join(said[-40:])
    end()


if __name__ == "__main__":
    run(TESTS)
