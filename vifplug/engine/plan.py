"""A plan: an ordered tuple of actions, printable, and cut into privileged calls."""

from __future__ import annotations

from dataclasses import dataclass

from vifplug.engine.actions import Action


@dataclass(frozen=True, slots=True)
class Plan:
    """An ordered tuple of actions."""

    actions: tuple[Action, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        return "\n".join(str(action) for action in self.actions)

    def as_json(self) -> dict[str, list[dict[str, str]]]:
        """``{"actions": [...]}``."""
        return {"actions": [action.as_json() for action in self.actions]}

    def stages(self) -> tuple[tuple[Action, ...], ...]:
        """Runs of actions of one plane: each is one privileged call."""
        stages: list[list[Action]] = []
        for action in self.actions:
            if not stages or stages[-1][-1].plane != action.plane:
                stages.append([])
            stages[-1].append(action)
        return tuple(tuple(stage) for stage in stages)
