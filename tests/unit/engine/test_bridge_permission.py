"""Which bridges an operator may put a VIF on."""

from __future__ import annotations

import pathlib

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.fake_host import FakeHost
from vifplug import naming
from vifplug.engine.requester import Requester
from vifplug.errors import BridgeMissing, Conflict, NotPermitted
from vifplug.resources.bridge import Bridge

OWNER = naming.network_owner(builders.NETWORK)
BRQ = naming.device(naming.ROLE_NETWORK_BRIDGE, builders.NETWORK)
OTHER = "5fe5648f-4734-49a7-9fef-daa6f86f6799"


def operator(*bridges: str, uid: int = 1002) -> Requester:
    return Requester(uid=uid, every_vif=False, bridges=bridges)


def plugger(directory: pathlib.Path, *bridges: str) -> tuple[Plugger, FakeHost]:
    host = FakeHost(bridges=("br-int", "br-ex", "tbr-11111111-2", *bridges))
    host.links["docker0"] = Bridge(name="docker0", owner="", role="", ifindex=9001, mtu=1500)
    return builders.plugger(directory, host), host


@pytest.mark.parametrize("vif_type", ["ovs", "ovs-hybrid"])
def test_operator_uses_the_integration_bridge_and_no_other_of_open_vswitch(
    tmp_path: pathlib.Path, vif_type: str
) -> None:
    plug, host = plugger(tmp_path)
    network = {"id": builders.NETWORK, "mtu": 1450}
    with pytest.raises(NotPermitted, match=r"'br-ex'.*operator_bridges"):
        plug.plug([builders.vif(vif_type, network=network | {"bridge": "br-ex"})], operator())
    with pytest.raises(NotPermitted):  # whether it is there or not
        plug.plug([builders.vif(vif_type, network=network | {"bridge": "br-none"})], operator())
    assert not host.applied and not host.ports
    plug.plug([builders.vif(vif_type, network=network | {"bridge": "tbr-11111111-2"})], operator())
    plug.plug([builders.vif(vif_type, network=network | {"bridge": "br-int"})], operator())
    with pytest.raises(NotPermitted):
        plug.plug([builders.vif(vif_type, network=network | {"bridge": "br-ex"})], operator())


@pytest.mark.parametrize("patterns", [("br-ex",), ("nothing", "br-*"), ("br-[ef]x",)])
def test_option_lists_further_bridges(tmp_path: pathlib.Path, patterns: tuple[str, ...]) -> None:
    plug, host = plugger(tmp_path)
    plug.plug([builders.vif("ovs", network={"mtu": 1450, "bridge": "br-ex"})], operator(*patterns))
    assert {port.bridge for port in host.ports.values()} == {"br-ex"}
    with pytest.raises(BridgeMissing if "br-*" in patterns else NotPermitted):
        plug.plug([builders.vif("ovs-hybrid", network={"mtu": 1450, "bridge": "br-none"})], operator(*patterns))


def test_administrator_uses_every_bridge(tmp_path: pathlib.Path) -> None:
    plug, host = plugger(tmp_path)
    plug.plug([builders.vif("ovs", network={"mtu": 1450, "bridge": "br-ex"})], Requester(uid=0))
    plug.plug([builders.vif("bridge", network={"mtu": 1450, "bridge": "docker0"})], Requester(uid=0))
    assert {port.bridge for port in host.ports.values()} == {"br-ex"}


@pytest.mark.parametrize("name", ["docker0", BRQ])
def test_operator_joins_no_linux_bridge_of_others_whatever_its_name(tmp_path: pathlib.Path, name: str) -> None:
    plug, host = plugger(tmp_path)
    host.links[name] = Bridge(name=name, owner="", role="", ifindex=9002, mtu=1500)
    request = builders.vif("bridge", network={"id": builders.NETWORK, "mtu": 1450, "bridge": name})
    with pytest.raises(NotPermitted, match=name):
        plug.plug([request], operator())
    assert not host.applied
    plug.plug([request], operator(name))


def test_operator_joins_a_network_bridge_of_ours_by_its_mark(tmp_path: pathlib.Path) -> None:
    plug, _host = plugger(tmp_path)
    plug.plug([builders.vif("bridge")], operator())
    plug.plug([builders.vif("bridge", id=OTHER, address="fa:16:3e:00:00:02")], operator(uid=1003))
    foreign = builders.vif("bridge", id=builders.TAP, network={"id": OTHER, "mtu": 1450, "bridge": BRQ})
    with pytest.raises(Conflict, match=builders.NETWORK):
        plug.plug([foreign], operator())


def test_repair_puts_an_operators_vif_on_no_bridge_that_is_not_for_it(tmp_path: pathlib.Path) -> None:
    plug, host = plugger(tmp_path)
    plug.plug([builders.vif("ovs", network={"mtu": 1450, "bridge": "br-ex"})], operator("br-ex"))
    host.ports.clear()
    with pytest.raises(NotPermitted):
        plug.repair([builders.TAP], operator())
    plug.repair([builders.TAP], operator("br-ex"))
    assert host.ports


def test_mtu_of_a_shared_bridge_is_moved_by_its_only_user_or_an_administrator(tmp_path: pathlib.Path) -> None:
    plug, host = plugger(tmp_path)
    larger = {"id": builders.NETWORK, "mtu": 9000}
    second = builders.vif("bridge", id=OTHER, address="fa:16:3e:00:00:02")
    plug.plug([builders.vif("bridge")], operator())
    plug.plug([builders.vif("bridge", network=larger)], operator())
    assert host.links[BRQ].mtu == 9000
    plug.plug([second], operator(uid=1003))
    largest = builders.vif("bridge", id=OTHER, address="fa:16:3e:00:00:02", network=larger | {"mtu": 9100})
    with pytest.raises(NotPermitted, match=r"MTU of bridge .* from 9000 to 9100"):
        plug.plug([largest], operator(uid=1003))
    assert host.links[BRQ].mtu == 9000
    plug.plug([largest], Requester(uid=0))
    assert host.links[BRQ].mtu == 9100


def test_repair_puts_back_an_mtu_that_the_record_has(tmp_path: pathlib.Path) -> None:
    from dataclasses import replace

    plug, host = plugger(tmp_path)
    plug.plug([builders.vif("bridge")], operator())
    plug.plug([builders.vif("bridge", id=OTHER, address="fa:16:3e:00:00:02")], operator(uid=1003))
    host.links[BRQ] = replace(host.links[BRQ], mtu=1300)
    plug.repair([OTHER], operator(uid=1003))
    assert host.links[BRQ].mtu == 1450
