"""File access as another user, for one thread: setfsuid(2). The other threads of the process keep their user.

os.seteuid() and os.setgroups() change all threads (nptl(7)), which a library must not do. The kernel removes
CAP_DAC_OVERRIDE and similar ones from a thread whose fsuid is not 0, and restores them with 0 (capabilities(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

_libc = ctypes.CDLL(None, use_errno=True)
_ASK = ctypes.c_uint32(-1)
_SYS_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159}.get(platform.machine())
"""glibc's own setgroups() changes all threads. On other machines the thread keeps its supplementary groups."""


def acting_as(uid: int, gid: int) -> contextlib.AbstractContextManager[None]:
    """Open, create and remove files as a user. Only for root; otherwise the user does not change.

    :raises PermissionError: on entry, when the kernel does not let this process act as that user.
    """
    is_changed = uid != 0 and os.geteuid() == 0 and _libc.setfsuid(_ASK) != uid
    return _as_user(uid, gid) if is_changed else contextlib.nullcontext()


@contextlib.contextmanager
def _as_user(uid: int, gid: int) -> Iterator[None]:
    was_uid, was_gid, groups = _libc.setfsuid(_ASK), _libc.setfsgid(_ASK), os.getgroups()
    try:
        _set_groups([])
        _libc.setfsgid(gid)
        _libc.setfsuid(uid)
        if (_libc.setfsuid(_ASK), _libc.setfsgid(_ASK)) != (uid, gid):
            raise PermissionError(1, f"this process may not act as uid {uid} (it lacks CAP_SETUID or CAP_SETGID)")
        yield
    finally:
        _libc.setfsuid(was_uid)
        _libc.setfsgid(was_gid)
        _set_groups(groups)


def _set_groups(groups: list[int]) -> None:
    if _SYS_SETGROUPS is None:
        return
    array = (ctypes.c_uint32 * len(groups))(*groups)
    if _libc.syscall(_SYS_SETGROUPS, len(groups), array) != 0:
        number = ctypes.get_errno()
        raise PermissionError(number, f"cannot change this thread's groups: {os.strerror(number)}")
