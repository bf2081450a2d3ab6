"""The engine's interface to a host. The real host is ``vifplug.linux.host``; ``vifplug.testing.memory`` has one in
memory, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from vifplug.engine.plan.actions import Action
from vifplug.resources.link import Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to observe."""

    links: frozenset[str] = field(default_factory=frozenset)
    members_of: frozenset[str] = field(default_factory=frozenset)
    """Linux bridges whose members are needed."""
    ports: frozenset[str] = field(default_factory=frozenset)
    iface_ids: frozenset[str] = field(default_factory=frozenset)
    owners: frozenset[str] = field(default_factory=frozenset)
    """Owners of Port and QoS rows."""
    everything: bool = False
    """All links, and every row with a mark of ours."""
    ovs: bool = True
    """False: do not ask OVSDB."""
    recorded: Mapping[str, Link] = field(default_factory=dict)
    """Links by name, with their recorded ifindexes: a link that is missing under its name is searched by its
    ifindex."""
    filters: Mapping[str, Filter] = field(default_factory=dict)
    """Filters by device, as they should be."""
    functions: frozenset[str] = field(default_factory=frozenset)
    """PCI functions whose physical functions are requested."""
    function_kinds: Mapping[str, str] = field(default_factory=dict)
    """The PCI addresses among ``links``, each with the kind that the function is read as. Its network device, and the
    port of that name, are read too."""
    uplinks: frozenset[str] = frozenset()
    """Links among ``links`` that are to join a network's bridge. If one is missing, every link of its kind is read; of
    one that is on no bridge, the addresses and routes."""
    local_addresses: frozenset[str] = frozenset()
    """Addresses of the host whose devices are read."""
    thorough: bool = False
    """Include what needs more messages: forwarding tables, and the ingress side of queueing disciplines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """What to wait for, and what to observe, after actions are carried out."""

    opening: Collection[str] = ()
    """Ports whose devices exist by then: vswitchd has opened each of them, or has tried and failed."""
    seconds: float | None = None
    """Maximum time that vswitchd may take; by default the configured time."""
    scope: Scope | None = None
    """What to observe then."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An observation that has begun: OVSDB has been asked, and its answer is on the way."""

    scope: Scope
    observe: Callable[[], Observed]
    """The host's state, with the rows as of when OVSDB was asked, or later.

    :raises HostError: it cannot be read.
    """
    began: float = field(default_factory=time.monotonic)
    """When OVSDB was asked, by the monotonic clock."""


class Host(Protocol):
    """A host's links and OVS ports."""

    def asking(self, scope: Scope) -> AbstractContextManager[Asked | None]:
        """Begin an observation, so that the caller can do other work meanwhile.

        :returns: as a context; None if it cannot begin now, or if there is nothing to wait for.
        """
        ...

    def observe(self, scope: Scope) -> Observed:
        """The host's present state.

        :raises HostError: it cannot be read.
        """
        ...

    def apply(self, stages: Sequence[Sequence[Action]], settle: Settle | None = None) -> Observed:
        """Carry out stages, each of actions of ONE plane: links in few sends, ports in one transaction.

        :param settle: return once vswitchd has carried out this and this thread's earlier transactions.
        :returns: what was observed then; nothing without a scope.
        :raises TimedOut: vswitchd has not carried them out in time. What was done remains.
        :raises VifplugError: for the first action that failed, with the action's text as ``step``. Links made before it
            remain; ports are changed all or none.
        """
        ...


class Lifecycle(Protocol):
    """The privileged side's process, and the session that it belongs to."""

    @property
    def session(self) -> int:
        """The number of the session whose lock this process and its privileged side hold."""
        ...

    def ensure_running(self) -> None:
        """Restart the privileged side, if it died since the last call.

        :raises HelperDied: it cannot be started.
        """
        ...


class RunningHost(Host, Lifecycle, Protocol):
    """A host, and the process that carries out its changes."""
