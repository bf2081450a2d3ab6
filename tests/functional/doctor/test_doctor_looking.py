"""The doctor and host-info change nothing of a host, and need nothing of it that can be missing."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug.store.database import FILE

NOWHERE = (
    'for place in /tmp /var/tmp /usr/tmp "$1"; do mount --bind "$place" "$place" 2>/dev/null'
    ' && mount -o remount,ro,bind "$place"; done; shift; cd "$1" && shift && exec "$@"'
)


def traces(directory: Path) -> dict[str, Any]:
    return {
        str(path): (found.st_uid, found.st_gid, found.st_mode, found.st_mtime_ns, found.st_ino, found.st_size)
        for path in sorted((directory, *directory.iterdir()))
        for found in [path.stat()]
    }


def look(world: World) -> dict[str, Any]:
    """What the doctor says; host-info is asked, too."""
    assert world.vifplug_json("--local", "host-info")["integration_bridge_datapath"] == "netdev"
    reported = world.vifplug("--local", "-o", "json", "doctor", check=False)
    diagnosis: dict[str, Any] = json.loads(reported.stdout)
    return diagnosis


def ill(diagnosis: dict[str, Any]) -> dict[str, str]:
    return {each["check"]: each["status"] for each in diagnosis["checks"] if each["status"] != "ok"}


def test_state_directory_is_left_as_it_is(world: World) -> None:
    world.directory.chmod(0o755)
    world.write_config(daemon={"user": "nobody"})
    world.vifplug("--local", "plug", "-", input=HYBRID.text)
    # What lies there for somebody else, and a store that root has made anew: the next command gives them to nobody.
    (world.state_dir / f"{FILE}.bak").write_text("an operator's")
    for name in (f"{FILE}.bak", FILE, "locks", "reserve"):
        os.chown(world.state_dir / name, 0, 0)
    os.chown(world.state_dir, 0, 0)
    before = traces(world.state_dir)
    assert ill(look(world)) == {}
    assert traces(world.state_dir) == before
    with Vifplugd(world) as daemon:
        # The first comparison writes down since when the guest's end is missing.
        wait_until(lambda: daemon.metric("vifplug_absent_guests") == 1, "the first comparison")
        before = traces(world.state_dir)
        assert ill(look(world)) == {}
        assert traces(world.state_dir) == before


@pytest.mark.parametrize(
    ("version", "found"), [(2, {}), (99, {"store": "error", "vifs": "unseen", "orphans": "unseen", "guests": "unseen"})]
)
def test_store_of_another_version_stays_of_that_version(world: World, version: int, found: dict[str, str]) -> None:
    world.vifplug("--local", "plug", "-", input=HYBRID.text)
    database = sqlite3.connect(world.state_dir / FILE, isolation_level=None)
    database.execute("DROP TABLE told")
    database.execute(f"PRAGMA user_version={version}")
    database.close()
    before = traces(world.state_dir)
    diagnosis = look(world)
    assert ill(diagnosis) == found
    assert traces(world.state_dir) == before
    (store,) = (each for each in diagnosis["checks"] if each["check"] == "store")
    assert version == 2 or "newer vifplug" in store["reason"]


def test_no_place_for_temporary_files_is_needed(world: World) -> None:
    world.vifplug("--local", "plug", "-", input=HYBRID.text)
    world.run("ip", "link", "set", HYBRID.qvb, "nomaster")
    words = ["unshare", "--mount", "sh", "-c", NOWHERE, "sh", os.getcwd(), os.getcwd()]
    reported = world.run(*words, *world.vifplug_argv("-o", "json", "host-info"), check=False)
    assert (reported.returncode, reported.stderr) == (0, "")
    assert json.loads(reported.stdout)["integration_bridge_datapath"] == "netdev"
    reported = world.run(*words, *world.vifplug_argv("-o", "json", "doctor"), check=False)
    assert (reported.returncode, reported.stderr) == (1, "")
    # The world's directory is in /tmp: its store cannot be written, and is compared with the host all the same.
    assert ill(json.loads(reported.stdout)) == {"store": "error", "vifs": "error"}
