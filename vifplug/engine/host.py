"""The seam: what the engine needs of a host. The real one is ``vifplug.linux.host``; the one in memory, for
tests, is ``vifplug.testing.memory``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

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


class Host(Protocol):
    """A host's links and OVS ports."""

    def observe(self, scope: Scope) -> Observed:
        """What is there.

        :raises HostError: when it cannot be read.
        """
        ...

    def apply(self, actions: Sequence[Action]) -> None:
        """Carry out actions of ONE plane: links in one privileged call, or ports in one transaction.

        :raises VifplugError: for the first that failed, its ``step`` the action's text. Links made before it stay;
            ports are all or none.
        """
        ...

    def build(self, stages: Sequence[Sequence[Action]], opening: Collection[str], scope: Scope) -> Observed:
        """Carry out stages, each of one plane, then settle and look: ``apply`` of each, ``settle`` and ``observe`` in
        one, for a host whose every call takes its time.

        :param opening: as of ``settle``.
        :raises VifplugError: as those three; what was done stays.
        """
        ...

    def settle(self, seconds: float | None = None, opening: Collection[str] = ()) -> None:
        """Return once vswitchd has carried out our last transaction.

        :param seconds: how long to wait; by default the configured time.
        :param opening: ports whose devices have come meanwhile: it has opened each of them by then, or has looked at
            it and cannot.
        :raises TimedOut: when it has not.
        """
        ...

    def ensure_running(self) -> None:
        """Start the privileged side anew, if it died since the last call.

        :raises HelperDied: when it cannot be started.
        """
        ...

    def examine(self, part: str) -> Any:
        """How the privileged side, Open vSwitch and the firewall are, for a doctor. Nothing is changed.

        :param part: ``helper``, ``reach``, ``about``, ``switch``, ``vswitchd`` or ``forwarding``.
        :raises HostError: when it cannot be told.
        """
        ...

    def has_ovs(self) -> bool:
        """Whether OVSDB's address leads anywhere: a host of plain bridges has none, and needs none."""
        ...

    ovs_away: bool
    """Whoever follows OVSDB has just found that it does not answer: those who only look need not wait for it."""

    @property
    def session(self) -> int:
        """The number of the session whose lock this host's caller and helper hold."""
        ...
