"""The steps of `setup-host --undo`: what setup-host has made is removed, what others made or need is left. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vifplug.setup import facts as host
from vifplug.setup import files
from vifplug.setup.actions import Action, Command, Remove
from vifplug.setup.facts import Facts
from vifplug.setup.steps import DONE, MANUAL, NEEDED, SKIPPED, Step


def plan(facts: Facts) -> Sequence[Step]:
    """The steps, in their order. VIFs, their records, users and bridges are left."""
    return [
        _daemon(facts),
        *_programs(facts),
        *_files(facts),
        Step(
            step="directory",
            subject=facts.state_dir,
            status=SKIPPED,
            reason="it records the plugged VIFs; remove it when no VIF is plugged",
            command=f"rm -r {facts.state_dir}",
        ),
        Step(
            step="user",
            subject=facts.user,
            status=SKIPPED,
            reason=f"it owns {facts.state_dir}",
            command=f"userdel {facts.user}",
        ),
    ]


def _needed(step: str, subject: str, *actions: Action) -> Step:
    reason = "; ".join(str(action) for action in actions)
    return Step(step=step, subject=subject, status=NEEDED, reason=reason, actions=actions)


def _daemon(facts: Facts) -> Step:
    daemon = facts.daemon
    if not (daemon.is_enabled or daemon.is_active):
        return Step(step="daemon", subject=files.SERVICE, status=DONE, reason="neither enabled nor running")
    argv = ("systemctl", "disable", *(["--now"] if daemon.is_booted else []), *reversed(files.UNITS))
    return _needed("daemon", files.SERVICE, Command(argv=argv))


def _programs(facts: Facts) -> Iterator[Step]:
    for name, program in facts.programs.items():
        path = f"{files.LINKS_DIRECTORY}/{name}"
        if program.is_own and program.seen == path and program.own != path:
            yield _needed("program", name, Remove(path=path))


def _files(facts: Facts) -> Iterator[Step]:
    for file in files.FILES:
        state = facts.files[file.target]
        if state == host.SAME:
            # systemd forgets the units only when it is asked to.
            is_last_unit = file is files.SOCKET_FILE and facts.daemon.is_booted
            more = [Command(argv=("systemctl", "daemon-reload"))] if is_last_unit else []
            yield _needed("file", file.target, Remove(path=file.target), *more)
        elif state == host.DIFFERENT and file.is_editable:
            yield Step(step="file", subject=file.target, status=SKIPPED, reason="it was changed: left as it is")
        elif state == host.DIFFERENT:
            yield Step(
                step="file",
                subject=file.target,
                status=MANUAL,
                reason="it is not the file of this version: left as it is",
                command=f"rm {file.target}",
            )
        elif state == host.PACKAGED:
            yield Step(step="file", subject=file.target, status=SKIPPED, reason="the package has it, and removes it")
