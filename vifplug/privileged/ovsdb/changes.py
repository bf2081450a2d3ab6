"""Changes of OVSDB: numbered names of changed ports and bridges, kept for a while for followers that missed some."""

from __future__ import annotations

import collections
import itertools
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vifplug import naming
from vifplug.privileged.ovsdb import bridges
from vifplug.privileged.ovsdb.values import first, referred, value_of
from vifplug.resources import ovs_bridge

KEPT = 20_000
"""Changes kept. A follower that missed more compares everything."""

PORT, BRIDGE, OWNER = "port", "bridge", "owner"


class Changes:
    """What changed in a replica of OVSDB, in order.

    A number is a reader's position; a generation is the replica that the number belongs to: in a new one (another
    connection, another database) everything may have changed.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._generation = secrets.randbits(62)
        self._number = 0
        self._kept: collections.deque[tuple[int, str, str]] = collections.deque(maxlen=KEPT)
        self._connected = False

    def add(self, named: Iterable[tuple[str, str]]) -> None:
        """Record a change of each of these: a kind and a name."""
        with self._condition:
            for kind, name in named:
                self._number += 1
                self._kept.append((self._number, kind, name))
            self._condition.notify_all()

    def connected(self, connected: bool, *, anew: bool = False) -> None:
        """Record whether the replica follows the server; ``anew`` if it may have missed something."""
        with self._condition:
            if anew:
                self._generation = secrets.randbits(62)
                self._kept.clear()
            if anew or connected != self._connected:
                self._connected = connected
                self._condition.notify_all()

    def since(self, generation: int, number: int, connected: bool, seconds: float) -> dict[str, Any]:
        """Changes after ``number`` of ``generation``, or a change of whether the server answers; waits for either.

        :returns: ``generation``, ``number`` and ``connected`` for the next call; ``everything`` if this reader may have
            missed some; else the names by kind.
        """
        deadline = time.monotonic() + seconds
        with self._condition:
            while (generation, number, connected) == (self._generation, self._number, self._connected):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._condition.wait(left)
            oldest = self._kept[0][0] if self._kept else self._number + 1
            everything = generation != self._generation or number < oldest - 1
            named: dict[str, set[str]] = {PORT: set(), BRIDGE: set(), OWNER: set()}
            if not everything:
                for _number, kind, name in self._after(number):
                    named[kind].add(name)
            return {
                "generation": self._generation,
                "number": self._number,
                "connected": self._connected,
                "everything": everything,
                **{kind: sorted(names) for kind, names in named.items()},
            }

    def _after(self, number: int) -> Iterator[tuple[int, str, str]]:
        return itertools.takewhile(lambda change: change[0] > number, reversed(self._kept))


def named(event: str, row: Any, updates: Any) -> list[tuple[str, str]]:
    """The kinds and names that a change of a row affects.

    :param updates: the old values of the columns that changed, as the IDL's ``notify`` gives them.
    """
    table = row._table.name
    if table in ("Port", "Interface"):
        return [(PORT, first(row, "name"))]
    # A row of an update has the old values of the changed columns only.
    before = updates._data if event == "update" else {}
    if table == "QoS":
        owners = {value_of(row, "external_ids", naming.OWNER_KEY)}
        owners |= {value_of(updates, "external_ids", naming.OWNER_KEY)} if "external_ids" in before else set()
        return [(OWNER, owner) for owner in sorted(filter(None, owners))]
    if table == "Open_vSwitch" and "external_ids" in before:
        if bridges.ovn_marks(updates) == bridges.ovn_marks(row):
            return []  # it contains hundreds of keys of other programs, some written every few seconds
        # Another control plane may wire their ports now.
        return [(BRIDGE, first(bridge, "name")) for bridge in referred(row, "bridges", row._idl.tables, "Bridge")]
    if table != "Bridge":
        return []
    if event == "update" and not (_concerns_all_ports(row, before) or _is_changed(row, updates)):
        return _moved(row, updates)
    return [(BRIDGE, first(row, "name"))]


def _concerns_all_ports(bridge: Any, before: Mapping[str, Any]) -> bool:
    """Whether a change of a bridge's columns affects every port on it: its datapath, or its control plane."""
    return "datapath_type" in before or bridges.is_agents(bridge) != bridges.is_agents(bridge, before)


_OWN = frozenset({*ovs_bridge.SETTINGS, "external_ids"})


def _is_changed(bridge: Any, updates: Any) -> bool:
    """Whether a bridge that vifplug may have made has lost its mark, or a value from its creation.

    OVN has hundreds of keys in the external_ids of br-int, and writes one for every port.
    """
    before = updates._data
    if not (_OWN & before.keys() and naming.may_be_made(first(bridge, "name"))):
        return False
    if before.keys() & set(ovs_bridge.SETTINGS):
        return True
    marks = {value_of(row, "external_ids", naming.OWNER_KEY) for row in (bridge, updates)}
    return len(marks) > 1


def _moved(row: Any, updates: Any) -> list[tuple[str, str]]:
    """Existing ports that joined or left a bridge: their own rows do not show it."""
    before = updates._data.get("ports")
    after = row._data.get("ports")
    if before is None or after is None:
        return []
    ports = row._idl.tables["Port"].rows
    changed = before.values.keys() ^ after.values.keys()
    return [(PORT, first(ports[atom.value], "name")) for atom in changed if atom.value in ports]
