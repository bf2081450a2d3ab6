"""Runs plans on a host: all or nothing for a plug, as far as it goes for an unplug. No decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from vifplug.engine.host import Host, RunningHost, Scope, Settle
from vifplug.engine.plan import configured
from vifplug.engine.plan.actions import Action, ConfigureLink, DeleteLinks
from vifplug.engine.plan.plan import Plan, pieces
from vifplug.errors import Conflict, HelperDied, OvsUnavailable, PermissionDenied, TimedOut, VifplugError

LOG = logging.getLogger(__name__)

_AWAY = (OvsUnavailable, TimedOut, HelperDied)
_UNDO_SETTLE_SECONDS = 2.0
"""An undo waits for vswitchd too, but not for one that has just been found stuck."""


class Journal:
    """What a call has begun, so that it can be taken back: stages are noted before they run."""

    def __init__(self, host: RunningHost) -> None:
        self._host = host
        self._begun: list[Sequence[Action]] = []

    @property
    def begun(self) -> bool:
        """Whether anything may have happened on the host."""
        return bool(self._begun)

    def run(self, plan: Plan) -> None:
        """Carry out a plan, stage by stage.

        :raises VifplugError: for the first stage that failed; what was begun can be taken back with ``undo``.
        """
        for stage in plan.stages():
            self._begun.append(stage)
            self._host.apply([stage])
            for action in stage:
                LOG.info("%s", action)

    def parts(
        self, plan: Plan, settle: Settle, progress: Callable[[int], None]
    ) -> Iterator[tuple[Sequence[Sequence[Action]], Settle | None]]:
        """A plan in parts for the caller to apply, each with what is to be waited for behind it: one part, where the
        plan is not a long one.

        Every stage of a part counts as begun before the part is applied: to undo one that was not changes nothing.

        :param settle: for the last part.
        :param progress: takes how many actions are done.
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
        """Take back everything that was begun, newest first, the failing stage included.

        :param cause: why; after a time-out vswitchd is given only a moment.
        :returns: what could not be taken back.
        """
        if isinstance(cause, HelperDied):
            # A dead helper has ended what it was at, so another one races with none.
            try:
                self._host.ensure_running()
            except VifplugError as error:
                return [error]
        errors: list[VifplugError] = []
        touched_ports = False
        for stage in reversed(self._begun):
            touched_ports |= stage[0].plane == "ports"
            # What is not ours was not made by this call: the very stranger a step failed on.
            undone = undo_stage(self._host, stage)
            errors += [error for error in undone if not isinstance(error, PermissionDenied | Conflict)]
        if touched_ports and not isinstance(cause, TimedOut):
            try:
                self._host.apply((), Settle(seconds=_UNDO_SETTLE_SECONDS))
            except VifplugError as error:
                LOG.warning("after an undo: %s", error)
        self._begun.clear()
        return errors


def undo_stage(host: Host, stage: Sequence[Action]) -> list[VifplugError]:
    """Take one stage back, newest action first, going on past errors."""
    inverses = [inverse for action in reversed(stage) if (inverse := action.inverse()) is not None]
    inverses = _unless_changed_since(host, inverses)
    if not inverses:
        return []
    # Links that a stage made go as one group; settings of links that stay go back before that.
    deletions = [action for action in inverses if isinstance(action, DeleteLinks)]
    others = [action for action in inverses if not isinstance(action, DeleteLinks)]
    gone = {link.name for action in deletions for link in action.links}
    remaining = [action for action in others if action.subject not in gone]
    group = [DeleteLinks(tuple(link for action in deletions for link in action.links))] if deletions else []
    return teardown(host, [*remaining, *group])


def _unless_changed_since(host: Host, inverses: Sequence[Action]) -> list[Action]:
    """Inverses without those of configurations that another program has changed since; the host is looked at only where
    there are any."""
    names = frozenset(inverse.subject for inverse in inverses if isinstance(inverse, ConfigureLink))
    if not names:
        return list(inverses)
    try:
        observed = host.observe(Scope(links=names, ovs=False))
    except VifplugError as error:
        LOG.warning("before an undo: %s", error)  # the privileged side looks at each value again
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
    """Carry out actions as far as it goes: together, and where that fails one by one.

    :returns: every error, in order.
    """
    errors: list[VifplugError] = []
    for stage in Plan(tuple(actions)).stages():
        try:
            host.apply([stage])
        except _AWAY as error:
            # There is no answer: one by one each action would only wait as long again.
            errors.append(error)
        except VifplugError as error:
            parts = _parts(stage)
            errors += [error] if len(parts) <= 1 else _separately(host, parts)
    return errors


def _parts(stage: Sequence[Action]) -> list[Action]:
    """One by one; links behind all that may be on them, for a shared bridge stays as long as something is."""
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
