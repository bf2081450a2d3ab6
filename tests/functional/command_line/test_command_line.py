"""The command line as a person uses it: a VIF without a file, named by its tap, unplugged by its MAC."""

from __future__ import annotations

import contextlib

import yaml

from tests.support.network.endpoints import guest_on_tap
from tests.support.vifs import GUEST, INSTANCE, must_link, must_row
from tests.support.world.world import World

UNKNOWN = "00000000-0000-4000-8000-00000000abcd"


def test_vif_without_a_file_is_named_by_its_tap_and_unplugged_by_its_mac(world: World) -> None:
    before = world.snapshot()
    header, row = world.vifplug("plug", "--type", "ovs", "--bridge", "br-int", "--mtu", "1400").stdout.splitlines()
    vif_id, mac = row.split()[0], row.split()[3]
    tap = f"tap{vif_id}"[:14]
    assert header.split()[:4] == ["ID", "TYPE", "STATE", "ADDRESS"]
    link, interface = must_link(world, tap), must_row(world, "Interface", tap)
    assert (link["mtu"], link["ifalias"]) == (1400, f"vifplug:{vif_id}")
    assert (interface["external_ids"]["iface-id"], interface["external_ids"]["attached-mac"]) == (vif_id, mac)

    assert world.vifplug("show", tap, "-o", "name").stdout == f"{vif_id}\n"
    assert world.vifplug_json("check", vif_id[:4])["clean"]
    assert yaml.safe_load(world.vifplug("show", mac.upper(), "-o", "yaml").stdout)["id"] == vif_id
    listed = world.vifplug("list", "--bridge", "br-int", "--type", "ovs", "--columns", "id", "--no-headers").stdout
    assert listed == f"{vif_id}\n"

    planned = world.vifplug_json("unplug", tap, "--dry-run")["actions"]
    assert {action["action"] for action in planned} >= {"delete-port", "delete-links"}
    assert must_link(world, tap)["ifindex"] == link["ifindex"]
    assert world.vifplug("unplug", mac).stdout.splitlines()[1].split() == [vif_id, "ovs", "br-int", "unplugged"]
    assert world.snapshot() == before


def test_names_that_fit_none_or_several_touch_nothing(world: World) -> None:
    web = ("--instance-uuid", INSTANCE, "--instance-name", "web")
    ids = [world.vifplug("plug", "--type", "ovs", *web, "-o", "name").stdout.strip() for _ in range(2)]
    before = world.snapshot()
    for words, said in (
        (("unplug", "web"), "'web' names 2 VIFs: "),
        (("unplug", ids[0], "tapmistyped"), "'tapmistyped' names no VIF"),
        (("show", INSTANCE), f"'{INSTANCE}' names 2 VIFs"),
        (("unplug", "--instance", "wbe"), "(did you mean 'web'?)"),
    ):
        refused = world.vifplug(*words, check=False)
        assert (refused.returncode, refused.stdout) == (2, "") and said in refused.stderr
    assert world.snapshot() == before
    assert world.vifplug("unplug", UNKNOWN).stdout.split()[-1] == "absent"
    gone = world.vifplug("unplug", "--instance", "web", "-o", "name").stdout.split()
    assert sorted(gone) == sorted(ids)


def test_unplug_from_a_running_guest_warns(world: World) -> None:
    vif_id = world.vifplug("plug", "--type", "ovs", "-o", "name").stdout.strip()
    tap, mac = f"tap{vif_id}"[:14], world.vifplug_json("show", vif_id)["address"]
    with contextlib.closing(guest_on_tap(world, tap, mac, GUEST)):
        assert world.vifplug_json("show", tap)["state"] == "active"
        unplugged = world.vifplug("unplug", tap)
    assert unplugged.stderr == (
        f"vifplug: warning: VIF {vif_id} was unplugged while a guest had its tap {tap!r} open; that guest has lost its "
        "network\n"
    )


def test_bridge_that_leads_nowhere_is_noted(world: World) -> None:
    document = "vif_type: bridge\nid: 00000000-0000-4000-8000-000000000033\naddress: 02:00:00:00:00:33\n"
    plugged = world.vifplug("plug", "-", input=f"{document}network: {{bridge: br-nowhere}}\n")
    assert "Linux bridge 'br-nowhere' has no uplink" in plugged.stderr
    assert world.vifplug("unplug", "02:00:00:00:00:33").returncode == 0
