"""Settles what a dead owner left open: plugged as recorded, or absent; never between."""

from __future__ import annotations

import logging

from vifplug import store as stores
from vifplug.engine.plugger import Plugger
from vifplug.errors import Busy, VifplugError
from vifplug.resources import Inventory, Resource
from vifplug.store import Intent

LOG = logging.getLogger(__name__)

_LOCK_SECONDS = 0.0


def settle(plugger: Plugger) -> list[str]:
    """Settle every open intent whose owner is dead.

    One that cannot be settled now stays open and is said; it does not stand in other VIFs' way.

    :returns: warnings.
    """
    warnings: list[str] = []
    for intent in plugger.store.contents().intents.values():
        if intent.session != plugger.host.session and plugger.locks.is_session_alive(intent.session):
            continue
        try:
            _settle_one(plugger, intent)
        except Busy:
            continue
        except VifplugError as error:
            LOG.debug("could not settle %s", intent.vif_id, exc_info=True)
            warnings.append(f"an interrupted {intent.verb} of VIF {intent.vif_id} could not be settled yet: {error}")
    return warnings


def _settle_one(plugger: Plugger, seen: Intent) -> None:
    with plugger.locks.held({seen.vif_id} | {item.owner for item in seen.resources}, _LOCK_SECONDS):
        contents = plugger.store.contents()
        intent, record = contents.intents.get(seen.vif_id), contents.records.get(seen.vif_id)
        if intent is None or intent.session != seen.session:
            return
        if intent.verb == stores.PLUG and record is not None:
            # The record still holds what was right before; what the intent added to it goes.
            plugger.converge_held(record, Inventory(intent.resources))
            return
        built = _united(intent.resources, record.resources if record else ())
        _warnings, errors = plugger.remove_held(intent.vif_id, built)
        if errors:
            raise errors[0]


def _united(*parts: tuple[Resource, ...]) -> Inventory:
    union: dict[tuple[str, str], Resource] = {}
    for resources in parts:
        union.update({(item.kind, item.name): item for item in resources})
    return Inventory(tuple(union.values()))
