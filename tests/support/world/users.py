"""Users and groups for a test: a daemon that sees them in /etc/passwd, and peers with their ids.

/etc is the machine's; the daemon gets a mount namespace in which two of its files are replaced.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.world.world import REPOSITORY, World

PASSWD = "root:x:0:0::/root:/bin/sh\nvifplug:x:4200:4200::/nonexistent:/bin/false\n"
GROUP = "root:x:0:\nvifplug:x:4200:\nwatchers:x:4300:\n"
# A developer's interpreter may be where only root has access; the worker imports from there as another user.
_ENTER = """
set -e
mount --make-rprivate /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
held=$1/held home=$2 count=$3
shift 3
mkdir -p "$held"
mount --bind "$home" "$held"
if [ "$count" -gt 0 ]; then mount -t tmpfs -o mode=0755 home "$home"; fi
while [ "$count" -gt 0 ]; do
    mkdir -p "$home/$1"
    mount --bind "$held/$1" "$home/$1"
    shift; count=$((count - 1))
done
umount "$held"
exec "$@"
"""


@dataclass(frozen=True)
class Peer:
    """A user who connects."""

    uid: int
    gid: int
    groups: Sequence[int] = ()

    def run(self, work: Callable[[], Any]) -> Any:
        """The work's result, done as this user in a separate process; for an OSError its name."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups(list(self.groups))
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                try:
                    answer = work()
                except OSError as error:
                    answer = type(error).__name__
                os.write(writer, json.dumps(answer).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as output:
            text = output.read()
        os.waitpid(child, 0)
        assert text, "the peer failed: see the errors above"
        return json.loads(text)

    def ask(self, daemon: Vifplugd, method: str, path: str, body: Any = None) -> Any:
        """A request's status and body, or the name of the error of the connection."""
        return self.run(lambda: daemon.request(method, path, body))

    @property
    def words(self) -> list[str]:
        """The command that becomes this user."""
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", groups]


def with_users(world: World, **daemon: object) -> Vifplugd:
    """A daemon that becomes user vifplug and opens its socket to group vifplug, as installed; not started."""
    world.directory.chmod(0o755)
    (world.directory / "passwd").write_text(PASSWD)
    (world.directory / "group").write_text(GROUP)
    made = Vifplugd(world, **({"user": "vifplug", "socket_group": "vifplug"} | daemon))
    home = pwd.getpwuid(0).pw_dir
    hidden = [place for place in (Path(sys.base_prefix), REPOSITORY) if place.is_relative_to(home)]
    there = [str(len(hidden)), *(str(place.relative_to(home)) for place in hidden)]
    enter = ["unshare", "--mount", "sh", "-c", _ENTER, "enter", str(world.directory), home, *there]
    made.command = [*enter, *made.command]
    return made


def status_of(pid: int) -> dict[str, str]:
    """The kernel's data about a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}
