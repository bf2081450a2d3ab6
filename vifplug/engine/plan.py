"""A plan: an ordered tuple of actions, printable, and cut into privileged calls."""

from __future__ import annotations

from dataclasses import dataclass

from vifplug.engine.actions import Action
from vifplug.reports import PlanReport


@dataclass(frozen=True, slots=True)
class Plan(PlanReport):
    """An ordered tuple of actions."""

    actions: tuple[Action, ...] = ()

    def stages(self) -> tuple[tuple[Action, ...], ...]:
        """Runs of actions of one plane: each is one privileged call."""
        stages: list[list[Action]] = []
        for action in self.actions:
            if not stages or stages[-1][-1].plane != action.plane:
                stages.append([])
            stages[-1].append(action)
        return tuple(tuple(stage) for stage in stages)
