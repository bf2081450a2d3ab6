"""Followers that are killed, daemons that are, and waits by Nova's contract: every event once, and none too late.

At length, with 1,000 plugs and 5 restarts: tools/test --functional --thorough -s -k every_event_once
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.counts import times
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, INSTANCE, OVS, Request, library
from tests.support.world.daemons import wait_until
from tests.support.world.forked import CLI, Process
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.api.remote import DaemonHost
from vifplug.model.events import Event
from vifplug.model.reports import VifReport

PLUGS, RESTARTS = times(30, 1000), times(2, 5)
EACH_TIME = 5
SEED = 4
LIVES = ["plugged", "wired", "unplugged"]
PORT, TOKEN = 8775, "a-token-of-some-length"
LISTENING = {"wired_by": "neutron-events", "listen": str(PORT), "listen_token": TOKEN}
AT_ONCE_SECONDS = 15.0
"""Far below LONG_SECONDS, and what a loaded machine needs."""
SOON_SECONDS, LONG_SECONDS = 0.5, 60.0


# -- followers ------------------------------------------------------------------------------------------------


@dataclass
class Follower:
    """``vifplug events --follow`` that goes on after the last event it has, however often it is killed."""

    world: World
    file: Path
    way: tuple[str, ...] = ()
    process: Process | None = None

    def begin(self) -> None:
        with (
            open(os.devnull, "rb") as nothing,
            self.file.open("ab") as out,
            self.file.with_suffix(".err").open("ab") as complaints,
        ):
            argv = self.world.vifplug_argv(*self.way, "-o", "json", "events", "--follow", "--since", str(self.last))
            self.process = self.world.forker(CLI).start(
                argv[2],
                argv[3:],
                (nothing.fileno(), out.fileno(), complaints.fileno()),
                namespace=self.world.namespace,
                environment=self.world.environment,
            )

    def kill(self) -> None:
        assert self.process is not None and self.process.poll() is None, "it has ended by itself"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def events(self) -> list[dict[str, Any]]:
        whole = self.file.read_text().splitlines() if self.file.exists() else []
        return [json.loads(line) for line in whole]

    @property
    def last(self) -> int:
        found = self.events
        return int(found[-1]["seq"]) if found else 0


@dataclass
class Mortal(Follower):
    """It is killed with -9 soon after each life's first event."""

    over: threading.Event = field(default_factory=threading.Event)
    deaths: int = 0

    def live_and_die(self) -> None:
        chance = random.Random(SEED)
        while not self.over.is_set():
            before = self.last
            self.begin()
            assert self.process is not None
            while self.last == before and not self.over.is_set() and self.process.poll() is None:
                time.sleep(0.01)
            self.over.wait(chance.uniform(0, 0.1))
            if self.process.poll() is None:
                self.kill()
                self.deaths += 1
            else:
                assert self.process.returncode == 1, "it was begun while there was no daemon: only that may end it"


def vifs(count: int) -> list[Request]:
    kinds = [HYBRID, *[OVS] * (count - 1)]
    return [
        kind.but(id=f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa", address=f"fa:16:3e:00:00:{number:02x}")
        for number, kind in enumerate(kinds)
    ]


def batch(daemon: Vifplugd, **output: Any) -> None:
    status, body = daemon.request("POST", "/v1/batch", output)
    assert status == 200, body


def restart(world: World, daemon: Vifplugd, number: signal.Signals) -> None:
    """End the daemon; somebody plugs and unplugs without it; start another."""
    daemon.stop(number)
    with library(world) as host:
        host.plug([OVS.vif])
        host.unplug([OVS.id])
    daemon.start()


def catches_up(follower: Follower, seq: int) -> None:
    wait_until(lambda: follower.last >= seq, f"event {seq} in {follower.file}")


def test_follower_that_is_killed_sees_every_event_once(world: World) -> None:
    chosen = vifs(EACH_TIME)
    rounds = PLUGS // EACH_TIME
    restarts = {rounds * (number + 1) // (RESTARTS + 1): number for number in range(RESTARTS)}
    with Vifplugd(world) as daemon:
        steady = [Follower(world, world.directory / "steady"), Follower(world, world.directory / "local", ("--local",))]
        mortal = Mortal(world, world.directory / "mortal", ("--socket", str(daemon.socket)))
        for each in steady:
            each.begin()
        fate = threading.Thread(target=mortal.live_and_die)
        fate.start()
        try:
            for number in range(rounds):
                batch(daemon, plug=[each.document for each in chosen], format="vif")
                batch(daemon, unplug=[each.id for each in chosen])
                if number in restarts:
                    restart(world, daemon, signal.SIGKILL if restarts[number] % 2 else signal.SIGTERM)
        finally:
            mortal.over.set()
            fate.join()
        mortal.begin()
        expected = world.vifplug_json("--local", "events", "--since", "0")["events"]
        for each in (*steady, mortal):
            catches_up(each, len(expected))
            each.kill()
    assert [each["seq"] for each in expected] == list(range(1, len(expected) + 1))
    for request in chosen:
        assert [each["state"] for each in expected if each["vif_id"] == request.id] == LIVES * rounds
    assert [each["state"] for each in expected if each["vif_id"] == OVS.id] == LIVES * RESTARTS
    for each in (*steady, mortal):
        assert each.events == expected, each.file
    assert mortal.deaths >= 2
    print(f"{len(expected)} events, {mortal.deaths} deaths of a follower, {RESTARTS} of the daemon")


# -- waits, by Nova's events ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A world whose VIFs are wired by Neutron's word."""

    world: World
    daemon: Vifplugd

    def tell(self, request: Request, status: str = "completed") -> None:
        """What Neutron says of a VIF."""
        event = {"name": "network-vif-plugged", "server_uuid": INSTANCE, "tag": request.id, "status": status}
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", "X-Auth-Token": TOKEN}
            body = json.dumps({"events": [event]})
            connection.request("POST", "/v2.1/os-server-external-events", body, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()

    @contextlib.contextmanager
    def telling(self, request: Request, seconds: float) -> Iterator[None]:
        """In some time Neutron will say that it is plugged."""
        timer = threading.Timer(seconds, self.tell, [request])
        timer.start()
        try:
            yield
        finally:
            timer.join()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with World() as world:
        world.add_bridge("br-int")
        with Vifplugd(world, {"events": LISTENING}) as daemon:
            yield Place(world, daemon)


Host = DaemonHost | LocalHost


@pytest.fixture(params=["daemon", "local"])
def host(place: Place, request: pytest.FixtureRequest) -> Iterator[Host]:
    config = str(place.world.config_file)
    opened = vifplug.connect(str(place.daemon.socket)) if request.param == "daemon" else vifplug.local(config)
    with opened as found:
        try:
            yield found
        finally:
            found.unplug([HYBRID.id, OVS.id])


@contextlib.contextmanager
def at_once(seconds: float = AT_ONCE_SECONDS) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def states(host: Host) -> list[str]:
    return [host.get(each.id).state for each in (HYBRID, OVS)]


def test_event_that_comes_before_the_body_ends_is_kept(place: Place, host: Host) -> None:
    with contextlib.ExitStack() as measured, host.expect([HYBRID.id, OVS.id], timeout=LONG_SECONDS):
        host.plug([HYBRID.vif])
        place.tell(OVS)  # before there is such a VIF
        host.plug([OVS.vif])
        place.tell(HYBRID)
        measured.enter_context(at_once())
    assert states(host) == ["wired", "wired"]


def test_event_that_comes_later_is_waited_for(place: Place, host: Host) -> None:
    host.plug([HYBRID.vif])
    with place.telling(HYBRID, SOON_SECONDS), at_once(SOON_SECONDS + AT_ONCE_SECONDS):
        (found,) = host.wait([HYBRID.id], "wired", timeout=LONG_SECONDS)
    assert (found.id, found.state, found.mtu) == (HYBRID.id, "wired", 1450)


def test_event_that_never_comes_raises_and_names_the_states(place: Place, host: Host) -> None:
    began = time.monotonic()
    with pytest.raises(errors.NotReached) as caught, host.expect([HYBRID.id, OVS.id], timeout=SOON_SECONDS):
        host.plug([HYBRID.vif])
        place.tell(HYBRID, "in-progress")
        began = time.monotonic()
    assert SOON_SECONDS <= time.monotonic() - began < SOON_SECONDS + AT_ONCE_SECONDS
    output = str(caught.value)
    assert f"VIF {HYBRID.id} is plugged, not wired, and waits for a network-vif-plugged event" in output
    assert f"VIF {OVS.id} is absent" in output


def test_failed_vif_raises(place: Place, host: Host) -> None:
    with at_once(), pytest.raises(errors.VifFailed, match=HYBRID.id), host.expect([HYBRID.id], timeout=LONG_SECONDS):
        host.plug([HYBRID.vif])
        place.tell(HYBRID, "failed")


def test_callback_that_returns_false_stops_the_wait(place: Place, host: Host) -> None:
    told: list[VifReport] = []

    def callback(vif: VifReport) -> bool:
        told.append(vif)
        return False

    with at_once(), host.expect([HYBRID.id, OVS.id], timeout=LONG_SECONDS, error_callback=callback):
        host.plug([HYBRID.vif, OVS.vif])
        place.tell(HYBRID, "failed")
    assert [(vif.id, vif.state, vif.vif_type) for vif in told] == [(HYBRID.id, "failed", "ovs-hybrid")]
    assert "Neutron" in str(told[0].error)


def test_callback_that_goes_on_waits_for_the_others(place: Place, host: Host) -> None:
    told: list[str] = []
    with host.expect([HYBRID.id, OVS.id], timeout=LONG_SECONDS, error_callback=lambda vif: told.append(vif.id)):
        host.plug([HYBRID.vif, OVS.vif])
        place.tell(HYBRID, "failed")
        place.tell(OVS)
    assert told == [HYBRID.id]


def end_early(expectation: vifplug.Expectation, request: Request) -> None:
    expectation.exit_early([request.id])


def test_body_that_ends_early_is_not_waited_for(place: Place, host: Host) -> None:
    with at_once(), host.expect([HYBRID.id], timeout=LONG_SECONDS) as expectation:
        host.plug([HYBRID.vif])
        end_early(expectation, HYBRID)
    assert host.get(HYBRID.id).state == "plugged"


def until(follower: Iterator[Event], state: str) -> list[Event]:
    """Its events up to one of that state."""
    found = []
    for each in follower:
        found.append(each)
        if each.state == state:
            break
    return found


def test_events_are_the_same_in_both_ways(place: Place, host: Host) -> None:
    before = list(host.events())[-1:]
    follower = host.events(follow=True)
    host.plug([HYBRID.vif])
    place.tell(HYBRID)
    found = [until(follower, "wired")]
    host.unplug([HYBRID.id])
    found += [until(follower, "unplugged")]
    told = [each for part in found for each in part]
    assert [(each.vif_id, each.state, each.instance) for each in told] == [
        (HYBRID.id, state, INSTANCE) for state in LIVES
    ]
    assert told == list(host.events(since=before[0].seq if before else 0))
    with pytest.raises(errors.EventsLost):
        host.events(since=10**9)


def test_wait_outlives_the_daemon(place: Place) -> None:
    place.world.vifplug("plug", "-", input=HYBRID.text)
    waiting = place.world.begin_vifplug("-o", "json", "wait", HYBRID.id, "--for", "wired", "--timeout", "20")
    time.sleep(SOON_SECONDS)
    place.daemon.stop(signal.SIGKILL)
    time.sleep(SOON_SECONDS)
    place.daemon.start()
    assert waiting.poll() is None
    wait_until(lambda: is_told(place, HYBRID), "the listener")
    out, output = waiting.communicate(timeout=LONG_SECONDS)
    assert (waiting.returncode, output) == (0, "")
    assert json.loads(out)["vifs"][0]["state"] == "wired"
    place.world.vifplug("unplug", HYBRID.id)


def is_told(place: Place, request: Request) -> bool:
    try:
        place.tell(request)
    except OSError:
        return False
    return True


def test_command_line_tells_what_is_not_there(place: Place) -> None:
    unknown = place.world.vifplug("wait", OVS.id, "--timeout", "9", check=False)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert f"VIF {OVS.id} is not plugged on this host" in unknown.stderr
    for way in ((), ("--local",)):
        words = ("plug", "-", "--wait", "wired", "--timeout", "0.2")
        late = place.world.vifplug(*way, *words, input=OVS.text, check=False)
        assert (late.returncode, late.stdout, late.stderr.count("\n")) == (5, "", 1)
        assert "is plugged, not wired, and waits for a network-vif-plugged event" in late.stderr
        assert "; it stays plugged" in late.stderr
    assert place.world.vifplug("wait", OVS.id, "--for", "plugged", "--timeout", "0").returncode == 0
    place.world.vifplug("unplug", OVS.id)
