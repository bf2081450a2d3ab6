"""Errors that the system words badly: what is said in their place, and what is to be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vifplug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.faults.faults import vif
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug import errors

_PORTS_MAX = 1023


def test_fake_bridge_is_called_that(world: World) -> None:
    world.vsctl("add-br", "br-fake", "br-int", "100")
    each = vif("ovs", network={"bridge": "br-fake"})
    before = world.snapshot()
    for arguments in ([], ["--dry-run"]):
        result = world.vifplug("-o", "json", "plug", "-", *arguments, input=faults.document([each]), check=False)
        reported = json.loads(result.stderr)["error"]
        assert (result.returncode, reported["type"], reported["subject"]) == (1, "BridgeMissing", "br-fake")
        assert "'br-fake' is a fake bridge, a port of bridge 'br-int' with VLAN 100" in reported["message"]
        assert "name 'br-int'" in reported["message"]
    assert world.snapshot() == before
    world.write_config(ovs={"integration_bridge": "br-fake"})
    checks = world.vifplug_json("doctor", check=False)["checks"]
    (found,) = [each for each in checks if each["check"] == "integration-bridge"]
    assert found["status"] == "error" and "is a fake bridge" in found["reason"]
    # One that is gone is missing like any other.
    world.vsctl("del-br", "br-fake")
    with vifplug.local(str(world.config_file)) as host, pytest.raises(errors.BridgeMissing, match="no OVS bridge"):
        host.plug([each])


def test_bridge_that_becomes_a_fake_one_under_vifs_is_called_that_by_every_face(world: World) -> None:
    """Found by the daemon at its start and by the commands that look, with the words that plug has for it."""
    world.add_bridge("br-x")
    hybrid, tap = vif("ovs-hybrid", network={"bridge": "br-x"}), vif("ovs", 2, network={"bridge": "br-x"})
    ids = [hybrid.id, tap.id]
    world.vifplug("plug", "-", input=faults.document([hybrid, tap]))
    world.vsctl("del-br", "br-x", "--", "add-br", "br-x", "br-int", "100")
    words = "'br-x' is a fake bridge, a port of bridge 'br-int' with VLAN 100"

    def reasons() -> dict[str, str]:
        checked = {each["id"]: each["error"] for each in world.vifplug_json("check", check=False)["vifs"]}
        listed = {each["id"]: each["error"] for each in world.vifplug_json("list")["vifs"]}
        shown = {vif_id: world.vifplug_json("show", vif_id)["error"] for vif_id in ids}
        drawn = {vif_id: world.vifplug_json("diagram", vif_id, check=False)["vif"]["error"] for vif_id in ids}
        assert checked == listed == shown == drawn
        return shown

    def assert_words() -> None:
        assert all(reason.startswith(words) for reason in reasons().values()), reasons()
        for each in ids:
            result = world.vifplug("-o", "json", "repair", each, check=False)
            reported = json.loads(result.stderr)["error"]
            assert (reported["type"], words in reported["message"]) == ("BridgeMissing", True), reported

    assert_words()
    with Vifplugd(world) as daemon:
        wait_until(lambda: {each["state"] for each in daemon.vifs().values()} == {"failed"}, "both failed", 30)
        assert_words()
        assert words in daemon.log() and "no OVS bridge" not in daemon.log()


def test_bridge_with_all_the_ports_that_the_kernel_gives_is_called_full(world: World, tmp_path: Path) -> None:
    commands = ["link add brfull type bridge"]
    for number in range((_PORTS_MAX + 1) // 2):
        commands.append(f"link add a{number} type veth peer name b{number}")
    ends = [f"{side}{number}" for number in range((_PORTS_MAX + 1) // 2) for side in "ab"]
    commands += [f"link set {end} master brfull" for end in ends[:_PORTS_MAX]]
    batch = tmp_path / "batch"
    batch.write_text("\n".join(commands) + "\n")
    world.run("ip", "-batch", str(batch), timeout=300)
    each = vif("bridge", network={"bridge": "brfull"})
    with vifplug.local(str(world.config_file)) as host, pytest.raises(errors.LinkError) as caught:
        host.plug([each])
    assert "bridge 'brfull' has 1023 ports, and a Linux bridge takes no more" in caught.value.message
    assert world.link(faults.device("tap", each)) is None, "and nothing is left"


def test_device_that_is_a_part_of_something_else_is_called_that(world: World) -> None:
    """EBUSY: the VMM's tap is on a bond, say; here a veth's end is the port of another bridge by its rx handler."""
    each = vif("bridge", network={"bridge": "brone"})
    world.ip("link", "add", "brone", "type", "bridge")
    with vifplug.local(str(world.config_file)) as host:
        host.plug([each])
        tap = faults.device("tap", each)
        world.ip("link", "set", tap, "nomaster")
        world.ip("link", "add", "onit", "link", tap, "type", "macvlan")
        with pytest.raises(errors.LinkError) as caught:
            host.plug([each])
        assert f"'{tap}' is a part of another bridge, bond or team" in caught.value.message
        world.ip("link", "del", "onit")
        host.plug([each])
        assert host.check().clean


def test_ovsdb_socket_whose_path_is_too_long_is_called_that(world: World) -> None:
    path = f"{world.directory}/{'x' * 120}/db.sock"
    world.write_config(ovs={"connection": f"unix:{path}"})
    for arguments in (["list"], ["plug", "-"], ["doctor"]):
        text = faults.document([vif("ovs")])
        result = world.vifplug("--local", *arguments, input=text, check=False)
        words = result.stderr + result.stdout
        assert result.returncode == 2, words
        assert f"has {len(path)} bytes, and a Unix socket's path at most 107" in words, words


def test_daemons_socket_whose_path_is_too_long_is_called_that(world: World) -> None:
    path = f"{world.directory}/{'x' * 120}.sock"
    result = world.vifplug("--socket", path, "list", check=False)
    assert result.returncode == 1
    assert f"has {len(path)} bytes, and a Unix socket's path at most 107" in result.stderr
    world.write_config(daemon={"socket": path})
    result = world.run(
        "python", "-m", "vifplug.daemon.process.supervisor", "--config-file", str(world.config_file), check=False
    )
    assert result.returncode == 2
    assert "at most 107 bytes" in result.stderr and f"and has {len(path)}" in result.stderr
