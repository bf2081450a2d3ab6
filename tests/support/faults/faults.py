"""Faults: a plug interrupted at a chosen action, processes killed at a chosen moment, and the expected rest.

``cut`` counts actions of the plan over all stages. The result is read with ``ip``, OVSDB's own client and SQLite, never
with the code under test.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast
from unittest import mock

import vifplug
from tests.support.vifs import device as device_of_id
from tests.support.world.daemons import wait_until
from tests.support.world.world import Row, World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.engine.host import Settle
from vifplug.engine.plan.actions import Action
from vifplug.linux.host import LinuxHost
from vifplug.model.vif import Vif
from vifplug.privileged import apply as privileged
from vifplug.resources.observed import Observed
from vifplug.store.locks import LockFile

NETWORK = "5d9f0a44-7f2b-4c36-9d2e-aa53a1f0c001"
OTHER_NETWORK = "77aa0f1e-7f2b-4c36-9d2e-aa53a1f0c002"
TYPES = ("ovs-hybrid", "ovs", "bridge")
"""The VIFs of the batches."""
SINGLE_TYPES = (*TYPES, "tap")
CHILD_SECONDS = 30.0
CRASHED, INTERRUPTED = 70, 130
CHANGE_SECONDS = 10.0

NETWORK_BRIDGE = f"brq{NETWORK}"[:14]
TRUNK_BRIDGE = f"tbr-{NETWORK}"[:14]

Deed = Callable[[LinuxHost], None]


class Apply(Protocol):
    """``LinuxHost.apply``, or its replacement."""

    def __call__(
        self, host: LinuxHost, stages: Sequence[Sequence[Action]], settle: Settle | None = None
    ) -> Observed: ...


def vif(vif_type: str, number: int = 1, **more: Any) -> Vif:
    """A VIF of that type; those of type ``bridge`` share one network."""
    fields: dict[str, Any] = {
        "id": f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa",
        "vif_type": vif_type,
        "address": f"fa:16:3e:00:00:{number:02x}",
        "network": {"id": NETWORK} if vif_type == "bridge" else {},
    }
    return Vif.model_validate(fields | more)


def device(prefix: str, of: Vif) -> str:
    """Nova's rule: prefix and id, cut to 14 characters."""
    return device_of_id(prefix, of.id)


def batch(count: int = 3) -> list[Vif]:
    """VIFs of all types in turn."""
    return [vif(TYPES[number % len(TYPES)], number + 1) for number in range(count)]


AMONG_MANY = "among-many"
"""The case in which the port comes before its links, as on a host of many (conftest's ``crowd``)."""
NOTHING_MADE = "nothing-made"
"""The case of VIFs for which nothing is made, beside one with a tap and a port."""
IN_PIECES = "in-pieces"
"""The case of a plan that is too long for one call (conftest's ``pieces``)."""
CASES: Mapping[str, Sequence[Vif]] = {
    **{kind: [vif(kind)] for kind in SINGLE_TYPES},
    "batch": batch(),
    "trunk": [vif("ovs", number, network={"bridge": TRUNK_BRIDGE}) for number in (1, 2)],
    "own-bridge": [vif("ovs", per_port_bridge=True)],
    AMONG_MANY: [vif("ovs-hybrid"), vif("ovs", 2)],
    NOTHING_MADE: [vif("external"), vif("ovs", 2), vif("ovs", 3, create_port=False)],
    IN_PIECES: [vif("ovs-hybrid"), vif("ovs", 2)],
}


def is_of(key: str, of: Vif) -> bool:
    """Whether a snapshot's entry belongs to that VIF alone."""
    return of.id in key or any(key.endswith(f" {device(prefix, of)}") for prefix in ("qbr", "qvb", "qvo", "tap", "pb"))


def document(vifs: Sequence[Vif]) -> str:
    """VIFs as a person writes them."""
    return json.dumps([one.model_dump(mode="json", exclude_none=True) for one in vifs])


def plan_length(world: World, vifs: Sequence[Vif]) -> int:
    """The present number of actions of plugging them."""
    with vifplug.local(str(world.config_file)) as host:
        return len(host.plan(vifs).actions)


@contextlib.contextmanager
def _stage_by_stage(
    on_stage: Callable[[LinuxHost, Sequence[Action], Apply], None],
    on_settle: Callable[[LinuxHost, Settle], None] = lambda _host, _settle: None,
) -> Iterator[None]:
    """What ``apply`` does, with every stage a call of its own that can be cut off, and the wait behind them another."""
    real = LinuxHost.apply

    def apply(host: LinuxHost, stages: Sequence[Sequence[Action]], settle: Settle | None = None) -> Observed:
        for stage in stages:
            on_stage(host, stage, cast(Apply, real))
        if settle is None:
            return Observed()
        on_settle(host, settle)
        return real(host, (), settle)

    with mock.patch.object(LinuxHost, "apply", apply):
        yield


@contextlib.contextmanager
def cut(after: int, deed: Deed) -> Iterator[None]:
    """Let that many actions through, of the stage they end in too; then, once, ``deed`` in place of the rest of it.

    A deed that returns lets the rest of the stage go on.
    """
    left = [after]

    def on_stage(host: LinuxHost, stage: Sequence[Action], real: Apply) -> None:
        if left[0] < 0 or left[0] > len(stage):
            left[0] -= len(stage)
            real(host, [stage])
            return
        done, rest = stage[: left[0]], stage[left[0] :]
        left[0] = -1
        if done:
            real(host, [done])
        deed(host)
        if rest:
            real(host, [rest])

    with _stage_by_stage(on_stage):
        yield


@contextlib.contextmanager
def at_the_one_call(deed: Deed) -> Iterator[None]:
    """A deed when all of a plug is about to be asked of the helper in one call, which then is."""
    real = LinuxHost.apply

    def apply(host: LinuxHost, stages: Sequence[Sequence[Action]], settle: Settle | None = None) -> Observed:
        if settle is not None and settle.scope is not None:
            deed(host)
        return real(host, stages, settle)

    with mock.patch.object(LinuxHost, "apply", apply):
        yield


@contextlib.contextmanager
def before(what: str, deed: Callable[[], object]) -> Iterator[None]:
    """Another program acts between what vifplug saw and what it does.

    :param what: its first stage of ``links``, or of ``ports``; or ``settle``, when all of it is done.
    """
    left = [deed]

    def on_stage(host: LinuxHost, stage: Sequence[Action], real: Apply) -> None:
        if left and stage[0].plane == what:
            left.pop()()
        real(host, [stage])

    def on_settle(_host: LinuxHost, settle: Settle) -> None:
        if left and what == "settle" and settle.opening:
            left.pop()()

    with _stage_by_stage(on_stage, on_settle):
        yield
    assert not left, f"nothing came to {what}"


def change(host: LocalHost, plane: str, operations: Sequence[Mapping[str, Any]]) -> None:
    """Ask the privileged side for changes of one plane, as a captured worker could."""
    linux_host(host)._channel.call(privileged.apply, [(plane, operations)], timeout=CHANGE_SECONDS)


def raising(error: BaseException) -> Deed:
    """The deed that fails."""

    def deed(_host: LinuxHost) -> None:
        raise error

    return deed


def kill_group(_host: LinuxHost) -> None:
    """The deed that kills caller and helper."""
    os.killpg(0, signal.SIGKILL)


def kill_caller(_host: LinuxHost) -> None:
    """The deed that kills the caller, whom the helper outlives for a moment."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_helper(host: LinuxHost) -> None:
    """The deed that kills the helper alone."""
    os.kill(host.helper_pid, signal.SIGKILL)


def killed(
    opened: Callable[[], contextlib.AbstractContextManager[LocalHost]], verb: Callable[[LocalHost], object], after: int
) -> None:
    """A verb in a process of its own, which is killed with its helper after some steps.

    :param opened: the library, in that process.
    """

    def work() -> None:
        with opened() as host, cut(after, kill_group):
            verb(host)

    status = in_child(work)
    assert status in (-signal.SIGKILL, 0), status


def during_next_verb(deed: Deed, seconds: float) -> Deed:
    """The deed, that long after the rest of the stage was begun."""

    def later(host: LinuxHost) -> None:
        timer = threading.Timer(seconds, deed, (host,))
        timer.daemon = True
        timer.start()

    return later


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal every process of a group."""
    os.killpg(leader, number)


def in_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a process group of its own; its exit status, or the negative of the signal that killed it."""
    return join_children([start_child(work)])[0]


def start_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a process group of its own; its pid."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        status = CRASHED
        try:
            work()
            status = 0
        except errors.VifplugError as error:
            status = error.exit_code
            with contextlib.suppress(OSError):  # stderr may be a file, and the child under a limit for those
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            status = INTERRUPTED
        except SystemExit as done:
            status = int(done.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.setpgid(child, child)  # the first to arrive
    return child


def join_children(children: Sequence[int]) -> list[int]:
    """Their exit statuses, or the negative of the signal that killed one."""
    ended: dict[int, int] = {}
    try:
        wait_until(lambda: _reap(children, ended), "the end of children", CHILD_SECONDS)
    finally:
        for child in set(children) - set(ended):
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return [os.waitstatus_to_exitcode(ended[child]) for child in children]


def _reap(children: Sequence[int], ended: dict[int, int]) -> bool:
    for child in set(children) - set(ended):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            ended[pid] = status
    return len(ended) == len(children)


def children() -> list[int]:
    """The pids of this process's children, Open vSwitch's daemons and the test run's own forkers aside."""
    found = []
    for pid in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        found += [int(one) for one in pid.read_text().split()]
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in found}
    others = ("ovs", "tests.support.world.forked")
    return [pid for pid, command in commands.items() if not any(other in command for other in others)]


@contextlib.contextmanager
def locked(world: World, identities: Sequence[str]) -> Iterator[None]:
    """Work on these VIFs as another user."""
    with LockFile(str(world.state_dir / "locks")).held(identities, 0):
        yield


def linux_host(host: LocalHost) -> LinuxHost:
    """The real host behind the library."""
    real = host._context.host
    assert isinstance(real, LinuxHost)
    return real


def differences(found: Row | None, wanted: Row | None, aside: str = "") -> dict[str, tuple[Any, Any]] | str:
    """The differences of a snapshot's entry, without one column."""
    if found is None or wanted is None:
        return "" if found is wanted else "missing" if found is None else "too many"
    keys = [key for key in found | wanted if key != aside and found.get(key) != wanted.get(key)]
    return {key: (found.get(key), wanted.get(key)) for key in keys}


def stored(world: World) -> dict[str, list[str]]:
    """The ids in each table of the store; empty tables are left out."""
    path = world.state_dir / "vifplug.db"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = ("records", "intents", "claims")
        found = {table: database.execute(f"SELECT vif_id FROM {table} ORDER BY 1").fetchall() for table in tables}
    return {table: [row[0] for row in rows] for table, rows in found.items() if rows}


def vexed_ports(world: World) -> list[Row]:
    """Interfaces that vswitchd could not open."""
    interfaces = world.rows("Interface", "name", "ofport", "error")
    return [row for row in interfaces if row["error"] or not isinstance(row["ofport"], int) or row["ofport"] < 0]
