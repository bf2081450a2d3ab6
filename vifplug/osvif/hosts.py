"""Which host a call goes to: the daemon, or this process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from vifplug import api, client
from vifplug.api import LocalHost
from vifplug.client import DaemonHost
from vifplug.errors import DaemonUnreachable
from vifplug.osvif import options
from vifplug.osvif.options import Choice

_LOG = logging.getLogger(__name__)

AnyHost = LocalHost | DaemonHost


@contextlib.contextmanager
def opened(choice: Choice) -> Iterator[AnyHost]:
    """The host that is configured, for one call. Each call looks anew: a daemon may have come or gone meanwhile.

    :raises DaemonUnreachable: when it is the daemon's work and it does not answer, or not to this user. The latter is
        never made up for by working here: whoever was let out of the daemon's group was let out.
    """
    with contextlib.ExitStack() as stack:
        host: AnyHost | None = None
        if choice.via != options.LOCAL:
            try:
                host = stack.enter_context(client.connect(config_file=choice.config_file))
            except DaemonUnreachable as error:
                if choice.via == options.DAEMON or isinstance(error.__cause__, PermissionError):
                    raise
                if not isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
                    _LOG.warning("%s; this process plugs without it", error)
        yield host or stack.enter_context(api.local(choice.config_file))
