"""A plan: an ordered tuple of actions, printable; how it is ordered, and split into privileged calls. Pure.

Actions are collected by phase. Within a phase, creations are ordered by dependency, others by time of addition.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vifplug.engine.plan import actions
from vifplug.engine.plan.actions import Action, CreateLink
from vifplug.errors import InputError
from vifplug.model.reports import PlannedAction, PlanReport
from vifplug.resources.contract import Creation, Reference
from vifplug.resources.link import Link

T = TypeVar("T")

_TOGETHER_MAX = {"links": 1000, "ports": 250, "filters": 1000}
"""Actions of one call. A hundred hybrid VIFs take one call for links and one for ports."""
_AHEAD_MAX = 4
"""Ports that may precede their devices: with more, vswitchd would reach the last one before the kernel does."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An ordered tuple of actions."""

    actions: tuple[Action, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        return "\n".join(map(str, self.actions))

    def report(self) -> PlanReport:
        """The plan as text."""
        return PlanReport(tuple(PlannedAction(**action.as_json()) for action in self.actions))

    def stages(self) -> tuple[tuple[Action, ...], ...]:
        """Runs of actions of one plane: each is one privileged call."""
        stages: list[list[Action]] = []
        for action in self.actions:
            if not stages or stages[-1][-1].plane != action.plane:
                stages.append([])
            stages[-1].append(action)
        return tuple(tuple(stage) for stage in stages)


def pieces(stage: Sequence[Action]) -> list[Sequence[Action]]:
    """A stage in order, split into privileged calls that do not take too long: between two of them other requests run,
    Ctrl-C takes effect, and progress is reported."""
    most = _TOGETHER_MAX[stage[0].plane]
    return [stage[start : start + most] for start in range(0, len(stage), most)]


class Phase(enum.IntEnum):
    """The order of a plan; ``plan.plug`` has the reason for each position."""

    FILTERS_BY_NAME = enum.auto()
    """First, because they need no device: links and their ports stay in one run (``privileged/apply.py``)."""
    NAMES = enum.auto()
    MARKS = enum.auto()
    """Marks for broken links that show no owner: the helper deletes only marked links."""
    BROKEN = enum.auto()
    CREATIONS = enum.auto()
    FILTERS = enum.auto()
    """Of devices that vifplug makes: behind their creations, and before they are up or on a bridge."""
    SETTINGS = enum.auto()
    GUESTS = enum.auto()
    OBSOLETE_PORTS = enum.auto()
    BRIDGES = enum.auto()
    """OVS bridges, in the transaction of the ports that are put on them."""
    PORTS = enum.auto()
    OBSOLETE_BRIDGES = enum.auto()
    PUT_BACK = enum.auto()
    """Configured values are restored before what they depend on is deleted."""
    OBSOLETE_LINKS = enum.auto()
    OBSOLETE_FILTERS = enum.auto()
    RELEASED_PORTS = enum.auto()
    """Ports that lose their device in the phase before, and wait for the VMM's."""


_PHASES = max(Phase) + 1
_OF_DEVICES = (Phase.CREATIONS, Phase.FILTERS, Phase.SETTINGS, Phase.GUESTS)
"""What ports depend on."""


class Draft:
    """A plan under construction.

    :param is_crowded: whether there are so many ports that vswitchd's turns dominate the time of a plug.
    """

    def __init__(self, *, is_crowded: bool = False) -> None:
        self._is_crowded = is_crowded
        self._actions: list[dict[str, Action]] = [{} for _phase in range(_PHASES)]
        self._made: set[str] = set()
        self._leaving: list[list[Link]] = [[] for _phase in range(_PHASES)]

    def add(self, phase: Phase, action: Action) -> None:
        """Add an action."""
        actions_of_phase = self._actions[phase]
        actions_of_phase[f"{len(actions_of_phase)} {action.subject}"] = action

    def put(self, phase: Phase, action: Action) -> None:
        """Set the one action of a phase for its subject, replacing an earlier one."""
        self._actions[phase][action.subject] = action
        if isinstance(action, CreateLink):
            self._made |= {link.name for link in action.links}

    def get(self, phase: Phase, subject: str) -> Action | None:
        """The action that was ``put`` for a subject."""
        return self._actions[phase].get(subject)

    def has(self, phase: Phase, subject: str) -> bool:
        """Whether a phase has any action for a subject."""
        return any(action.subject == subject for action in self._actions[phase].values())

    def delete(self, phase: Phase, link: Link) -> None:
        """Add a link to the deletions of a phase; all of one phase are deleted as one group."""
        self._leaving[phase].append(link)

    def leaving(self, phase: Phase) -> set[str]:
        """Names of links that are deleted in a phase."""
        return {link.name for link in self._leaving[phase]}

    def vacated(self) -> set[str]:
        """Names of ports that leave the OVS bridge that they are on."""
        moves = (action for action in self._of(Phase.PORTS) if isinstance(action, actions.MovePort))
        return {action.subject for action in (*self._of(Phase.OBSOLETE_PORTS), *moves)}

    def makes(self, name: str) -> bool:
        """Whether the plan creates a link of that name."""
        return name in self._made

    def plan(self) -> Plan:
        """The whole plan, in order."""
        if not any(self._actions) and not any(self._leaving):
            return Plan()  # the most frequent case: everything is as desired
        devices = [action for phase in _OF_DEVICES for action in self._of(phase)]
        ahead = self._ahead_of_ports(devices)
        return Plan(
            (
                *self._of(Phase.FILTERS_BY_NAME),
                *self._of(Phase.NAMES),
                *self._of(Phase.MARKS),
                *self._of(Phase.BROKEN),
                *(action for action in devices if action.subject in ahead),
                *self._of(Phase.OBSOLETE_PORTS),
                *self._of(Phase.BRIDGES),
                *self._of(Phase.PORTS),
                *self._of(Phase.OBSOLETE_BRIDGES),
                *(action for action in devices if action.subject not in ahead),
                *self._of(Phase.PUT_BACK),
                *self._of(Phase.OBSOLETE_LINKS),
                *self._of(Phase.OBSOLETE_FILTERS),
                *self._of(Phase.RELEASED_PORTS),
            )
        )

    def _of(self, phase: Phase) -> Sequence[Action]:
        if self._leaving[phase]:
            return (actions.DeleteLinks(tuple(self._leaving[phase])),)
        if phase is Phase.CREATIONS:
            return _in_order(self._creations())
        return tuple(self._actions[phase].values())

    def _creations(self) -> list[CreateLink]:
        return [action for action in self._actions[Phase.CREATIONS].values() if isinstance(action, CreateLink)]

    def _ahead_of_ports(self, devices: Sequence[Action]) -> set[str]:
        """Subjects that precede the ports: everything that these may depend on. With many ports on the host, and if no
        port is re-attached or deleted, nothing (decision 0012)."""
        if not self._is_crowded:
            return {action.subject for action in devices}
        ports = self._of(Phase.PORTS)
        # A port that is to be re-attached needs the device that will remain; an obsolete port must still exist if the
        # links that replace it cannot be created.
        new_ones_only = not self._of(Phase.OBSOLETE_PORTS) and all(
            isinstance(action, actions.AddPort) for action in ports
        )
        if not new_ones_only or len(ports) > _AHEAD_MAX:
            return {action.subject for action in devices}
        return set()


_CREATIONS = (Creation.TAP, Creation.MESSAGE, Creation.PAIR, Creation.NEVER)


def _in_order(creations: Sequence[CreateLink]) -> list[CreateLink]:
    """Creations in the order of dependency. Of those without dependencies, the ones that are created one by one come
    first, because what follows is sent together; pairs come last."""
    first = sorted(creations, key=lambda action: _CREATIONS.index(action.link.creation))
    return by_dependency(
        first,
        lambda action: [link.reference for link in action.links],
        lambda action: [reference for link in action.links for reference in link.made_behind()],
    )


def by_dependency(
    items: Iterable[T], provides: Callable[[T], Collection[Reference]], needs: Callable[[T], Collection[Reference]]
) -> list[T]:
    """Items in the order of their dependencies.

    Level by level: first all that need no other item, then all that need only those, and so on; else in the given
    order.

    What no item provides already exists, or belongs to another program.

    :raises InputError: items need each other.
    """
    everything = list(items)
    providers = {reference: number for number, item in enumerate(everything) for reference in provides(item)}
    needed = [
        {providers[reference] for reference in needs(item) if reference in providers} - {number}
        for number, item in enumerate(everything)
    ]
    done: dict[int, None] = {}
    left = list(range(len(everything)))
    while left:
        ready = [number for number in left if needed[number] <= done.keys()]
        if not ready:
            names = ", ".join(sorted(name for number in left for _plane, name in provides(everything[number])))
            raise InputError(f"each of these resources needs another one of them first: {names}")
        done |= dict.fromkeys(ready)
        left = [number for number in left if number not in done]
    return [everything[number] for number in done]
