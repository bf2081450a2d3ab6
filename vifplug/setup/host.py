"""`setup-host` as a whole: facts, steps, effects, and the facts again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from vifplug import errors
from vifplug.setup import gather, removal, run, steps
from vifplug.setup.facts import Facts
from vifplug.setup.steps import Report, Step, Wishes


def setup(config_file: str | None, wishes: Wishes, *, dry_run: bool, undo: bool) -> Report:
    """Set this host up for vifplugd, or undo that.

    :returns: each step and its result; with ``dry_run`` each step and whether it is needed.
    :raises errors.InputError: when this user may not change the host.
    :raises errors.ConfigError: when the configuration is wrong.
    """
    if not dry_run and os.geteuid() != 0:
        raise errors.InputError(
            "setup-host changes users, units and files of the system, which only root may: run it as root, or see "
            "with --dry-run what it would do"
        )

    def plan(facts: Facts) -> Sequence[Step]:
        return removal.plan(facts) if undo else steps.plan(facts, wishes)

    def look() -> Sequence[Step]:
        return plan(gather.gather(config_file, wishes.operators))

    planned = look()
    return Report(steps=planned if dry_run else tuple(carried_out(planned, look)))


def carried_out(planned: Sequence[Step], look: Callable[[], Sequence[Step]]) -> Sequence[Step]:
    """Carry out the needed steps and read back: one that is still needed has failed, though its commands succeeded."""
    results = run.carry_out(planned)
    if not any(step.status == steps.CHANGED for step in results):
        return results
    left = {(step.step, step.subject) for step in look() if step.status == steps.NEEDED}
    return [
        step.with_(steps.FAILED, f"{step.reason}: done, and still needed when it was read back")
        if step.status == steps.CHANGED and (step.step, step.subject) in left
        else step
        for step in results
    ]
