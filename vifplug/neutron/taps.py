"""The taps of this host's ports, and what wakes the agent. Neither needs a privilege."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Iterator

from vifplug import naming
from vifplug.errors import LinkError
from vifplug.netlink import addresses, forwarding
from vifplug.netlink.monitor import LinkWatch
from vifplug.netlink.socket import LinkSocket

LOG = logging.getLogger(__name__)

_TAP = re.compile(r"tap[0-9a-f]{8}-[0-9a-f]{2}")
_WATCH_SECONDS = 5.0
"""How long one wait for the kernel's events lasts: so long may the end of the watch take."""


def name_of(port_id: str) -> str:
    """The name of a port's tap."""
    return naming.device(naming.ROLE_TAP, port_id)


def devices() -> dict[str, int]:
    """All network devices of this host, with their ifindexes."""
    return {name: index for index, name in socket.if_nameindex()}


def there() -> dict[str, int]:
    """The taps of ports that exist, with their ifindexes."""
    return {name: index for name, index in devices().items() if _TAP.fullmatch(name)}


def peers_of(number: int) -> tuple[str, ...]:
    """The hosts to which the VXLAN device of a network sends; none without the device."""
    index = devices().get(naming.vxlan_device(number))
    if index is None:
        return ()
    with contextlib.closing(LinkSocket()) as link_socket, contextlib.suppress(LinkError):
        return forwarding.peers(link_socket, index)
    return ()


def has_address(address: str) -> bool:
    """Whether a device of this host has an address."""
    with contextlib.closing(LinkSocket()) as link_socket:
        return any(address in held for held in addresses.addresses(link_socket).values())


@contextlib.contextmanager
def only_one(name: str) -> Iterator[bool]:
    """Hold a name that one process of this network namespace can hold; it is free again when the process ends.

    :returns: as a context, whether it is held.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
        try:
            held.bind(f"\0{name}")
        except OSError:
            yield False
            return
        yield True


class TapWatch:
    """Wakes the agent when a tap appears, disappears, or is made again.

    :param wake: set then.
    """

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._last = there()

    def start(self) -> None:
        """Watch, in a thread of its own."""
        threading.Thread(target=self._run, name="taps", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                with contextlib.closing(LinkWatch()) as watch:
                    self._look()
                    while True:
                        watch.changes(_WATCH_SECONDS)
                        self._look()
            except LinkError as error:
                LOG.warning("%s; the next comparison finds what changed meanwhile", error)
                threading.Event().wait(_WATCH_SECONDS)

    def _look(self) -> None:
        now = there()
        if now != self._last:
            self._last = now
            self._wake.set()
