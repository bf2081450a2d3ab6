"""Carries out the actions of a setup's steps. The only module of vifplug that starts child processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vifplug.setup import steps
from vifplug.setup.actions import Action, Command, Directory, Install, Link, Remove
from vifplug.setup.steps import Step

COMMAND_SECONDS = 600
"""vifplugd's start extends systemd's own time limit while it compares many VIFs."""
_FILE_MODE, _PARENT_MODE = 0o644, 0o755
_LINES_MAX = 3


def carry_out(planned: Sequence[Step]) -> list[Step]:
    """Carry out the needed steps, in order; the daemon's is skipped when an earlier one failed.

    :returns: the steps with their results; a step that failed has the reason.
    """
    done: list[Step] = []
    for step in planned:
        if step.status != steps.NEEDED:
            done.append(step)
        elif step.step == "daemon" and any(each.status == steps.FAILED for each in done):
            done.append(step.with_(steps.SKIPPED, "an earlier step failed"))
        else:
            done.append(_carry_out(step))
    return done


def _carry_out(step: Step) -> Step:
    for action in step.actions:
        try:
            _act(action)
        except FileNotFoundError as error:
            return step.with_(steps.FAILED, f"could not {action}: {error.filename} does not exist")
        except (OSError, LookupError) as error:
            return step.with_(steps.FAILED, f"could not {action}: {getattr(error, 'strerror', None) or error}")
        except subprocess.TimeoutExpired:
            return step.with_(steps.FAILED, f"{action}: it did not end within {COMMAND_SECONDS} s")
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.stdout or f"exit status {error.returncode}").strip().splitlines()
            return step.with_(steps.FAILED, f"{action}: {' '.join(lines[-_LINES_MAX:])}")
    return step.with_(steps.CHANGED, step.reason)


def _act(action: Action) -> None:
    match action:
        case Install():
            _install(action)
        case Link():
            os.makedirs(os.path.dirname(action.path), _PARENT_MODE, exist_ok=True)
            os.symlink(action.target, action.path)
        case Remove():
            _remove(Path(action.path))
        case Directory():
            _make(action)
        case Command():
            _run(action.argv)


def _install(action: Install) -> None:
    """Complete or not at all: the copy gets its name when it is whole."""
    target = Path(action.target)
    os.makedirs(target.parent, _PARENT_MODE, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    try:
        shutil.copyfile(action.source, new)
        new.chmod(_FILE_MODE)
        if action.keeps_former:
            former = target.with_name(f"{target.name}.old")
            former.unlink(missing_ok=True)
            os.link(target, former)
        new.rename(target)
    finally:
        new.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if "vifplug" in path.parent.name:
        with contextlib.suppress(OSError):  # other files are in it
            path.parent.rmdir()


def _make(action: Directory) -> None:
    """The owner of an existing directory is changed through a descriptor, which no link can redirect."""
    os.makedirs(os.path.dirname(action.path), _PARENT_MODE, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(action.path, action.mode)
    fd = os.open(action.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        shutil.chown(fd, action.user, action.group)
        os.fchmod(fd, action.mode)
    finally:
        os.close(fd)


def succeeds(*argv: str) -> bool:
    """Whether a command of the system's that only asks succeeds."""
    try:
        _run(argv)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _run(argv: Sequence[str]) -> None:
    """Run a program of the system's.

    :raises OSError, subprocess.SubprocessError: when it cannot be started, fails, or does not end.
    """
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
