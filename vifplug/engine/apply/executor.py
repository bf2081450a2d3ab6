"""Runs plans on a host: all or nothing for a plug, as far as possible for an unplug. No decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from vifplug.engine.host import Host, RunningHost, Scope, Settle
from vifplug.engine.plan import configured
from vifplug.engine.plan.actions import Action, ConfigureLink, DeleteLinks
from vifplug.engine.plan.plan import Plan, pieces
from vifplug.errors import Conflict, HelperDied, OvsUnavailable, PermissionDenied, TimedOut, VifplugError
from vifplug.resources import kinds

LOG = logging.getLogger(__name__)

_AWAY = (OvsUnavailable, TimedOut, HelperDied)
_UNDO_SETTLE_SECONDS = 2.0
"""An undo waits for vswitchd too, but only this long after a time-out."""


class Journal:
    """The stages that a call has begun, for its undo: stages are added before they run."""

    def __init__(self, host: RunningHost) -> None:
        self._host = host
        self._begun: list[Sequence[Action]] = []

    @property
    def begun(self) -> bool:
        """Whether anything may have happened on the host."""
        return bool(self._begun)

    def run(self, plan: Plan) -> None:
        """Carry out a plan, stage by stage.

        :raises VifplugError: for the first stage that failed; ``undo`` reverts what was begun.
        """
        for stage in plan.stages():
            self._begun.append(stage)
            self._host.apply([stage])
            for action in stage:
                LOG.info("%s", action)

    def parts(
        self, plan: Plan, settle: Settle, progress: Callable[[int], None]
    ) -> Iterator[tuple[Sequence[Sequence[Action]], Settle | None]]:
        """A plan in parts for the caller to apply, each with what to wait for after it: one part, unless the plan is
        long.

        Every stage of a part counts as begun before the part is applied: undoing a stage that did not run changes
        nothing.

        :param settle: for the last part.
        :param progress: called with the number of actions done.
        """
        stages: Sequence[Sequence[Action]] = plan.stages()
        short = [piece for stage in stages for piece in pieces(stage)]
        if len(short) > len(stages):
            done = 0
            for part in short[:-1]:
                self._begun.append(part)
                yield [part], None
                done += len(part)
                progress(done)
            stages = short[-1:]
        self._begun += stages
        yield stages, settle
        for action in plan.actions:
            LOG.info("%s", action)

    def undo(self, cause: BaseException) -> list[VifplugError]:
        """Undo everything that was begun, newest first, including the failing stage.

        :param cause: the reason; after a time-out vswitchd gets only a moment.
        :returns: errors of what could not be undone.
        """
        if isinstance(cause, HelperDied):
            # A dead helper has finished its work, so a new one does not race with it.
            try:
                self._host.ensure_running()
            except VifplugError as error:
                return [error]
        errors: list[VifplugError] = []
        touched_ports = False
        made = {
            link.name for stage in self._begun for deletion in _deletions(_inverses(stage)) for link in deletion.links
        }
        # Last: a guest's frames are filtered until its device is gone.
        newest_first = self._begun[::-1]
        for stage in sorted(newest_first, key=lambda stage: stage[0].plane == "filters"):
            touched_ports |= stage[0].plane == "ports"
            # A resource that is not ours was not made by this call: it is the foreign one on which a step failed.
            undone = undo_stage(self._host, stage, made)
            errors += [error for error in undone if not isinstance(error, PermissionDenied | Conflict)]
        if touched_ports and not isinstance(cause, TimedOut):
            try:
                self._host.apply((), Settle(seconds=_UNDO_SETTLE_SECONDS))
            except VifplugError as error:
                LOG.warning("after an undo: %s", error)
        self._begun.clear()
        return errors


def undo_stage(host: Host, stage: Sequence[Action], made: Collection[str] = ()) -> list[VifplugError]:
    """Undo one stage, newest action first, continuing after errors.

    :param made: links of other stages that are deleted, too.
    """
    inverses = _unless_changed_since(host, _inverses(stage))
    if not inverses:
        return []
    # Links that a stage made are deleted as one group; settings of remaining links are restored before.
    deletions = _deletions(inverses)
    others = [action for action in inverses if not isinstance(action, DeleteLinks)]
    gone = {link.name for action in deletions for link in action.links}.union(made)
    remaining = [action for action in others if action.plane != "links" or action.subject not in gone]
    group = [DeleteLinks(tuple(link for action in deletions for link in action.links))] if deletions else []
    return teardown(host, [*remaining, *group])


def _inverses(stage: Sequence[Action]) -> list[Action]:
    return [inverse for action in reversed(stage) if (inverse := action.inverse()) is not None]


def _deletions(actions: Iterable[Action]) -> list[DeleteLinks]:
    return [action for action in actions if isinstance(action, DeleteLinks)]


def _unless_changed_since(host: Host, inverses: Sequence[Action]) -> list[Action]:
    """Inverses without those of configurations that another program has changed since; the host is observed only if
    there are any."""
    set_links = [inverse.link for inverse in inverses if isinstance(inverse, ConfigureLink)]
    if not set_links:
        return list(inverses)
    names = frozenset(link.name for link in set_links)
    try:
        observed = host.observe(Scope(links=names, function_kinds=kinds.functions_in(set_links), ovs=False))
    except VifplugError as error:
        LOG.warning("before an undo: %s", error)  # the privileged side checks each value again
        return list(inverses)
    kept: list[Action] = []
    for inverse in inverses:
        if not isinstance(inverse, ConfigureLink):
            kept.append(inverse)
            continue
        was_set = [(attribute, before, set_by_us) for attribute, set_by_us, before in inverse.changes]
        back, left = configured.put_back(inverse.link, was_set, observed)
        kept += back
        for warning in left:
            LOG.warning("%s", warning)
    return kept


def teardown(host: Host, actions: Sequence[Action]) -> list[VifplugError]:
    """Carry out actions as far as possible: together, and one by one if that fails.

    :returns: every error, in order.
    """
    errors: list[VifplugError] = []
    for stage in Plan(tuple(actions)).stages():
        try:
            host.apply([stage])
        except _AWAY as error:
            # Without an answer, each single action would only wait as long again.
            errors.append(error)
        except VifplugError as error:
            parts = _parts(stage)
            errors += [error] if len(parts) <= 1 else _separately(host, parts)
    return errors


def _parts(stage: Sequence[Action]) -> list[Action]:
    """One by one; links after everything that may be on them, because a shared bridge is kept while something is on
    it."""
    parts: list[Action] = []
    for action in stage:
        parts += [DeleteLinks((link,)) for link in action.links] if isinstance(action, DeleteLinks) else [action]
    return sorted(parts, key=lambda part: isinstance(part, DeleteLinks) and part.links[0].has_members)


def _separately(host: Host, parts: Sequence[Action]) -> list[VifplugError]:
    errors: list[VifplugError] = []
    for action in parts:
        try:
            host.apply([[action]])
        except VifplugError as error:
            errors.append(error)
    return errors
