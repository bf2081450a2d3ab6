"""Whether anything is at a VIF's guest end, and since when not. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable

from vifplug.drivers.registry import guest_link
from vifplug.model.reports import VifReport
from vifplug.resources import kinds
from vifplug.resources.observed import Observed
from vifplug.store.records import Record

THERE = ""
"""What is noted of a VIF whose guest's end is there; a time is noted of the others."""


def is_absent(record: Record, observed: Observed) -> bool:
    """Whether no guest is there: its tap is missing or, where the tap is ours, no VMM has it open.

    The kernel gives a tap its carrier when a process attaches to it (tun_attach of drivers/net/tun.c).
    """
    guest = guest_link(record.vif)
    if not guest:
        return False  # the guest's end is no link, so a missing link says nothing
    device = observed.links.get(guest)
    if device is None:
        return True
    return not device.carrier and any(link.name == guest for link in kinds.links_in(record.resources))


def absent_since(record: Record, observed: Observed) -> str | None:
    """When the guest's end went away; None where it is there.

    Where no daemon has noted it, the record's last change is the earliest it can be: a VIF has no guest at its plug.
    """
    if not is_absent(record, observed):
        return None
    return record.guest_absent_since or record.updated_at or None


def to_note(records: Iterable[Record], observed: Observed, now: str) -> dict[str, str]:
    """What the store does not say yet of these VIFs' guests: THERE, or when the guest's end went away."""
    noted: dict[str, str] = {}
    for record in records:
        absent = is_absent(record, observed)
        if not absent and record.guest_absent_since != THERE:
            noted[record.id] = THERE
        elif absent and not record.guest_absent_since:
            # Nothing was noted before: it has been so since the plug. It was there before: it went away just now.
            noted[record.id] = now if record.guest_absent_since == THERE else record.updated_at or now
    return noted


def is_absent_for(since: str | None, seconds: float) -> bool:
    """Whether a guest's end that is missing since then has been so for that long."""
    if since is None:
        return False
    try:
        then = datetime.datetime.fromisoformat(since)
    except ValueError:
        return False
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds() >= seconds


def absent_for(vifs: Iterable[VifReport], seconds: float | None) -> list[VifReport]:
    """Those whose guest's end has been missing for that long; all, where that is None."""
    return [vif for vif in vifs if seconds is None or is_absent_for(vif.absent_since, seconds)]


def kept(record: Record, keep: Collection[str]) -> bool:
    """Whether a list of ids to keep names the VIF, or its instance."""
    instance = record.vif.instance
    return record.id in keep or (instance is not None and instance.uuid.lower() in keep)
