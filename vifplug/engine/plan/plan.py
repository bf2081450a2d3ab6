"""A plan: an ordered tuple of actions, printable, and cut into privileged calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vifplug.engine.plan.actions import Action
from vifplug.model.reports import PlannedAction, PlanReport

_TOGETHER_MAX = {"links": 1000, "ports": 250}
"""Actions of one call. A hundred hybrid VIFs are one of either."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An ordered tuple of actions."""

    actions: tuple[Action, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        return "\n".join(map(str, self.actions))

    def report(self) -> PlanReport:
        """The same to be read."""
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
    """A stage in order, in privileged calls that do not take too long: between two of them others get their turn, a
    Ctrl-C is heard, and progress is told."""
    most = _TOGETHER_MAX[stage[0].plane]
    return [stage[start : start + most] for start in range(0, len(stage), most)]
