"""The privsep contexts, one reason per capability.

``net`` holds only CAP_NET_ADMIN: to create, change and delete links, write their sysctls and open /dev/net/tun for a
persistent tap. The helper stays uid 0 because root owns Debian's OVSDB socket; without CAP_DAC_OVERRIDE that uid can
only open root's own files.
"""

from __future__ import annotations

import grp
import pwd
import shlex
from types import SimpleNamespace
from typing import Any

from oslo_privsep import capabilities, priv_context

from vifplug.errors import ConfigError
from vifplug.process.prctl import SET_NO_NEW_PRIVS, prctl

THREADS_MIN = 16
"""oslo.privsep's default is the CPU count; a long-poll verb and concurrent calls need more."""


class Context(priv_context.PrivContext):
    """A PrivContext whose options come from vifplug's own ConfigOpts, not from the global one.

    The global one gets the options registered by the base class and is read only in a helper process that
    was started by a command, where nothing else uses it.
    """

    def __init__(self, prefix: str, cfg_section: str, pypath: str, caps: list[int]) -> None:
        self._section: SimpleNamespace | None = None
        self._extra_arguments: list[str] = []
        super().__init__(prefix, cfg_section=cfg_section, pypath=pypath, capabilities=caps)

    def bind(self, options: dict[str, Any], extra_arguments: list[str]) -> None:
        """Set the options for helpers started from now on; only a helper command gets the arguments."""
        values = dict(options)
        values["capabilities"] = [_capability(name) for name in options["capabilities"]]
        values["thread_pool_size"] = max(THREADS_MIN, options["thread_pool_size"])
        self._section = SimpleNamespace(logger_name="oslo_privsep.daemon", log_daemon_traceback=False, **values)
        self._extra_arguments = extra_arguments

    @property
    def conf(self) -> Any:
        """The options of this context."""
        return self._section if self._section is not None else super().conf

    def set_client_mode(self, enabled: bool) -> None:
        """Called by the helper with False in its only thread, before it has workers: no_new_privs applies to one
        thread.

        :raises OSError: a way to new privileges cannot be given up; the helper then ends.
        """
        super().set_client_mode(enabled)
        if not enabled:
            prctl(SET_NO_NEW_PRIVS, 1)

    def helper_command(self, sockpath: str) -> list[str]:
        """The command that starts a helper if this process is not root's."""
        command = (
            shlex.split(self.conf.helper_command) if self.conf.helper_command else ["sudo", "vifplug-privsep-helper"]
        )
        return [
            *command,
            *self._extra_arguments,
            "--privsep_context",
            str(self.pypath),
            "--privsep_sock_path",
            sockpath,
        ]


def _capability(name: str) -> int:
    return int(capabilities.CAPS_BYNAME[name]) if name in capabilities.CAPS_BYNAME else int(name)


def refuse_unknown(options: dict[str, Any]) -> None:
    """Check user and group: oslo.privsep would look them up in the helper, which would end without a message.

    :raises ConfigError: naming a user or group that does not exist.
    """
    for option, look_up in (("user", pwd.getpwnam), ("group", grp.getgrnam)):
        name = options.get(option)
        try:
            if name and not str(name).isdigit():
                look_up(name)
        except KeyError as error:
            raise ConfigError(
                f"[vifplug_privileged] {option} {name!r} does not exist; give one that does, by name or number, or "
                "none: then the privileged helper runs as it is started",
                str(name),
            ) from error


net = Context(
    "vifplug.privileged",
    cfg_section="vifplug_privileged",
    pypath="vifplug.privileged.helper.context.net",
    caps=[capabilities.CAP_NET_ADMIN],
)
