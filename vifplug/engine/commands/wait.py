"""The command wait: whether VIFs have reached a state, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.engine import report as vif_report
from vifplug.engine.commands import inspect
from vifplug.engine.context import Context
from vifplug.engine.state import drift_of
from vifplug.engine.wiring import Wiring, awaited
from vifplug.errors import OvsUnavailable
from vifplug.model.events import Waited, WaitReport, has_reached
from vifplug.model.reports import ABSENT, DRIFTED, FAILED
from vifplug.resources.observed import Observed
from vifplug.store.records import Contents, Record


def look(context: Context, vif_ids: Sequence[str], wanted: str) -> WaitReport:
    """The states of VIFs.

    :param wanted: the level to reach.
    :raises HostError, StoreError: the host or the store cannot be read.
    """
    contents, wiring = context.store.contents(vif_ids), context.wiring(vif_ids)
    observed = _seen(context, list(contents.records.values()))
    vifs = tuple(_waited(vif_id, contents, observed, wiring, wanted) for vif_id in vif_ids)
    return WaitReport(reached=all(has_reached(vif.state, wanted) for vif in vifs), vifs=vifs)


def _seen(context: Context, records: Sequence[Record]) -> Observed | None:
    try:
        return inspect.observe(context, inspect.scope_of(records)) if records else Observed()
    except OvsUnavailable:
        return None


def _waited(vif_id: str, contents: Contents, observed: Observed | None, wiring: Wiring, wanted: str) -> Waited:
    record, intent = contents.records.get(vif_id), contents.intents.get(vif_id)
    if record is None and vif_id in contents.damaged:
        return Waited(id=vif_id, state=FAILED, error=contents.damaged[vif_id])
    if record is None:
        by_now = "it is being plugged" if intent is not None else "somebody to plug it here"
        return Waited(id=vif_id, state=ABSENT, waits_for=by_now)
    report = vif_report.recorded(record, observed, wiring, intent)
    if has_reached(report.state, wanted):
        return Waited(id=vif_id, state=report.state)
    if observed is None:
        return Waited(
            id=vif_id, state=report.state, error=report.error, waits_for="Open vSwitch, which does not answer"
        )
    if report.state in (DRIFTED, FAILED) or intent is not None:
        drift = drift_of(record, observed)
        return Waited(
            id=vif_id,
            state=report.state,
            error=report.error,
            waits_for=f"a repair of {drift[0]}" if drift else "the request on it that is under way" if intent else None,
        )
    return Waited(
        id=vif_id, state=report.state, error=report.error, waits_for=awaited(record, observed, wiring, wanted)
    )
