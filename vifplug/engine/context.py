"""The context of every command: the host, the store, the locks, the options, and state that threads share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from vifplug.drivers.contract import Options
from vifplug.engine.apply.group_commit import Group
from vifplug.engine.apply.progress import UnderWay
from vifplug.engine.host import RunningHost
from vifplug.engine.plan import request
from vifplug.engine.plan.request import Job
from vifplug.engine.removal import Removal, Removed
from vifplug.engine.requester import Requester
from vifplug.engine.wiring import Wiring
from vifplug.model.reports import VifReport
from vifplug.resources.observed import Inventory
from vifplug.store.locks import LockFile
from vifplug.store.records import Intent
from vifplug.store.store import Store

_TOGETHER_MAX = 100
"""Maximum of VIFs of several requests that are plugged, or unplugged, in one plan."""
_OUTLIVING_SECONDS = 1.0
"""A helper whose caller died ends as soon as its channel is closed."""


class Context:
    """One host and one store.

    :param lock_seconds: how long a request waits for another request on the same VIF.
    """

    def __init__(self, host: RunningHost, store: Store, locks: LockFile, options: Options, lock_seconds: float) -> None:
        self.host, self.store, self.locks, self.options = host, store, locks, options
        self.ovs_away = False
        """Set when OVSDB has just not answered: commands that only look need not wait for it."""
        self.under_way = UnderWay()
        self.plugs = Group[Sequence[Job], list[VifReport]](len, _TOGETHER_MAX)
        self.removals = Group[Removal, Removed](lambda removal: len(removal.built), _TOGETHER_MAX)
        self.lock_seconds = lock_seconds

    def wiring(self, vif_ids: Collection[str] | None = None) -> Wiring:
        """The source that decides that VIFs are wired; and what Neutron has reported of these or all, if that
        counts."""
        wiring = Wiring(by=self.options.wired_by, listens=self.options.listens)
        return replace(wiring, neutron_status=self.store.neutron_status(vif_ids)) if wiring.may_be_events else wiring

    def authorise(self, vif_ids: Sequence[str], requester: Requester | None) -> None:
        """Check that a requester may change VIFs.

        :raises NotPermitted: for the first VIF that is not the requester's own.
        """
        if requester is None or requester.every_vif:
            return
        for vif_id in vif_ids:
            requester.authorise(vif_id, self.store.record_or_none(vif_id), is_damaged=self.store.is_damaged(vif_id))

    @contextlib.contextmanager
    def held(self, identities: Callable[[], set[str]], seconds: float | None = None) -> Iterator[None]:
        """Hold the locks of the work's owners; a record may change while they are awaited, so read it again then.

        :param identities: reads the owners from the store.
        :param seconds: how long to wait for each; by default the maximum time of a request.
        :raises Busy: another request holds one of them for longer.
        """
        while True:
            version, wanted = self.store.version(), identities()
            with self.locks.held(wanted, self.lock_seconds if seconds is None else seconds):
                if self.store.version() == version or identities() <= wanted:
                    yield
                    return

    def owners(self, vif_ids: Sequence[str]) -> set[str]:
        """VIFs, and the owners of what they may have on the host; for a damaged record, the owners that its claims
        show."""
        known = self.store.snapshot(vif_ids)
        left = {item.owner for parts in known.values() for item in request.left(*parts).items}
        return left.union(vif_ids, *map(self.store.held_by_damaged, known.damaged))

    def left_on_host(self, vif_id: str) -> Inventory:
        """What a VIF has on the host, or may have from an interrupted request."""
        return request.left(*self.store.snapshot([vif_id])[vif_id])

    def await_helper_of(self, intent: Intent | None) -> None:
        """Wait until no process works on what an intent names, for a caller that holds its VIF's lock."""
        # The process that began it holds the lock while it works: only a helper that outlives its caller can still be
        # working. A session that continues for longer belongs to a caller that gave up.
        if intent is not None and intent.session != self.host.session:
            self.locks.await_end(intent.session, _OUTLIVING_SECONDS)
