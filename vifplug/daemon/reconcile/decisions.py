"""Decides what to do about a survey: change a state, repair, or report a failure. It only updates the retry state."""

from __future__ import annotations

from dataclasses import dataclass, field

from vifplug.daemon.reconcile.retry import RetryState
from vifplug.engine.commands.reconcile import Survey
from vifplug.engine.wiring import StateAndReason
from vifplug.errors import Conflict, VifplugError
from vifplug.model import events
from vifplug.model.events import EventCause
from vifplug.model.reports import CONTENDED, DRIFTED, FAILED


@dataclass(slots=True)
class Decisions:
    """By VIF id."""

    states: dict[str, StateAndReason] = field(default_factory=dict)
    """States to write into the records, and so to report to followers."""
    repairs: list[str] = field(default_factory=list)
    """VIFs to repair."""
    failed: dict[str, VifplugError] = field(default_factory=dict)
    """VIFs that cannot be repaired now, and why."""

    def causes(self, survey: Survey) -> dict[str, EventCause]:
        """What the changes of states are about: what drifted, or what is in the way."""
        causes = {}
        for vif_id in self.states.keys() & survey.checks.keys():
            is_conflict = isinstance(self.failed.get(vif_id), Conflict)
            changes = events.drifted(survey.checks[vif_id].drift)
            causes[vif_id] = EventCause(kind=events.CONFLICT if is_conflict else events.STATE, changes=changes)
        return causes


def decide(survey: Survey, retry_state: RetryState, now: float) -> Decisions:
    """The decisions about a survey.

    :param now: seconds of the retry state's clock.
    """
    decisions = Decisions()
    for vif_id, check in survey.checks.items():
        record = survey.records[vif_id]
        if not check.drift:
            state = survey.states[vif_id]
            if retry_state.clean(vif_id, now) and (record.state, record.error) != state:
                decisions.states[vif_id] = state
            if vif_id in survey.outdated:
                decisions.repairs.append(vif_id)
        elif not retry_state.is_due(vif_id, now):
            continue
        elif vif_id in survey.bridgeless:
            decisions.failed[vif_id] = survey.bridgeless[vif_id]
        else:
            reason = retry_state.drifted(vif_id, check.drift, now)
            if reason is not None:
                decisions.states[vif_id] = (CONTENDED, reason)
            elif record.state not in (CONTENDED, FAILED):
                decisions.states[vif_id] = (DRIFTED, str(check.drift[0]))
            decisions.repairs.append(vif_id)
    return decisions
