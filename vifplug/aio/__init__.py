"""vifplug for asyncio: the methods of ``vifplug.Host`` as coroutines, with the same answers and errors.

async with vifplug.aio.connect() as host: async with host.expect([vif.id], timeout=300): await host.plug([vif])

``connect`` speaks to the daemon without threads. ``local`` and ``threaded`` run a host of this process in threads.
"""

from __future__ import annotations

from vifplug.aio.contract import ErrorCallback, Host
from vifplug.aio.remote import connect
from vifplug.aio.threads import local, threaded

__all__ = ["ErrorCallback", "Host", "connect", "local", "threaded"]
