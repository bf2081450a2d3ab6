"""Opens the host for a call: the daemon, or this process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from vifplug.api import local, remote, retry
from vifplug.api.contract import Host
from vifplug.api.local import LocalHost
from vifplug.errors import BridgeMissing, ConfigError, DaemonUnreachable, HelperDied, StoreError, VifplugError
from vifplug.osvif import options
from vifplug.osvif.options import Choice

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
_WORK_HERE = f"set [{options.GROUP}] via = {options.LOCAL}"


def working(choice: Choice, work: Callable[[Host], T]) -> T:
    """The result of ``work`` with the configured host, retried for ``retry_timeout`` while a retry is safe.

    Each retry opens the host again: vifplug's verbs are idempotent, and the next call settles the work of an aborted
    one.

    :raises VifplugError: of the last attempt.
    """

    def attempt() -> T:
        try:
            with opened(choice) as host:
                return work(host)
        except VifplugError as error:
            raise _as_plug_error(error) from error.__cause__

    return retry.repeated(attempt, choice.retry_timeout, retries=_is_retryable)


def _is_retryable(error: BaseException) -> bool:
    # At boot Neutron's agent or ovn-controller creates br-int, often after nova-compute has started.
    return isinstance(error, BridgeMissing) or retry.is_retryable(error)


@contextlib.contextmanager
def opened(choice: Choice) -> Iterator[Host]:
    """The configured host, for one call. Each call opens it again, because a daemon may start or stop in between.

    :raises DaemonUnreachable: when the daemon is required and does not answer, or is closed to this user. In the second
        case this process never does the work instead: the user was kept out of the daemon's group on purpose.
    :raises ConfigError, StoreError, HelperDied: when this process cannot do it.
    """
    with contextlib.ExitStack() as stack:
        host: Host | None = None
        if choice.via != options.LOCAL:
            try:
                host = stack.enter_context(remote.connect(config_file=choice.config_file))
            except DaemonUnreachable as error:
                if choice.via == options.DAEMON or isinstance(error.__cause__, PermissionError):
                    raise
                if not isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
                    _LOG.warning("%s; this process plugs without it", error)
        yield host or stack.enter_context(_local(choice))


def _as_plug_error(error: VifplugError) -> VifplugError:
    """The error, with this plugin's option in place of the command line's."""
    message = error.message.replace("try again with --local", _WORK_HERE).replace("with --local", _WORK_HERE)
    return error if message == error.message else type(error)(message, error.subject, error.step)


@contextlib.contextmanager
def _local(choice: Choice) -> Iterator[LocalHost]:
    """The host in this process. It cannot be used with eventlet, where no thread runs while one waits for the helper.

    :raises ConfigError: with eventlet, or if this user may not plug.
    """
    eventlet = sys.modules.get("eventlet")
    if eventlet is not None and eventlet.patcher.is_monkey_patched("thread"):
        raise ConfigError(
            "this process runs on eventlet, where vifplug cannot start a privileged helper; start vifplugd, and set "
            f"[{options.GROUP}] via = {options.DAEMON}",
            options.GROUP,
        )
    with contextlib.ExitStack() as stack:
        try:
            host = stack.enter_context(local.local(choice.config_file))
        except (StoreError, HelperDied) as error:
            if not _is_denied(error):
                raise
            raise ConfigError(
                f"[{options.GROUP}] via = {choice.via}: user {_this_user()!r} cannot plug in this process: "
                f"{error.message}. Start vifplugd, add the user to the group of its socket, and set "
                f"[{options.GROUP}] via = {options.DAEMON}; or set [{options.GROUP}] config_file to a configuration "
                "whose state_dir belongs to the user and whose [vifplug_privileged] helper_command the user may run",
                options.GROUP,
            ) from error
        yield host


def _is_denied(error: VifplugError) -> bool:
    """Whether this user may not plug: the store belongs to another user, or no helper can be started."""
    cause = error.__cause__
    is_closed = isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM)
    return os.geteuid() != 0 and (is_closed or isinstance(error, HelperDied))


def _this_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
