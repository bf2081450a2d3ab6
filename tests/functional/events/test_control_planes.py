"""States as the control plane makes them: OVN's own programs, and a stand-in for Neutron's OVS agent."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.endpoints import Station, guest_in_bridge, guest_on_tap
from tests.support.network.traffic import Sniffer, ping
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, OVS, Request, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.forked import Command
from tests.support.world.neutron_agent import DEAD_TAG, TAG, Agent
from tests.support.world.ovn import Ovn
from tests.support.world.world import Completed, World

WAYS = {"daemon": (), "local": ("--local",)}
NEIGHBOUR = OVS.but(id="3fe5648f-4734-49a7-9fef-daa6f86f6799", address="fa:16:3e:95:3a:3d")
OUT_OF_TIME = 5
THERE_AND_BACK = ["plugged", "wired", "plugged", "wired"]
IMPATIENT, PATIENT = "0.3", "20"
A_WHILE = 0.3
"""Longer than any of it takes."""

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@dataclass(frozen=True)
class Host:
    """A world with vifplugd, for all tests of one control plane: each takes away what it has plugged."""

    world: World
    daemon: Vifplugd

    @contextlib.contextmanager
    def cleared(self, *requests: Request) -> Iterator[None]:
        """At the end these are not plugged."""
        try:
            yield
        finally:
            status, body = self.daemon.request("POST", "/v1/batch", {"unplug": [each.id for each in requests]})
            assert status == 200, body

    def plug(self, way: tuple[str, ...], request: Request, seconds: str) -> Completed:
        """``plug --wait wired``, to its end."""
        words = ("plug", "-", "--wait", "wired", "--timeout", seconds)
        return self.world.vifplug(*way, *words, input=request.text, check=False)

    @contextlib.contextmanager
    def plugging(self, way: tuple[str, ...], request: Request) -> Iterator[Command]:
        """``plug --wait wired`` that has made its port and waits."""
        process = self.world.begin_vifplug(
            *("-o", "json", *way, "plug", "-", "--wait", "wired", "--timeout", PATIENT),
        )
        with process:
            try:
                assert process.stdin is not None
                process.stdin.write(request.text)
                process.stdin.close()
                wait_until(lambda: self.world.row("Port", request.port) or process.poll() is not None, "the port")
                self.still_waits(process)
                yield process
            finally:
                process.send_signal(signal.SIGKILL)

    @staticmethod
    def still_waits(process: Command) -> None:
        """It does not end in a while."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: process.poll() is not None, "its end", A_WHILE)
        if process.poll() is not None:
            raise AssertionError(f"it did not wait: {process.communicate()}")

    def wait(self, way: tuple[str, ...], state: str, *requests: Request) -> None:
        """``wait``, which must end well."""
        ids = [request.id for request in requests]
        self.world.vifplug(*way, "wait", *ids, "--for", state, "--timeout", PATIENT)

    def state(self, request: Request) -> str:
        """By the daemon's list."""
        return str(self.daemon.vifs()[request.id]["state"])

    def becomes(self, request: Request, state: str) -> None:
        """Soon an event says so, and it is the last; the daemon's list shows the same."""
        wait_until(lambda: self.went(request)[-1:] == [state], f"an event for {request.id} {state}")
        assert self.state(request) == state

    def went(self, request: Request) -> list[str]:
        """Through which states, by the daemon's events, since it was plugged last."""
        _status, text = self.daemon.request("GET", "/v1/events?follow=false")
        reported = [json.loads(line.removeprefix("data:")) for line in text.splitlines() if line.startswith("data:")]
        return steps([each for each in reported if each["vif_id"] == request.id])


@dataclass(frozen=True)
class OvnHost(Host):
    """Its br-int is OVN's."""

    ovn: Ovn

    @contextlib.contextmanager
    def port(self, request: Request, ip: str = GUEST) -> Iterator[None]:
        """A logical port for a VIF, which is not plugged at the end."""
        with self.cleared(request):
            self.ovn.add_port(request.id, request.address, ip)
            try:
                yield
            finally:
                self.ovn.delete_port(request.id)


@dataclass(frozen=True)
class AgentHost(Host):
    """Its br-int is Neutron's agent's."""

    agent: Agent


@pytest.fixture(scope="module")
def ovn_host() -> Iterator[OvnHost]:
    """One for all tests here: starting it all takes longer than any of them."""
    with World() as world:
        world.add_bridge("br-int")
        with Ovn(world) as ovn, Vifplugd(world) as daemon:
            yield OvnHost(world, daemon, ovn)


@pytest.fixture(scope="module")
def agent_host() -> Iterator[AgentHost]:
    """The same with Neutron's agent."""
    with World() as world:
        world.add_bridge("br-int")
        agent = Agent(world)
        with Vifplugd(world) as daemon:
            yield AgentHost(world, daemon, agent)


def steps(events: list[dict[str, Any]]) -> list[str]:
    """The states that a VIF's events tell of since the last one with none before; each follows on the one before."""
    assert [each["seq"] for each in events] == sorted({each["seq"] for each in events})
    first = max((number for number, each in enumerate(events) if each["previous"] is None), default=0)
    states = [each["state"] for each in events[first:]]
    assert [each["previous"] for each in events[first:]] == [None, *states][: len(states)]
    return states


def printed(process: Command) -> dict[str, Any]:
    """The one VIF that a command printed as it ended well."""
    out, errors = process.communicate(timeout=float(PATIENT))
    assert process.returncode == 0, errors
    (vif,) = json.loads(out)["vifs"]
    return dict(vif)


def must_have_run_out_of_time(result: Completed, request: Request, *words: str) -> None:
    """It says of which VIF, in which state it is, and what it waited for."""
    assert result.returncode == OUT_OF_TIME, result
    assert not result.stdout, result.stdout
    (line,) = [line for line in result.stderr.splitlines() if request.id in line]
    for word in ("plugged", request.port, *words):
        assert word in line, f"{word!r} not in {line!r}"


def installed(world: World, request: Request) -> bool:
    """What ovn-controller says of it, by OVSDB."""
    ids: dict[str, str] = must_row(world, "Interface", request.port)["external_ids"]
    return ids.get("ovn-installed") == "true"


# -- OVN ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "vif"), [(WAYS["daemon"], HYBRID), (WAYS["local"], OVS)], ids=WAYS.keys())
def test_plug_waits_for_ovn_and_no_longer(ovn_host: OvnHost, way: tuple[str, ...], vif: Request) -> None:
    with ovn_host.cleared(vif), ovn_host.plugging(way, vif) as process:
        assert not installed(ovn_host.world, vif)
        with ovn_host.port(vif):
            assert printed(process)["state"] == "wired"
            assert installed(ovn_host.world, vif)


@every_way
def test_ovn_controller_stopped_ends_the_wait_and_says_so(ovn_host: OvnHost, way: tuple[str, ...]) -> None:
    with ovn_host.port(HYBRID):
        ovn_host.ovn.controller.stop()
        try:
            result = ovn_host.plug(way, HYBRID, IMPATIENT)
        finally:
            ovn_host.ovn.controller.start()
        must_have_run_out_of_time(result, HYBRID, "ovn-installed", "ovn-controller")
        # The VIF stays plugged: who waits on has it wired.
        ovn_host.wait(WAYS["daemon"], "wired", HYBRID)
        assert installed(ovn_host.world, HYBRID)


def test_logical_port_deleted_takes_the_state_back_with_an_event(ovn_host: OvnHost) -> None:
    with ovn_host.port(HYBRID):
        assert ovn_host.plug(WAYS["daemon"], HYBRID, PATIENT).returncode == 0
        # The command may see it before the daemon's next comparison does; what comes and goes between is no event.
        ovn_host.becomes(HYBRID, "wired")
        ovn_host.ovn.delete_port(HYBRID.id)
        ovn_host.becomes(HYBRID, "plugged")
        must_have_run_out_of_time(ovn_host.plug(WAYS["daemon"], HYBRID, IMPATIENT), HYBRID, "ovn-installed")
        ovn_host.ovn.add_port(HYBRID.id, HYBRID.address, GUEST)
        ovn_host.becomes(HYBRID, "wired")
        reported = ovn_host.world.vifplug_json("events", "--since", "0")["events"]
        assert steps([each for each in reported if each["vif_id"] == HYBRID.id]) == THERE_AND_BACK


def test_guest_makes_it_active_and_its_end_wired_again(ovn_host: OvnHost) -> None:
    world = ovn_host.world
    with ovn_host.port(HYBRID, GUEST), ovn_host.port(OVS, HOST):
        for request in (HYBRID, OVS):
            assert ovn_host.plug(WAYS["daemon"], request, PATIENT).returncode == 0
            assert ovn_host.state(request) == "wired"
        with (
            guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address, outer=HYBRID.tap) as each,
            guest_on_tap(world, OVS.tap, OVS.address, HOST, MTU),
        ):
            for way in WAYS.values():
                ovn_host.wait(way, "active", HYBRID, OVS)
            assert ping(each, HOST, size=MTU)
            assert {ovn_host.state(request) for request in (HYBRID, OVS)} == {"active"}
        for request in (HYBRID, OVS):
            ovn_host.becomes(request, "wired")
            assert ovn_host.went(request) == ["plugged", "wired", "active", "wired"]


# -- Neutron's agent ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def neighbour(host: AgentHost) -> Iterator[Station]:
    """A guest on a VIF that the agent has wired."""
    with host.cleared(NEIGHBOUR):
        host.world.vifplug("plug", "-", input=NEIGHBOUR.text)
        host.agent.wire(NEIGHBOUR.port)
        with guest_on_tap(host.world, NEIGHBOUR.tap, NEIGHBOUR.address, HOST, MTU) as station:
            yield station


def of_guest(frame: Any) -> bool:
    """Whether a frame was sent by the guest on OVS."""
    return bool(frame.data[6:12] == bytes.fromhex(OVS.address.replace(":", "")))


@every_way
def test_isolated_port_is_dead_until_the_agent_wires_it(agent_host: AgentHost, way: tuple[str, ...]) -> None:
    world, agent = agent_host.world, agent_host.agent
    with (
        neighbour(agent_host),
        agent_host.cleared(OVS),
        agent_host.plugging(way, OVS.but(isolate=True)) as process,
        guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest,
        Sniffer(world, NEIGHBOUR.tap, of_guest) as received,
    ):
        assert must_row(world, "Port", OVS.port)["tag"] == DEAD_TAG
        assert guest.run("ping", "-n", "-c", "3", "-i", "0.1", "-W", "0.1", HOST, check=False).returncode != 0
        agent.describe(OVS.port)
        agent_host.still_waits(process)
        assert not received.frames
        agent.give_vlan(OVS.port)
        assert printed(process)["state"] in ("wired", "active")
        assert must_row(world, "Port", OVS.port)["tag"] == TAG
        assert ping(guest, HOST, size=MTU)
        wait_until(lambda: received.frames, "frames of the guest")


def test_agent_that_does_not_come_ends_the_wait_and_says_so(agent_host: AgentHost) -> None:
    way = WAYS["daemon"]
    with agent_host.cleared(HYBRID):
        must_have_run_out_of_time(agent_host.plug(way, HYBRID, IMPATIENT), HYBRID, "Neutron's OVS agent", "tag")
        agent_host.agent.wire(HYBRID.port)
        agent_host.wait(way, "wired", HYBRID)


@pytest.mark.parametrize(
    "lose",
    [
        lambda host: host.agent.kill(HYBRID.port),
        lambda host: host.world.vsctl("clear", "Port", HYBRID.port, "tag", "other_config"),
    ],
    ids=["port made dead", "tag and other_config gone"],
)
def test_agent_that_takes_it_back_takes_the_state_back(
    agent_host: AgentHost, lose: Callable[[AgentHost], None]
) -> None:
    with agent_host.cleared(HYBRID):
        agent_host.world.vifplug("plug", "-", input=HYBRID.text)
        agent_host.agent.wire(HYBRID.port)
        agent_host.becomes(HYBRID, "wired")
        lose(agent_host)
        agent_host.becomes(HYBRID, "plugged")
        agent_host.agent.wire(HYBRID.port)
        agent_host.becomes(HYBRID, "wired")
        assert agent_host.went(HYBRID) == THERE_AND_BACK
