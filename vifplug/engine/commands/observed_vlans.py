"""What read-only commands record: the VLANs that another program has set on our ports."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from vifplug.engine.context import Context
from vifplug.errors import VifplugError
from vifplug.resources import kinds
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.records import Record

LOG = logging.getLogger(__name__)

_PATIENCE_SECONDS = 0.1
"""For a store that another process keeps locked: the next observation sees the VLANs, too."""


def with_vlans(record: Record, observed: Observed) -> Record:
    """The record with the VLANs that its ports have now; the same object if nothing changed. Pure.

    A recreated row does not show the VLANs of the recorded one: only the recorded row counts.
    """
    changed = [port for port in kinds.ports_in(record.resources) if _has_other_vlans(port, observed)]
    if not changed:
        return record
    seen = {port.name: _seen(port, observed) for port in changed}
    resources = tuple(seen.get(item.name, item) if item in changed else item for item in record.resources)
    return replace(record, resources=resources)


def _has_other_vlans(recorded: OvsPort, observed: Observed) -> bool:
    port = observed.ports.get(recorded.name)
    if port is None or recorded.uuid is None or port.uuid != recorded.uuid:
        return False
    # Of a VIF with a VLAN of its own, another program's are drift.
    return recorded.vlan is None and port.vlans != recorded.vlans


def _seen(recorded: OvsPort, observed: Observed) -> OvsPort:
    return recorded.with_vlans(observed.ports[recorded.name].vlans)


def note_vlans(context: Context, records: Iterable[Record], observed: Observed) -> None:
    """Record changed VLANs of VIFs that no request works on.

    Without the daemon nothing else reads them before the port is deleted. A read-only command must not fail because of
    it.
    """
    changed = {record.id: record for record in records if with_vlans(record, observed) is not record}
    if not changed:
        return
    try:
        with context.locks.held_if_free(changed) as free:
            known = context.store.contents(free)
            kept = [
                with_vlans(record, observed)
                for vif_id, record in changed.items()
                if known.records.get(vif_id) == record and vif_id not in known.intents
            ]
            if kept:
                context.store.save_records(kept, seconds=_PATIENCE_SECONDS)
    except (VifplugError, OSError) as error:
        # The doctor has its store and its locks open for reading only.
        LOG.debug("changed VLANs of ports were not recorded: %s", error)
