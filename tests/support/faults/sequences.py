"""Random sequences of commands, damage and restarts, each step compared with the model.

A step that fails raises AssertionError with the seed and the steps before it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import vifplug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.faults.drifts import FOREIGN, Drift
from tests.support.faults.model import DRIFTS, Model
from tests.support.vifs import Request
from tests.support.world.daemons import SCHEMA, wait_until
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.api.remote import DaemonHost

CONVERGE_SECONDS = 60.0
_KILL_SECONDS_MAX = 0.04
_LOOKS, _LOOK_PAUSE_SECONDS = 5, 0.1
_NEEDS_OTHERS = ("brq deleted", "guest's mac on another port")
"""Drifts that need a host on a bridge, or after which its owner has to put it back there."""

Host = LocalHost | DaemonHost


@dataclass
class Sequence:
    """One random sequence over a model."""

    model: Model
    chance: random.Random
    daemon: Vifplugd | None = None
    """The daemon that serves and repairs; None: every command runs in this process."""
    drifted: dict[str, Drift] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def host(self) -> Iterator[Host]:
        """The library's host, local or the daemon's."""
        if self.daemon is None:
            with vifplug.local(str(self.model.world.config_file)) as local:
                yield local
        else:
            # As every client should: a daemon after the kill of one of its processes answers again in a moment.
            with vifplug.connect(str(self.daemon.socket), retry=CONVERGE_SECONDS) as remote:
                yield remote

    def run(self, length: int) -> None:
        """That many random steps, then everything is unplugged."""
        try:
            for _ in range(length):
                self.step()
            self.unplug_all()
        except Exception as error:
            raise AssertionError(f"{error}\nafter the steps:\n" + "\n".join(self.steps)) from error

    def step(self) -> None:
        """One random step, and its expected result."""
        steps: list[tuple[int, Callable[[], None]]] = [
            (6, self.plug),
            (3, self.unplug),
            (5, self.inflict),
            (4, self.repair),
            (1, self.collect),
            (2, self.boot_or_end),
            (2, self.break_off),
            (1, self.copied_mark),
            (1, self.name_taken),
            (1, self.restart_vswitchd),
            (1, self.restart_daemon if self.daemon else self.lose_store),
        ]
        if self.chance.random() < 0.03:
            steps = [(1, self.wipe_ovs)]
        weights = [weight for weight, _step in steps]
        (chosen,) = self.chance.choices([step for _weight, step in steps], weights)
        chosen()
        assert not (changed := self.model.foreign_change()), f"a foreign thing changed: {changed}"
        self.compare()

    def note(self, text: str) -> None:
        """Remember a step for the error."""
        self.steps.append(text)

    # -- expected results ---------------------------------------------------------------------------------

    def compare(self) -> None:
        """``check`` reports every difference, and frames cross every VIF that it calls clean."""
        if self.daemon is not None and not self.drifted:
            self.await_convergence()
        with self.host() as host:
            report = host.check()
            recorded = {vif.id for vif in host.list()}
        assert recorded == set(self.model.plugged), f"recorded: {recorded}"
        divergence = self.model.divergence()
        if divergence:
            assert not report.clean, f"called clean, and is not: {divergence}"
        dirty = {check.id for check in report.vifs if check.drift}
        sound = [request for request in self.plugged() if request.id not in dirty]
        if sound:
            request = self.chance.choice(sound)
            assert not (lost := self.model.lost_frames(request)), (
                f"{request.type} {request.id} is clean, but lost: {lost}"
            )

    def must_be_right(self) -> None:
        """The world is what the model expects, and check agrees."""
        divergence = self.model.divergence()
        assert not divergence, f"divergence: {divergence}"
        with self.host() as host:
            report = host.check()
        assert report.clean, f"not called clean: {report.as_json()}"

    def await_convergence(self) -> None:
        """The daemon repairs everything that drifted."""
        wait_until(lambda: not self.model.divergence(), "the daemon's repairs", CONVERGE_SECONDS)
        self.drifted.clear()

    def plugged(self) -> list[Request]:
        """The requests of the plugged VIFs."""
        return [request for request in self.model.requests if request.id in self.model.plugged]

    def absent(self) -> list[Request]:
        """The requests of the others."""
        return [request for request in self.model.requests if request.id not in self.model.plugged]

    # -- commands ------------------------------------------------------------------------------------------

    def plug(self) -> None:
        """One VIF or several, new ones or plugged ones, the latter perhaps with another MTU."""
        chosen = self.chance.sample(self.model.requests, self.chance.randint(1, 3))
        mtus = {request.id: self.chance.choice(self.model.mtus(request)) for request in chosen}
        self.note(f"plug {mtus}")
        with self.host() as host:
            host.plug([self.model.vif(request, mtus[request.id]) for request in chosen])
            self.model.plugged |= mtus
            unseen = [each.id for each in chosen if each.id in self.drifted and self.drifted[each.id].repair_only]
            if unseen:
                self.note(f"repair {unseen}: a plug does not look at it")
                host.repair(unseen)
        self.put_right(chosen)

    def put_right(self, requests: list[Request]) -> None:
        """After a plug or a repair of some VIFs: other programs do their part, and no drift is left."""
        for request in requests:
            if (drift := self.end_drift(request)) is not None:
                self.restore_guest(request, drift)
        if not self.drifted:
            self.must_be_right()

    def end_drift(self, request: Request) -> Drift | None:
        """A VIF's drift is over, and what it made besides the VIF is deleted."""
        if (drift := self.drifted.pop(request.id, None)) is not None:
            drift.lift(self.model.world, request)
        return drift

    def restore_guest(self, request: Request, drift: Drift) -> None:
        """A guest whose tap was deleted is restarted; libvirt's tap returns to its bridge."""
        if request.id in self.model.guests:
            if request.type == "ovs-hybrid":
                drift.help(self.model.world, request)
            else:
                self.model.boot(request)

    def unplug(self) -> None:
        """Some VIFs, plugged or not; most guests end before."""
        chosen = self.chance.sample(self.model.requests, self.chance.randint(1, 2))
        for request in chosen:
            if self.chance.random() < 0.8:
                self.model.end_guest(request)
        self.note(f"unplug {[request.id for request in chosen]}")
        with self.host() as host:
            host.unplug([request.id for request in chosen])
        self.forget(chosen)
        left = [key for request in chosen for key in self.model.look() if request.id[:11] in key]
        assert not left, f"left by an unplug: {left}"

    def forget(self, requests: list[Request]) -> None:
        """They are no longer plugged."""
        for request in requests:
            self.model.end_guest(request)
            self.model.plugged.pop(request.id, None)
            self.end_drift_of_absent(request)

    def end_drift_of_absent(self, request: Request) -> None:
        """An unplugged VIF's drift is over, and what another program owns of it is deleted."""
        if (drift := self.end_drift(request)) is not None and drift.left:
            drift.take_left(self.model.world, request)

    def unplug_all(self) -> None:
        """The end: nothing of ours is left, and everything foreign is as before."""
        self.note("unplug all")
        for request in self.model.requests:
            self.model.end_guest(request)
        with self.host() as host:
            host.unplug([request.id for request in self.model.requests])
        self.forget(self.model.requests)
        self.must_be_right()

    def repair(self) -> None:
        """All VIFs, or one."""
        chosen = self.plugged()
        if chosen and self.chance.random() < 0.4:
            chosen = [self.chance.choice(chosen)]
        self.note(f"repair {[request.id for request in chosen]}")
        with self.host() as host:
            host.repair([request.id for request in chosen])
        self.put_right(chosen)

    def collect(self) -> None:
        """gc finds nothing, and deletes nothing."""
        self.note("gc --delete")
        with self.host() as host:
            report = host.gc(delete=True)
        assert not report.orphans, f"orphans: {report.orphans}"

    def boot_or_end(self) -> None:
        """A guest starts or ends."""
        if not (plugged := [request for request in self.plugged() if request.id not in self.drifted]):
            return
        request = self.chance.choice(plugged)
        self.note(f"guest of {request.id}")
        if request.id in self.model.guests:
            self.model.end_guest(request)
        else:
            self.model.boot(request)

    def break_off(self) -> None:
        """A command is killed; the next one leaves each VIF plugged or absent, never in between."""
        chosen = self.chance.sample(self.model.requests, self.chance.randint(1, 3))
        vifs = [self.model.vif(request, self.model.plugged.get(request.id, 1450)) for request in chosen]
        ids, verb = [vif.id for vif in vifs], self.chance.choice(("plug", "unplug", "repair"))
        if verb == "repair":
            ids = [vif_id for vif_id in ids if vif_id in self.model.plugged]
        for request in chosen:
            self.model.end_guest(request)
        self.note(f"{verb} {ids} killed")
        calls: dict[str, Callable[[Host], Any]] = {
            "plug": lambda host: host.plug(vifs),
            "unplug": lambda host: host.unplug(ids),
            "repair": lambda host: host.repair(ids),
        }
        with vifplug.local(str(self.model.world.config_file)):
            pass  # everything is imported, so that the kill hits the work
        child = faults.start_child(lambda: self._called(calls[verb]))
        with contextlib.suppress(ProcessLookupError):
            signal_after(child, self.chance.uniform(0, _KILL_SECONDS_MAX) + (0.05 if self.daemon is None else 0))
        faults.join_children([child])
        if self.daemon is not None:
            wait_until(self._is_at_rest, "the daemon's work on what was asked", CONVERGE_SECONDS)
        with self.host() as host:
            recorded = {vif.id for vif in host.list()}
        for request, vif in zip(chosen, vifs, strict=True):
            if vif.id in recorded:
                self.model.plugged[vif.id] = vif.network.mtu or 1450
            else:
                self.model.plugged.pop(vif.id, None)
                self.end_drift_of_absent(request)
        if not self.drifted and self.daemon is None:
            self.must_be_right()

    def _called(self, call: Callable[[Host], Any]) -> None:
        with self.host() as host:
            call(host)

    def _is_at_rest(self) -> bool:
        """Whether the daemon works on nothing, and will not begin what a killed client has sent."""
        for _look in range(_LOOKS):
            if self._busy():
                return False
            time.sleep(_LOOK_PAUSE_SECONDS)
        return True

    def _busy(self) -> bool:
        with self.host() as host:
            return any(vif.state in ("plugging", "unplugging") for vif in host.list())

    # -- other programs -----------------------------------------------------------------------------------

    def inflict(self) -> None:
        """A single drift of a plugged VIF that has none."""
        if not (sound := [request for request in self.plugged() if request.id not in self.drifted]):
            return
        request = self.chance.choice(sound)
        drift = self.chance.choice([each for each in DRIFTS[request.type] if each.name not in _NEEDS_OTHERS])
        shared = "brq" in drift.name
        if shared and any(other.type == "bridge" for other in self.plugged() if other.id in self.drifted):
            return
        if drift.clean_up and any(other.clean_up for other in self.drifted.values()):
            return  # the resource that both make besides the VIF has the same name
        if request.id not in self.model.guests and _needs_guest(request, drift):
            self.model.boot(request)
            # The carrier comes a moment later; until then the kernel refuses a bridge port a state (br_set_state). A
            # tap that had it from the beginning is UNKNOWN.
            wait_until(lambda: self._operstate(request.tap) in ("UP", "UNKNOWN"), "the tap's carrier")
        self.note(f"drift of {request.id}: {drift.name}")
        drift.inflict(self.model.world, request)
        if self.daemon is not None:
            with self.host() as host:
                host.repair([request.id])  # a change without event would wait for the next comparison of everything
            drift.lift(self.model.world, request)
            self.restore_guest(request, drift)
            return
        self.drifted[request.id] = drift
        with self.host() as host:
            report = host.check().as_json()
        named = {(item["subject"], item["attribute"]) for vif in report["vifs"] for item in vif["drift"]}
        assert named >= drift.named(request), f"{drift.name}: check named {named}"

    def _operstate(self, name: str) -> str:
        (link,) = self.model.world.ip("link", "show", "dev", name)
        return str(link["operstate"])

    def copied_mark(self) -> None:
        """A foreign port with a copy of our mark outlives every command, and check reports it."""
        request, world = self.chance.choice(self.model.requests), self.model.world
        world.vsctl(
            *("add-port", "br-int", "copy0", "--", "set", "Interface", "copy0", "type=internal"),
            *("--", "set", "Port", "copy0", f"external_ids:vifplug-vif={request.id}"),
        )
        before = world.row("Port", "copy0")
        with self.host() as host:
            assert not host.check().clean, "a copied mark is called clean"
            self.note(f"copied mark of {request.id}; unplug, gc")
            self.model.end_guest(request)
            host.unplug([request.id])
            host.gc(delete=True)
        self.forget([request])
        after = world.row("Port", "copy0")
        assert after is not None, "a foreign port with a copy of our mark was deleted"
        assert before is not None
        assert {k: v for k, v in after.items() if k != "_version"} == {
            k: v for k, v in before.items() if k != "_version"
        }
        world.vsctl("del-port", "copy0")

    def name_taken(self) -> None:
        """A foreign device under the name of a device that a plug would make: Conflict, and nothing is changed."""
        if not (absent := self.absent()):
            return
        request, world = self.chance.choice(absent), self.model.world
        self.model.end_guest(request)
        name = request.qvo if request.type == "ovs-hybrid" else request.tap
        world.ip("link", "add", name, "type", "bridge")
        before = world.snapshot()
        self.note(f"plug {request.id} with {name} taken")
        try:
            with self.host() as host:
                host.plug([self.model.vif(request, 1450)])
            raise AssertionError(f"{name} is a foreign bridge, and the plug went through")
        except errors.Conflict:
            pass
        assert world.snapshot() == before, "a refused plug touched something"
        world.ip("link", "delete", name)

    def restart_vswitchd(self) -> None:
        """In an orderly way, or killed."""
        number = self.chance.choice((signal.SIGTERM, signal.SIGKILL))
        self.note(f"vswitchd restarted by {number.name}")
        self.model.world.stop_vswitchd(number)
        self.model.world.start_vswitchd()

    def wipe_ovs(self) -> None:
        """Open vSwitch's database is new and empty, except for the bridges and the foreign ports."""
        self.note("OVSDB wiped")
        world = self.model.world
        world.stop_vswitchd()
        world.ovsdb.stop()
        (world.directory / "conf.db").unlink()
        for lock in world.directory.glob(".conf.db.~lock~"):
            lock.unlink()
        world.run("ovsdb-tool", "create", str(world.directory / "conf.db"), str(SCHEMA))
        world.socket.unlink(missing_ok=True)
        world.ovsdb.start()
        wait_until(world.socket.exists, "OVSDB's socket")
        world.vsctl("--no-wait", "init")
        world.start_vswitchd()
        for bridge in ("br-int", FOREIGN):
            world.add_bridge(bridge)
        self.model.attach_host()
        with self.host() as host:
            host.repair([request.id for request in self.plugged()])
        for request in self.plugged():
            if (drift := self.end_drift(request)) is not None:
                self.restore_guest(request, drift)
        if self.daemon is None:
            self.must_be_right()

    def restart_daemon(self) -> None:
        """The parent ends in an orderly way or is killed; or the worker, or the helper, dies."""
        assert self.daemon is not None
        way = self.chance.choice(("TERM", "KILL", "worker", "helper"))
        self.note(f"daemon: {way}")
        if way in ("TERM", "KILL"):
            self.daemon.stop(signal.SIGTERM if way == "TERM" else signal.SIGKILL)
            self.daemon.start()
        else:
            victim = self.daemon.worker() if way == "worker" else self.daemon.helper()
            os.kill(victim, signal.SIGKILL)
            self.daemon.await_answer(CONVERGE_SECONDS)

    def lose_store(self) -> None:
        """The store is lost: everything is an orphan, and gc deletes exactly that."""
        if self.drifted:
            return  # a port without mark and without record is like os-vif's, and stays
        self.note("store lost; gc --delete")
        for request in self.model.requests:
            self.model.end_guest(request)
        shutil.rmtree(self.model.world.state_dir)
        with self.host() as host:
            assert host.check().clean is not bool(self.model.plugged)
            host.gc(delete=True)
        self.forget(self.model.requests)
        self.must_be_right()


def _needs_guest(request: Request, drift: Drift) -> bool:
    """Whether a drift is one only while a guest runs: its VMM makes the tap, or its tap's port is up by its carrier."""
    commands = (*drift.commands, *drift.others_help)
    if request.type == "ovs-hybrid":
        return any("{tap}" in command for command in commands)
    return any("bridge link set" in command and " state " in command for command in commands)


def signal_after(leader: int, seconds: float) -> None:
    """Kill a process group some time from now."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: False, "the moment", seconds)
    faults.signal_group(leader, signal.SIGKILL)
