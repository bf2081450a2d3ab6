"""Which host a call goes to: the daemon, or this process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from vifplug.api import local as api
from vifplug.api import remote as client
from vifplug.api import retry
from vifplug.api.contract import Host
from vifplug.api.local import LocalHost
from vifplug.errors import BridgeMissing, ConfigError, DaemonUnreachable, HelperDied, StoreError, VifplugError
from vifplug.osvif import options
from vifplug.osvif.options import Choice

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
_WORK_HERE = f"set [{options.GROUP}] via = {options.LOCAL}"


def working(choice: Choice, work: Callable[[Host], T]) -> T:
    """What ``work`` returns with the configured host, repeated for ``retry_timeout`` while a retry is safe.

    All of it is repeated, the way to the host included: vifplug's verbs are idempotent, and what a broken-off call had
    begun is settled by the next one.

    :raises VifplugError: the last try's.
    """

    def attempt() -> T:
        try:
            with opened(choice) as host:
                return work(host)
        except VifplugError as error:
            raise _in_novas_words(error) from error.__cause__

    return retry.repeated(attempt, choice.retry_timeout, retries=_is_worth_repeating)


def _is_worth_repeating(error: BaseException) -> bool:
    # When a host boots, Neutron's agent or ovn-controller makes br-int, often after nova-compute has started.
    return isinstance(error, BridgeMissing) or retry.is_worth_repeating(error)


@contextlib.contextmanager
def opened(choice: Choice) -> Iterator[Host]:
    """The host that is configured, for one call. Each call looks anew: a daemon may have come or gone meanwhile.

    :raises DaemonUnreachable: when it is the daemon's work and it does not answer, or not to this user. The latter is
        never made up for by working here: whoever was let out of the daemon's group was let out.
    :raises ConfigError, StoreError, HelperDied: when this process cannot do it.
    """
    with contextlib.ExitStack() as stack:
        host: Host | None = None
        if choice.via != options.LOCAL:
            try:
                host = stack.enter_context(client.connect(config_file=choice.config_file))
            except DaemonUnreachable as error:
                if choice.via == options.DAEMON or isinstance(error.__cause__, PermissionError):
                    raise
                if not isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
                    _LOG.warning("%s; this process plugs without it", error)
        yield host or stack.enter_context(_local(choice))


def _in_novas_words(error: VifplugError) -> VifplugError:
    """The error, with this plugin's option where the advice is one of the command line."""
    message = error.message.replace("try again with --local", _WORK_HERE).replace("with --local", _WORK_HERE)
    return error if message == error.message else type(error)(message, error.subject, error.step)


@contextlib.contextmanager
def _local(choice: Choice) -> Iterator[LocalHost]:
    """This process, where it can be one: of eventlet's threads, none goes on while one waits for the helper's answer.

    :raises ConfigError: in place of waiting for ever.
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
            host = stack.enter_context(api.local(choice.config_file))
        except (StoreError, HelperDied) as error:
            if not _is_denied(error):
                raise
            raise ConfigError(
                f"[{options.GROUP}] via = {choice.via}: user {_this_user()!r} cannot plug in this process: "
                f"{error.message}. Start vifplugd, let the user into the group of its socket, and set "
                f"[{options.GROUP}] via = {options.DAEMON}; or name by [{options.GROUP}] config_file a configuration "
                "whose state_dir is the user's own and whose [vifplug_privileged] helper_command the user may run",
                options.GROUP,
            ) from error
        yield host


def _is_denied(error: VifplugError) -> bool:
    """Whether this user may not: the store is another's, or no helper can be started."""
    cause = error.__cause__
    is_closed = isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM)
    return os.geteuid() != 0 and (is_closed or isinstance(error, HelperDied))


def _this_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
