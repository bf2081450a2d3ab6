"""Whether a VIF's guest is absent, and since when. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable

from vifplug.drivers.registry import guest_link
from vifplug.model.reports import VifReport
from vifplug.resources import kinds
from vifplug.resources.observed import Observed
from vifplug.store.records import Record

THERE = ""
"""The stored value for a VIF whose guest's end exists; for others a time is stored."""


def is_absent(record: Record, observed: Observed) -> bool:
    """Whether the guest is absent: its tap is missing or, if the tap is ours, no VMM has it open.

    The kernel gives a tap its carrier when a process attaches to it (tun_attach of drivers/net/tun.c).
    """
    guest = guest_link(record.vif)
    if not guest:
        return False  # the guest's end is not a link, so a missing link means nothing
    device = observed.links.get(guest)
    if device is None:
        return True
    return not device.carrier and any(link.name == guest for link in kinds.links_in(record.resources))


def absent_since(record: Record, observed: Observed) -> str | None:
    """When the guest's end disappeared; None if it exists.

    If no daemon has recorded it, the record's last change is the earliest possible time: a VIF has no guest at its
    plug.
    """
    if not is_absent(record, observed):
        return None
    return record.guest_absent_since or record.updated_at or None


def to_note(records: Iterable[Record], observed: Observed, now: str) -> dict[str, str]:
    """Changes for the store about these VIFs' guests: THERE, or when the guest's end disappeared."""
    noted: dict[str, str] = {}
    for record in records:
        absent = is_absent(record, observed)
        if not absent and record.guest_absent_since != THERE:
            noted[record.id] = THERE
        elif absent and not record.guest_absent_since:
            # Without a stored value it has been absent since the plug; if it was stored as present, it has disappeared
            # just now.
            noted[record.id] = now if record.guest_absent_since == THERE else record.updated_at or now
    return noted


def is_absent_for(since: str | None, seconds: float) -> bool:
    """Whether a guest's end that is missing since then has been missing for that long."""
    if since is None:
        return False
    try:
        then = datetime.datetime.fromisoformat(since)
    except ValueError:
        return False
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds() >= seconds


def absent_for(vifs: Iterable[VifReport], seconds: float | None) -> list[VifReport]:
    """The VIFs whose guest's end has been missing for that long; all if that is None."""
    return [vif for vif in vifs if seconds is None or is_absent_for(vif.absent_since, seconds)]


def kept(record: Record, keep: Collection[str]) -> bool:
    """Whether a list of ids to keep contains the VIF or its instance."""
    instance = record.vif.instance
    return record.id in keep or (instance is not None and instance.uuid.lower() in keep)
