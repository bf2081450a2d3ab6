"""One vifplugd per network namespace: a second, with another state_dir, would treat the VIFs of the first as orphans.

The claim is an abstract Unix socket: the kernel keeps these by network namespace, independent of mounts, and removes
them with their last holder. Each claim has a unique name, so that no other user can take the name first; the kernel
reports a claim's owner (unix_diag), and claims of users other than root and ourselves do not count.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from vifplug.errors import Busy

LOG = logging.getLogger(__name__)

_PREFIX = "vifplugd/"
_NAME_BYTES_MAX = 107
_AGAIN_SECONDS = (0.05, 0.25)
_SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _NLMSG_DONE = 20, 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_SHOW_NAME, _SHOW_UID = 0x1, 0x40
_ATTRIBUTE_NAME, _ATTRIBUTE_UID = 0, 7
_HEADER, _REQUEST = struct.Struct("=IHHII"), struct.Struct("=BBHIIIII")
_MESSAGE_BYTES = 16
"""The size of struct unix_diag_msg, before the attributes."""
_RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Claim:
    name: str
    uid: int | None
    """None if the kernel does not report it."""

    def __str__(self) -> str:
        _nonce, pid, state_dir = [*self.name.removeprefix(_PREFIX).split("/", 2), "", ""][:3]
        owner = "" if self.uid is None else f" of uid {self.uid}"
        return f"vifplugd (process {pid}{owner}, state_dir {state_dir!r})"


def hold(state_dir: str, seconds: float) -> socket.socket:
    """Claim this network namespace, while the socket is open here or in a forked child.

    :param seconds: how long to wait for the end of another vifplugd.
    :raises Busy: when another vifplugd keeps the claim.
    """
    deadline = time.monotonic() + seconds
    while True:
        mine, name = _bound(state_dir)
        others = [claim for claim in _claims() if claim.name != name and _counts(claim)]
        if not others:
            return mine
        # Two that start together see each other: both release, and one of them is the first to retry.
        mine.close()
        if time.monotonic() >= deadline:
            raise Busy(
                f"another {others[0]} keeps the VIFs of this network namespace: two would delete and recreate each "
                f"other's; stop it first, or configure state_dir {state_dir!r} for both and start one",
                state_dir,
            )
        time.sleep(random.uniform(*_AGAIN_SECONDS))


def _bound(state_dir: str) -> tuple[socket.socket, str]:
    name = f"{_PREFIX}{secrets.token_hex(8)}/{os.getpid()}/{state_dir}".encode(errors="replace")[:_NAME_BYTES_MAX]
    mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    mine.bind(b"\0" + name)
    return mine, name.decode(errors="replace")


def _counts(claim: _Claim) -> bool:
    if claim.uid in (None, 0, os.geteuid()):
        return True
    LOG.warning(
        "uid %d claims to be vifplugd (socket @%s); ignored, because it is neither root nor our user",
        claim.uid,
        claim.name,
    )
    return False


def _claims() -> Iterator[_Claim]:
    """All claims in this network namespace."""
    try:
        sockets = list(_diagnosed())
    except OSError as error:
        LOG.warning("cannot read the owners of Unix sockets (unix_diag: %s): any user's claim counts", error.strerror)
        sockets = [(name, None) for name in _listed()]
    for name, uid in sockets:
        text = name.removeprefix(b"\0").decode(errors="replace")
        if name.startswith(b"\0") and text.startswith(_PREFIX):
            yield _Claim(text, uid)


def _listed() -> Iterator[bytes]:
    with open("/proc/thread-self/net/unix", "rb") as sockets:
        for line in sockets:
            columns = line.rstrip(b"\n").split(b" ", 7)
            if len(columns) == 8 and columns[7].lstrip(b"0123456789 ").startswith(b"@"):
                yield b"\0" + columns[7].lstrip(b"0123456789 ")[1:]


def _diagnosed() -> Iterator[tuple[bytes, int | None]]:
    """Name and owner of each Unix socket (sock_diag(7)).

    :raises OSError: when the kernel does not support it.
    """
    with contextlib.closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)) as diag:  # NETLINK_SOCK_DIAG
        request = _REQUEST.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_NAME | _SHOW_UID, 0xFFFFFFFF, 0xFFFFFFFF)
        size = _HEADER.size + len(request)
        diag.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
        while True:
            data = diag.recv(_RECEIVE_BYTES)
            while data:
                length, kind, *_rest = _HEADER.unpack_from(data)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (number,) = struct.unpack_from("=i", data, _HEADER.size)
                    raise OSError(-number, os.strerror(-number))
                yield _named(data[_HEADER.size + _MESSAGE_BYTES : length])
                data = data[(length + 3) & ~3 :]


def _named(attributes: bytes) -> tuple[bytes, int | None]:
    name, uid = b"", None
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        value = attributes[4:length]
        if kind == _ATTRIBUTE_NAME:
            name = value
        elif kind == _ATTRIBUTE_UID:
            (uid,) = struct.unpack("=I", value)
        attributes = attributes[max(4, (length + 3) & ~3) :]
    return name, uid
