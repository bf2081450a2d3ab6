"""external: nothing is made on this host; recorded, listed, its guest's end known."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.network.writes import watched
from tests.support.vifs import EXTERNAL, INSTANCE, MTU, NETWORK, OVS, Request, library
from tests.support.world.world import World
from vifplug import errors
from vifplug.store.store import Store

DELEGATED = OVS.but(create_port=False)
REMOTE: dict[str, Any] = {
    "id": EXTERNAL.id,
    "mac_address": EXTERNAL.address,
    "network_id": NETWORK,
    "device_owner": "compute:nova",
    "device_id": INSTANCE,
    "binding:vif_type": "ovs",
    "binding:vnic_type": "remote-managed",
    "binding:vif_details": {"bridge_name": "br-int", "datapath_type": "system"},
    "binding:profile": {"pci_slot": "0000:3b:10.2", "card_serial_number": "MT1", "vf_num": 2},
}
PHYSICAL = REMOTE | {
    "binding:vif_type": "hostdev_physical",
    "binding:vnic_type": "direct-physical",
    "binding:vif_details": {},
    "binding:profile": {"pci_slot": "0000:3b:00.1"},
}
SOCKET = REMOTE | {
    "binding:vif_type": "vhostuser",
    "binding:vnic_type": "normal",
    "binding:vif_details": {"vhostuser_socket": "/run/vpp/one.sock", "vhostuser_mode": "client"},
    "binding:profile": {},
}
ENDS = {
    "remote-managed": (REMOTE, 'slot="0x10" function="0x2"', "vfio-pci,host=0000:3b:10.2"),
    "direct-physical": (PHYSICAL, "<hostdev", "vfio-pci,host=0000:3b:00.1"),
    "vhostuser": (SOCKET, 'path="/run/vpp/one.sock" mode="client"', "path=/run/vpp/one.sock"),
}


@pytest.mark.parametrize("port, libvirt, qemu", ENDS.values(), ids=ENDS)
def test_recorded_listed_and_its_guests_end_known(world: World, port: Any, libvirt: str, qemu: str) -> None:
    before = world.snapshot()
    text = json.dumps(port)
    assert world.vifplug_json("plug", "--dry-run", "-", input=text) == {"actions": []}
    with watched(world) as writes:
        (report,) = world.vifplug_json("plug", "-", "--mtu", str(MTU), input=text)["vifs"]
        world.vifplug("plug", "-", input=text)
    assert writes.none, writes
    assert (report["vif_type"], report["state"], report["mtu"]) == ("external", "plugged", MTU)
    assert [report[key] for key in ("bridge", "devices", "ports", "waiting_for", "error")] == [None, [], [], None, None]
    assert (report["network"], report["instance"]["uuid"]) == (NETWORK, INSTANCE)
    (listed,) = world.vifplug_json("list")["vifs"]
    assert (listed["id"], listed["state"]) == (EXTERNAL.id, "wired")
    checked = world.vifplug_json("check")
    assert checked["clean"] is True
    assert [(one["state"], one["drift"]) for one in checked["vifs"]] == [("wired", [])]
    assert world.vifplug_json("repair", EXTERNAL.id)["vifs"][0]["id"] == EXTERNAL.id
    assert libvirt in world.vifplug("guest", "libvirt", EXTERNAL.id).stdout
    assert qemu in world.vifplug("guest", "qemu", EXTERNAL.id).stdout
    assert "not looked at" in world.vifplug("diagram", EXTERNAL.id).stdout
    world.vifplug("unplug", EXTERNAL.id)
    assert faults.stored(world) == {}
    assert world.snapshot() == before


def test_wired_at_most_and_a_wait_for_more_says_why(world: World) -> None:
    world.vifplug("plug", "-", "--wait", "wired", "--timeout", "5", input=EXTERNAL.text)
    result = world.vifplug("wait", EXTERNAL.id, "--for", "active", "--timeout", "0", check=False)
    assert result.returncode == 5
    assert "is wired, not active, and waits for a guest whose end this host does not show" in result.stderr


def test_host_without_open_vswitch_is_enough(world: World) -> None:
    world.vifplug("plug", "-", input=EXTERNAL.text)
    world.write_config(ovs={"connection": f"unix:{world.directory}/nowhere.sock"})
    world.vifplug("plug", "-", input=EXTERNAL.text)
    assert world.vifplug_json("show", EXTERNAL.id)["state"] == "wired"
    world.vifplug("unplug", EXTERNAL.id)
    assert faults.stored(world) == {}


def test_neutrons_event_wires_it(world: World) -> None:
    world.write_config(events={"wired_by": "neutron-events"})
    with library(world) as host:
        host.plug([EXTERNAL.vif])
        assert host.get(EXTERNAL.id).state == "plugged"
        host._context.store.set_neutron_status(EXTERNAL.id, "plugged")
        assert host.get(EXTERNAL.id).state == "wired"


def test_daemon_keeps_it_without_repairs(world: World) -> None:
    with Vifplugd(world) as daemon:
        world.vifplug("plug", "-", input=EXTERNAL.text)
        assert daemon.vifs()[EXTERNAL.id]["state"] == "wired"
        world.vifplug("wait", EXTERNAL.id, "--for", "wired", "--timeout", "10")
        assert daemon.metric("vifplug_repairs_total") == 0
        daemon.stop()
        daemon.start()
        assert daemon.vifs()[EXTERNAL.id]["state"] == "wired"
        world.vifplug("unplug", EXTERNAL.id)
        assert daemon.vifs() == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pci_device": {"address": "3b:10.2"}}, "pci_device.address: '3b:10.2': it must be a PCI address"),
        (
            {"pci_device": None, "vhost_user": {"socket": "/a/../b"}},
            "vhost_user.socket: '/a/../b': it must be an absolute",
        ),
        ({"vhost_user": {"socket": "/run/x"}}, "has both pci_device and vhost_user"),
        ({"network": {"bridge": "br-int"}}, "network.bridge"),
        ({"create_tap": True}, "create_tap"),
        ({"vif_type": "ovs"}, "pci_device: it is for VIFs of type external, host-device, vf only"),
    ],
)
def test_wrong_request_is_exit_2_and_touches_nothing(world: World, changes: dict[str, Any], words: str) -> None:
    result = world.vifplug("plug", "-", input=EXTERNAL.but(**changes).text, check=False)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert words in result.stderr
    assert faults.stored(world) == {}


OTHERS = [EXTERNAL.but(id=f"{number:08x}-99c4-4b1e-8a51-6f0e5c9d77aa") for number in range(4)]


@pytest.mark.parametrize("by_daemon", [False, True])
def test_function_of_another_vif_is_exit_4_that_names_it(world: World, by_daemon: bool) -> None:
    before, other = world.snapshot(), OTHERS[0]
    with Vifplugd(world) if by_daemon else contextlib.nullcontext():
        world.vifplug("plug", "-", input=EXTERNAL.text)
        for arguments in (("plug", "-"), ("plug", "--dry-run", "-")):
            result = world.vifplug(*arguments, input=other.text, check=False)
            assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (4, "", 1)
            assert f"'0000:3b:10.2' is held by VIF {EXTERNAL.id}, which is plugged on this host" in result.stderr
        both = json.dumps([one.document for one in OTHERS[:2]])
        world.vifplug("unplug", EXTERNAL.id)
        result = world.vifplug("plug", "-", input=both, check=False)
        assert (result.returncode, f"is held by VIF {other.id}, of the same request" in result.stderr) == (4, True)
        assert world.vifplug_json("list")["vifs"] == []
        world.vifplug("plug", "-", input=other.text)
        world.vifplug("plug", "-", input=other.text)
        world.vifplug("unplug", other.id)
    assert world.snapshot() == before
    assert faults.stored(world) == {}


@pytest.mark.parametrize("by_daemon", [False, True])
def test_processes_that_ask_for_one_function_have_one_winner(world: World, by_daemon: bool) -> None:
    with Vifplugd(world) if by_daemon else contextlib.nullcontext(), ThreadPoolExecutor(len(OTHERS)) as threads:
        results = list(threads.map(lambda one: world.vifplug("plug", "-", input=one.text, check=False), OTHERS))
        assert sorted(result.returncode for result in results) == [0, 4, 4, 4], results
        (listed,) = world.vifplug_json("list")["vifs"]
        (winner,) = (one for one, result in zip(OTHERS, results, strict=True) if result.returncode == 0)
        assert listed["id"] == winner.id
        assert all(f"is held by VIF {winner.id}" in result.stderr for result in results if result.returncode)
        world.vifplug("unplug", winner.id)
    assert faults.stored(world) == {}


@pytest.mark.parametrize("request_", [EXTERNAL, DELEGATED], ids=["external", "delegated"])
def test_record_that_fails_leaves_nothing(world: World, request_: Request) -> None:
    before = world.snapshot()

    def fail(*_arguments: object, **_named: object) -> None:
        raise errors.StoreError("injected by a test")

    with mock.patch.object(Store, "save_records", fail), library(world) as host, pytest.raises(errors.StoreError):
        host.plug([request_.vif])
    assert world.snapshot() == before
    assert faults.stored(world) == {}


@pytest.mark.parametrize("request_", [EXTERNAL, DELEGATED], ids=["external", "delegated"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_around_the_record(world: World, request_: Request, after: bool) -> None:
    before, real = world.snapshot(), Store.save_records

    def die(store: Store, records: Any, **named: Any) -> None:
        if after:
            real(store, records, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    def plug() -> None:
        with mock.patch.object(Store, "save_records", die), library(world) as host:
            host.plug([request_.vif])

    assert faults.in_child(plug) == -signal.SIGKILL
    assert [one["id"] for one in world.vifplug_json("list")["vifs"]] == ([request_.id] if after else [])
    assert world.vifplug_json("check")["clean"] is True
    assert "intents" not in faults.stored(world)
    world.vifplug("unplug", request_.id)
    assert world.snapshot() == before
    assert faults.stored(world) == {}
