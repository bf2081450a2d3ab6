"""The program ``vifplug-privsep-helper``: a helper for a caller that is not root, started through sudo.

It holds the caller's session lock, as a forked helper does by inheritance, and then becomes oslo.privsep's daemon. The
lock file is opened before privileges are dropped; only its lock is ever used.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import stat
import struct
import sys

from oslo_privsep import comm, daemon

from vifplug.privileged.helper import serve
from vifplug.process import stdio

_FLOCK = struct.Struct("hhqqi4x")
_SESSIONS = 1 << 62
"""As of vifplug.store.locks: the bytes before it are other locks."""


def main() -> int:
    """Console script.

    :returns: the exit status.
    """
    stdio.settle()
    parser = argparse.ArgumentParser(prog="vifplug-privsep-helper", allow_abbrev=False)
    parser.add_argument("--hold", required=True, metavar="FILE:BYTE", help="the caller's session lock")
    known, rest = parser.parse_known_args()
    path, _colon, byte = known.hold.rpartition(":")
    _hold(path, int(byte))
    sys.argv[1:] = rest
    # Only the helper runs in this process.
    setattr(comm, "ServerChannel", serve.BoundedChannel)  # noqa: B010
    setattr(daemon, "Daemon", serve.BoundedDaemon)  # noqa: B010
    daemon.helper_main()
    return 0


def _hold(path: str, byte: int) -> None:
    # Checked before opening: opening some devices has effects.
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(handle).st_mode) or byte < _SESSIONS:
        raise SystemExit(f"vifplug-privsep-helper: {path!r} is not a lock file, or {byte} is no session's")
    descriptor = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(handle)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))


if __name__ == "__main__":
    sys.exit(main())
