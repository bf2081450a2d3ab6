"""What is to be done about what was found: noted, repaired, or given up for now. No effects but the ledger's memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from vifplug.daemon.reconcile.retry import Ledger
from vifplug.engine.commands.reconcile import Survey
from vifplug.engine.wiring import Standing
from vifplug.errors import VifplugError
from vifplug.model.reports import CONTENDED, DRIFTED, FAILED


@dataclass(slots=True)
class Verdicts:
    """By VIF id."""

    standings: dict[str, Standing] = field(default_factory=dict)
    """States to be noted in the records, and so told to whoever follows."""
    wanted: list[str] = field(default_factory=list)
    """To be repaired."""
    failed: dict[str, VifplugError] = field(default_factory=dict)
    """Not to be repaired now, and why."""


def judge(found: Survey, ledger: Ledger, now: float) -> Verdicts:
    """What a survey calls for.

    :param now: seconds of the ledger's clock.
    """
    verdicts = Verdicts()
    for vif_id, check in found.checks.items():
        record = found.records[vif_id]
        if not check.drift:
            standing = found.standings[vif_id]
            if ledger.right(vif_id, now) and (record.state, record.error) != standing:
                verdicts.standings[vif_id] = standing
            if vif_id in found.outdated:
                verdicts.wanted.append(vif_id)
        elif not ledger.is_due(vif_id, now):
            continue
        elif vif_id in found.bridgeless:
            verdicts.failed[vif_id] = found.bridgeless[vif_id]
        else:
            reason = ledger.found(vif_id, check.drift, now)
            if reason is not None:
                verdicts.standings[vif_id] = (CONTENDED, reason)
            elif record.state not in (CONTENDED, FAILED):
                verdicts.standings[vif_id] = (DRIFTED, str(check.drift[0]))
            verdicts.wanted.append(vif_id)
    return verdicts
