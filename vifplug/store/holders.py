"""Finds the processes that hold SQLite's locks on a file, in /proc/locks.

The files are not opened: closing one drops this process's own locks on it (fcntl_locking(2)). The list lacks processes
of other process namespaces.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

_WAL_BYTES = (120, 122)
"""Lock bytes of the log's index: writer, checkpointer, recovery (wal.c, from WAL_WRITE_LOCK on)."""
_FILE_BYTES = (0x40000000, 0x40000000 + 511)
"""Lock bytes of the file itself: from PENDING_BYTE on (os.h)."""
_END = 2**63 - 1
_PAUSE_SECONDS = 0.02


def lock_holder(path: str) -> str:
    """The processes that keep others from writing a database, for a message; "" if they cannot be seen."""
    pids = sorted({pid for name, first, last in _locked_ranges(path) for pid in _holders(name, first, last)})
    return ", ".join(_named(pid) for pid in pids)


def holder_of(path: str, seconds: float) -> str:
    """The processes of ``who_locks`` that hold the locks for longer than that; "" if there are none."""
    deadline = time.monotonic() + seconds
    holders = lock_holder(path)
    while holders and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
        holders = holders if lock_holder(path) == holders else ""
    return holders


def _locked_ranges(path: str) -> list[tuple[str, int, int]]:
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
    """The file's device numbers from stat(2) and from its mount.

    The kernel lists a lock with the device of the file system, which is the mount's; stat(2) may give another one, of a
    btrfs subvolume or of a layer of overlayfs. The inode alone is not enough: two file systems may both have it.

    :raises OSError: when the file cannot be read.
    """
    # An O_PATH descriptor holds no locks, so closing it drops none (filp_close).
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
    process = "this process itself" if pid == os.getpid() else f"process {pid}"
    return f"{process} ({name})" if name else process
