"""vhost-user VIFs on an Open vSwitch without DPDK, which cannot open their ports: what is refused, and what is left.

The ports themselves are tested with DPDK's Open vSwitch (tests/e2e/test_vhost_user.py), and how a port's columns are
set, compared and put right with a tunnel (tests/functional/privileged/test_port_columns.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.world.world import World

ID, PORT = "3fe5648f-4734-49a7-9fef-daa6f86f6799", "vhu3fe5648f-47"


@pytest.fixture
def sockets(world: World) -> Path:
    """The directory of [ovs] vhostuser_socket_dir."""
    directory = world.directory / "sockets"
    directory.mkdir()
    world.write_config(ovs={"vhostuser_socket_dir": str(directory)})
    return directory


@pytest.fixture
def unchanged(world: World) -> Iterator[None]:
    """The world is in the end as it was, and no VIF is recorded."""
    before = world.snapshot()
    yield
    assert world.snapshot() == before
    assert world.vifplug_json("list")["vifs"] == []


def document(socket: Path | str, **changes: Any) -> str:
    vif = {"id": ID, "vif_type": "vhost-user", "address": "fa:16:3e:95:3a:3d", "network": {"mtu": 1450}}
    return json.dumps({**vif, "vhost_user": {"socket": str(socket)}, **changes})


def refused(world: World, text: str, status: int) -> str:
    """What the command says of a document that it does not plug."""
    result = world.vifplug("plug", "-", input=text, check=False)
    assert result.returncode == status, result.stderr
    assert result.stderr.startswith("vifplug: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_sample_plugs_by_dry_run(world: World, samples: Path, unchanged: None) -> None:
    sample = str(samples / "nova_network_info_vhostuser_ovs.json")
    (action,) = world.vifplug_json("plug", sample, "--dry-run")["actions"]
    assert (action["action"], action["subject"]) == ("add-port", PORT)
    assert action["text"].endswith(
        "with type dpdkvhostuserclient, options vhost-server-path=/var/lib/vhost_sockets/vhu3fe5648f-47, "
        "mtu_request 1450"
    )


def test_switch_without_dpdk_is_an_error_and_leaves_nothing(world: World, sockets: Path, unchanged: None) -> None:
    output = refused(world, document(sockets / PORT), 1)
    assert f"could not use port {PORT!r}" in output
    assert "needs an Open vSwitch with DPDK" in output


@pytest.mark.parametrize("socket", ["/etc/passwd", "/run/openvswitch/db.sock", "{}/../x", "{}/" + "x" * 100, "{}", "x"])
def test_socket_elsewhere_is_refused(world: World, sockets: Path, unchanged: None, socket: str) -> None:
    refused(world, document(socket.format(sockets)), 2)


def test_symbolic_link_out_of_the_directory_is_refused(world: World, sockets: Path, unchanged: None) -> None:
    (sockets / "out").symlink_to(world.directory)
    output = refused(world, document(sockets / "out" / PORT), 1)
    assert "where a symbolic link leads" in output


def test_directory_that_is_missing_is_named(world: World, sockets: Path, unchanged: None) -> None:
    sockets.rmdir()
    output = refused(world, document(sockets / PORT), 1)
    assert f"the directory {str(sockets)!r} of the vhost-user socket" in output


def test_bridge_of_another_datapath_is_a_conflict(world: World, sockets: Path) -> None:
    world.vsctl("--no-wait", "add-br", "br-kernel", "--", "set", "Bridge", "br-kernel", "datapath_type=system")
    before = world.snapshot()
    output = refused(world, document(sockets / PORT, network={"bridge": "br-kernel"}), 4)
    assert "OVS bridge 'br-kernel' has datapath_type 'system'" in output
    assert world.snapshot() == before


def test_port_of_a_stranger_is_a_conflict(world: World, sockets: Path) -> None:
    world.vsctl("add-port", "br-int", PORT, "--", "set", "Interface", PORT, "type=internal")
    before = world.snapshot()
    output = refused(world, document(sockets / PORT), 4)
    assert "is held by a stranger" in output
    assert world.snapshot() == before
