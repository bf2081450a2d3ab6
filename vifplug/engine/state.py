"""The state of a recorded VIF and the reason for it: one pure function for all interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vifplug.drivers.registry import guest_link
from vifplug.engine.plan import diff, resolve
from vifplug.engine.wiring import Wiring, state_of
from vifplug.errors import BridgeMissing
from vifplug.model import printable
from vifplug.model.reports import CONTENDED, DRIFTED, FAILED, PLUGGING, UNPLUGGING, DriftItem
from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed
from vifplug.store import records
from vifplug.store.records import Intent, Record

_IN_BETWEEN = {records.PLUG: PLUGGING, records.UNPLUG: UNPLUGGING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A state, its reason, and the differences from what was built."""

    state: str
    reason: str | None = None
    """For drifted, contended and failed; None for every other state."""
    drift: Sequence[DriftItem] = ()


def assess(record: Record, observed: Observed | None, wiring: Wiring, intent: Intent | None = None) -> Assessment:
    """The state of a recorded VIF.

    :param observed: None if the host cannot be observed; then the recorded state applies.
    :param intent: the request on the VIF that is under way, or was interrupted.
    """
    if intent is not None:
        return Assessment(state=_IN_BETWEEN[intent.verb])
    if observed is None:
        return Assessment(state=record.state, reason=record.error)
    items = drift_of(record, observed)
    # The daemon's findings about a VIF are more precise than "drifted"; without drift, a failure is over.
    if record.state == CONTENDED or (items and record.state == FAILED):
        return Assessment(state=record.state, reason=record.error or _first(record, observed, items), drift=items)
    if items:
        return Assessment(state=DRIFTED, reason=_first(record, observed, items), drift=items)
    state, reason = state_of(record, observed, wiring)
    return Assessment(state=state, reason=reason)


def _first(record: Record, observed: Observed, items: Sequence[DriftItem]) -> str | None:
    bridges = [port.bridge for port in kinds.ports_in(record.resources)]
    return resolve.fake_bridge(bridges, observed) or (str(items[0]) if items else None)


def drift_of(record: Record, observed: Observed) -> list[DriftItem]:
    """Differences of a recorded VIF from what was built, as printable text."""
    return [in_print(item) for item in differences(record, observed)]


def in_print(item: DriftItem) -> DriftItem:
    """A difference as printable text, whatever it is about."""
    return DriftItem(
        subject=printable.text(item.subject),
        attribute=item.attribute,
        observed=printable.document(item.observed),
        desired=item.desired,
    )


def differences(record: Record, observed: Observed) -> list[DriftItem]:
    """Differences of a recorded VIF from what was built, each with its subject."""
    built = Inventory(record.resources)
    resources = [_with_station(item, record) for item in record.resources]
    try:
        desired = resolve.resolve(resources, observed)
    except BridgeMissing as error:
        links = kinds.links_in(record.resources)
        missing = DriftItem(subject=error.subject, attribute=diff.PRESENT, observed=False, desired=True)
        return [missing, *diff.differences(links, observed, built)]
    return diff.differences(desired, observed, built)


def _with_station(item: Resource, record: Record) -> Resource:
    """A bridge with its guest's link, which records of earlier versions do not contain."""
    if not isinstance(item, Link) or not item.passage.is_bridge or item.station:
        return item
    return item.replaced(station=record.vif.address, station_port=guest_link(record.vif))
