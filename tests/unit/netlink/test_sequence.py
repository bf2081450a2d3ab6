"""Sequence numbers of netlink messages, which have 32 bits; and how many dumps of nftables are read at a time."""

from __future__ import annotations

import contextlib
import threading

from vifplug.netlink import socket as netlink
from vifplug.privileged import nftables


def test_sequence_numbers_wrap() -> None:
    """Questions to the kernel, of the loopback device that every network namespace has."""
    reader = netlink.LinkSocket()
    reader._sequence = netlink._numbers(2**32 - 2)
    for _ in range(3):
        assert list(reader.get(["lo", "lo"])) == ["lo"]
    reader._sequence = netlink._numbers(2**32 - 1)
    assert reader.dump() and reader.dump()
    reader.close()


def test_one_dump_of_nftables_is_read_at_a_time() -> None:
    def read() -> None:
        with contextlib.suppress(OSError):
            nftables.dump(nftables.CHAINS)

    thread = threading.Thread(target=read)
    with nftables._one_dump:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
