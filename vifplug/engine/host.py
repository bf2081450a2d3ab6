"""The seam: what the engine needs of a host. The real one is ``vifplug.linux.host``; the one in memory, for
tests, is ``vifplug.testing.memory``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vifplug.engine.plan.actions import Action
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to look at."""

    links: frozenset[str] = field(default_factory=frozenset)
    members_of: frozenset[str] = field(default_factory=frozenset)
    """Linux bridges whose members are wanted."""
    ports: frozenset[str] = field(default_factory=frozenset)
    iface_ids: frozenset[str] = field(default_factory=frozenset)
    owners: frozenset[str] = field(default_factory=frozenset)
    """Owners of Port and QoS rows."""
    everything: bool = False
    """All links, and every row with a mark of ours."""
    ovs: bool = True
    """False: do not ask OVSDB."""
    recorded: Mapping[str, Link] = field(default_factory=dict)
    """Links with the ifindexes that records hold, by name: what is not there under its name is looked for by that."""
    thorough: bool = False
    """With what takes more questions: forwarding tables, and the ingress side of queueing disciplines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """What to wait for, and to look at, once actions are carried out."""

    opening: Collection[str] = ()
    """Ports whose devices are there by then: vswitchd has opened each of them, or has looked at it and cannot."""
    seconds: float | None = None
    """How long vswitchd may take; by default the configured time."""
    scope: Scope | None = None
    """What to observe then."""


class Host(Protocol):
    """A host's links and OVS ports."""

    def observe(self, scope: Scope) -> Observed:
        """What is there.

        :raises HostError: when it cannot be read.
        """
        ...

    def apply(self, stages: Sequence[Sequence[Action]], settle: Settle | None = None) -> Observed:
        """Carry out stages, each of actions of ONE plane: links in few sends, ports in one transaction.

        :param settle: return once vswitchd has carried out this and this thread's earlier transactions.
        :returns: what was observed then; nothing without a scope.
        :raises TimedOut: vswitchd has not carried them out in time. What was done stays.
        :raises VifplugError: for the first that failed, its ``step`` the action's text. Links made before it stay;
            ports are all or none.
        """
        ...


class Lifecycle(Protocol):
    """The privileged side's process, and the session that it belongs to."""

    @property
    def session(self) -> int:
        """The number of the session whose lock this process and its privileged side hold."""
        ...

    def ensure_running(self) -> None:
        """Start the privileged side anew, if it died since the last call.

        :raises HelperDied: when it cannot be started.
        """
        ...


class RunningHost(Host, Lifecycle, Protocol):
    """A host, and the process that carries out its changes."""
