"""The first step of other commands: a VIF whose request was interrupted becomes plugged as recorded, or absent."""

from __future__ import annotations

import logging

from vifplug.engine.commands import plug, remove
from vifplug.engine.context import Context
from vifplug.errors import Busy, OvsUnavailable, TimedOut, VifplugError
from vifplug.resources import kinds
from vifplug.store.records import Intent

LOG = logging.getLogger(__name__)

_LOCK_SECONDS = 0.0
_OUTLIVING_SECONDS = 1.0
"""For all helpers together that may have outlived their callers: each ends as soon as its channel is closed."""


def settle(context: Context) -> list[str]:
    """Settle every open intent whose owner is dead.

    An intent that cannot be settled now stays open and is reported; it does not block other VIFs.

    :returns: warnings.
    """
    warnings: list[str] = []
    patience = _OUTLIVING_SECONDS
    away: VifplugError | None = None
    # Most of them are under way: the request holds the lock, and the intent need not be read.
    begun = context.store.pending()
    for vif_id in sorted(context.locks.free(begun)) if begun else ():
        intent = context.store.intent(vif_id)
        if intent is None:
            continue
        try:
            if away is not None and kinds.ports_in(intent.resources):
                raise away
            patience = _settle_one(context, intent, patience)
        except Busy:
            continue
        except VifplugError as error:
            LOG.debug("could not settle %s", intent.vif_id, exc_info=True)
            warnings.append(f"an interrupted {intent.verb} of VIF {intent.vif_id} could not be settled yet: {error}")
            # One time-out is enough for all intents that need the same.
            away = error if isinstance(error, OvsUnavailable | TimedOut) else away
    return [*warnings, *remove.settle_or_warn(context.host)]


def _settle_one(context: Context, seen: Intent, patience: float) -> float:
    """Settle one intent unless another request works on its VIF.

    :param patience: seconds to wait for the end of the intent's session.
    :returns: seconds left for the next ones.
    """
    with context.locks.held({seen.vif_id} | {item.owner for item in seen.resources}, _LOCK_SECONDS):
        intent = context.store.intent(seen.vif_id)
        if intent is None or intent.session != seen.session:
            return patience
        if intent.session != context.host.session and not context.locks.await_end(intent.session, patience):
            # Its caller lives, but could not undo what it had begun: that caller or the VIF's next request settles it.
            return 0.0
        plug.settle_interrupted(context, intent.vif_id)
    return patience
