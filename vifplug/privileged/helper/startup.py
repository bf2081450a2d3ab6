"""The first verb of a helper: it fixes what may not change later, and ends imports."""

from __future__ import annotations

import os

from vifplug.errors import PermissionDenied
from vifplug.privileged import ownership
from vifplug.privileged.filters import tables as filter_tables
from vifplug.privileged.helper import import_lock
from vifplug.privileged.helper.context import net
from vifplug.privileged.links import configure
from vifplug.privileged.ovsdb import columns
from vifplug.privileged.ovsdb import verbs as ovsdb


@net.entrypoint
def begin(
    connection: tuple[str, ...], timeout: float, configurable: tuple[str, ...] = (), socket_directory: str = ""
) -> int:
    """Fix the OVSDB address, the configurable devices and the directory of sockets; end imports.

    :param connection: OVSDB remotes, tried in turn.
    :param timeout: seconds, for every OVSDB wait.
    :param configurable: names or globs of other programs' devices that may be configured.
    :param socket_directory: the directory of sockets that a port's columns may name; "" for none.
    :returns: the helper's pid.
    :raises PermissionDenied: when called a second time.
    """
    if import_lock.is_closed():
        raise PermissionDenied("refused to start again: the helper's OVSDB address is fixed at its start")
    ownership.start()
    filter_tables.start()
    ovsdb.fix_address(connection, timeout)
    configure.fix_devices(configurable)
    columns.fix_socket_directory(socket_directory)
    import_lock.close()
    return os.getpid()
