"""Which process holds SQLite's locks on a file, as far as the kernel tells: /proc/locks.

The files are not opened: to close one takes this process's own locks on it away (fcntl_locking(2)). Processes of other
process namespaces are not in the list.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

_WAL_BYTES = (120, 122)
"""Of the log's index: who writes, who writes back, who recovers (wal.c, WAL_WRITE_LOCK and those after it)."""
_FILE_BYTES = (0x40000000, 0x40000000 + 511)
"""Of the file itself: PENDING_BYTE and those after it (os.h)."""
_END = 2**63 - 1
_PAUSE_SECONDS = 0.02


def who_locks(path: str) -> str:
    """Who keeps others from writing a database, for a message; "" where that cannot be seen."""
    found = sorted({pid for name, first, last in _kept(path) for pid in _holders(name, first, last)})
    return ", ".join(_named(pid) for pid in found)


def who_keeps(path: str, seconds: float) -> str:
    """Who has the locks of ``who_locks`` for longer than that; "" where nobody that can be seen does."""
    deadline = time.monotonic() + seconds
    found = who_locks(path)
    while found and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
        found = found if who_locks(path) == found else ""
    return found


def _kept(path: str) -> list[tuple[str, int, int]]:
    return [(f"{path}-shm", *_WAL_BYTES), (path, *_FILE_BYTES)]


def _holders(path: str, first: int, last: int) -> Iterator[int]:
    """Processes with a write lock on some of these bytes."""
    try:
        inode, devices = os.stat(path).st_ino, _devices(path)
    except OSError:
        return
    for device, pid in _write_locks(inode, first, last):
        if device in devices:
            yield pid


def _devices(path: str) -> set[str]:
    """The file's device number as stat(2) has it, and as its mount has it.

    The kernel lists a lock with the device of the file system, which is the mount's; stat(2) may say another one, of a
    btrfs subvolume or of a layer of overlayfs. The inode alone is not enough: two file systems may both have it.

    :raises OSError: when the file cannot be seen.
    """
    # A descriptor of O_PATH holds no locks, so that closing it takes none away (filp_close).
    opened = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        device = os.fstat(opened).st_dev
        with open(f"/proc/self/fdinfo/{opened}", encoding="ascii") as fdinfo:
            mount = next((line.split()[1] for line in fdinfo if line.startswith("mnt_id:")), "")
    finally:
        os.close(opened)
    devices = {(os.major(device), os.minor(device))}
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
        # "36 35 98:0 /mnt1 /mnt2 rw,noatime ..." (proc_pid_mountinfo(5)), numbers in decimal; in /proc/locks in hex.
        for words in map(str.split, mounts):
            if words[0] == mount:
                major, minor = map(int, words[2].split(":"))
                devices.add((major, minor))
    return {f"{major:02x}:{minor:02x}" for major, minor in devices}


def _write_locks(inode: int, first: int, last: int) -> Iterator[tuple[str, int]]:
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii", errors="replace") as locks:
        for line in locks:
            words = line.split()
            # "1: POSIX  ADVISORY  WRITE 1234 fe:00:2197889 120 120"; "1: -> POSIX ..." waits for one.
            if len(words) != 8 or words[1] != "POSIX" or words[3] != "WRITE":
                continue
            device, _colon, number = words[5].rpartition(":")
            end = _END if words[7] == "EOF" else int(words[7])
            if int(number) == inode and int(words[6]) <= last and end >= first:
                yield device, int(words[4])


def _named(pid: int) -> str:
    name = ""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
        name = comm.read().strip()
    who = "this process itself" if pid == os.getpid() else f"process {pid}"
    return f"{who} ({name})" if name else who
