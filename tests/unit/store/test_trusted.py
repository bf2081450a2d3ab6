"""Paths that another user decides about, and files that are not what they seem to be. As root: users are real here."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vifplug.errors import StoreError
from vifplug.process import fsuser
from vifplug.store import directory, trusted
from vifplug.store.locks import LockFile
from vifplug.store.snapshot import Snapshot
from vifplug.store.store import Store
from vifplug.store.trusted import Unsafe

SOMEONE, SOMEONE_ELSE = 4711, 4712
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to be several users takes root")
pytestmark = as_root
NAMES = ("vifplug.db", "vifplug.db-wal", "vifplug.db-shm", "vifplug.db-journal", "locks", "reserve")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that every user gets to, with a state_dir of another user's in it."""
    for above in (tmp_path, *tmp_path.parents):
        if not above.stat().st_mode & stat.S_IXOTH:
            above.chmod(0o755)
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", SOMEONE, SOMEONE)
    return tmp_path


def openings(state: Path) -> dict[str, Callable[[], object]]:
    """Everything that opens something in a state_dir."""
    return {
        "store": lambda: Store(str(state), user="no-such-user").close(),
        "snapshot": lambda: Snapshot(str(state)).close(),
        "prepare": lambda: directory.prepare(str(state), "no-such-user"),
    }


def as_someone(path: Path) -> None:
    os.chown(path, SOMEONE, SOMEONE, follow_symlinks=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["symlink", "dangling", "hard link", "foreign", "fifo", "directory"])
@pytest.mark.parametrize("opening", ["store", "snapshot", "prepare"])
def test_planted_file_is_refused_and_nothing_is_made_or_extended(
    place: Path, name: str, how: str, opening: str
) -> None:
    state, secret, missing = place / "state", place / "secret", place / "missing"
    secret.write_bytes(b"")
    planted = state / name
    if how == "symlink":
        planted.symlink_to(secret)
    elif how == "dangling":
        planted.symlink_to(missing)
    elif how == "hard link":
        planted.hardlink_to(secret)
    elif how == "foreign":
        planted.write_bytes(b"")
    elif how == "fifo":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    if how in ("symlink", "dangling", "fifo", "directory"):
        as_someone(planted)
    with pytest.raises(StoreError, match=name):
        openings(state)[opening]()
    assert (secret.read_bytes(), secret.stat().st_uid, missing.exists()) == (b"", 0, False)
    if opening != "snapshot":
        assert {entry.name for entry in state.iterdir()} == {name}


@pytest.mark.parametrize("kind", ["symlink", "hard link"])
def test_lock_file_that_is_a_link_is_refused(place: Path, kind: str) -> None:
    secret = place / "secret"
    secret.write_bytes(b"")
    if kind == "symlink":
        (place / "state" / "locks").symlink_to(secret)
    else:
        (place / "state" / "locks").hardlink_to(secret)
    for asks_only in (False, True):
        with pytest.raises(StoreError, match="lock file"):
            LockFile(str(place / "state" / "locks"), asks_only=asks_only)


def test_state_dir_that_its_parents_owner_turned_into_a_link_is_refused(place: Path) -> None:
    target, outer = place / "target", place / "state"
    target.mkdir(mode=0o755)
    (outer / "inner").symlink_to(target)
    as_someone(outer / "inner")
    for path in (outer / "inner", outer / "inner" / "deeper"):
        with pytest.raises(StoreError, match="controls the path"):
            directory.prepare(str(path), "nobody")
        with pytest.raises(StoreError):
            Store(str(path), user="nobody")
    assert (list(target.iterdir()), target.stat().st_uid) == ([], 0)


def test_link_of_roots_to_a_state_dir_is_followed(place: Path) -> None:
    (place / "link").symlink_to("state")
    (place / "absolute").symlink_to(place / "link")
    assert directory.prepare(str(place / "absolute"), "no-such-user").uid == SOMEONE


def test_missing_directories_in_a_users_place_are_that_users(place: Path) -> None:
    owner = directory.prepare(str(place / "state" / "a" / "b"), "no-such-user")
    assert owner.uid == SOMEONE
    assert stat.S_IMODE((place / "state" / "a" / "b").stat().st_mode) == 0o700
    assert (place / "state" / "a").stat().st_uid == SOMEONE


def test_directory_of_roots_that_others_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StoreError, match="users other than root"):
        Store(str(tmp_path), user="no-such-user")
    assert not list(tmp_path.iterdir())


def test_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Unsafe, match="more than"):
        trusted.directory(str(tmp_path / "a"))


def test_files_of_a_store_are_its_owners_whichever_user_opens_it(place: Path) -> None:
    store = Store(str(place / "state"), user="no-such-user")
    store.set_neutron_status("71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "plugged")
    LockFile(str(place / "state" / "locks"))
    found = {entry.name: (entry.stat().st_uid, stat.S_IMODE(entry.stat().st_mode)) for entry in openings_of(place)}
    assert set(found.values()) == {(SOMEONE, 0o600)}, found
    store.close()


def test_store_of_an_owner_who_is_shut_out_can_be_used_again(place: Path) -> None:
    # Below a directory that is closed to the owner root makes the files as itself.
    (place / "closed").mkdir(mode=0o700)
    (place / "state").rename(place / "closed" / "state")
    state = place / "closed" / "state"
    for _time in range(2):
        LockFile(str(state / "locks"))
        for opening in openings(state).values():
            opening()
    os.chown(state / "locks", SOMEONE_ELSE, SOMEONE_ELSE)
    with pytest.raises(StoreError, match=f"uid {SOMEONE_ELSE}"):
        LockFile(str(state / "locks"))


def openings_of(place: Path) -> list[Path]:
    return sorted((place / "state").iterdir())


def test_race_for_a_link_is_not_won(place: Path) -> None:
    # What is planted between the look and the open: whoever opens is then the directory's owner.
    state, secret = place / "state", place / "secret"
    stop = threading.Event()
    (state / "aside").symlink_to(secret)

    def swap() -> None:
        while not stop.is_set():
            for name in ("vifplug.db", "locks"):
                os.symlink(secret, state / "next")
                os.replace(state / "next", state / name)
                (state / name).unlink(missing_ok=True)

    racing = threading.Thread(target=swap)
    racing.start()
    try:
        for _round in range(200):
            for work in (openings(state)["store"], lambda: LockFile(str(state / "locks"))):
                with contextlib.suppress(StoreError):
                    work()
    finally:
        stop.set()
        racing.join()
    assert not secret.exists()


def test_other_threads_stay_who_they_are() -> None:
    begun, ended = threading.Event(), threading.Event()
    inside: list[object] = []

    def act() -> None:
        with fsuser.acting_as(SOMEONE, SOMEONE):
            inside.append(_readable("/etc/shadow"))
            begun.set()
            ended.wait(10)
        inside.append(_readable("/etc/shadow"))

    groups = os.getgroups()
    thread = threading.Thread(target=act)
    thread.start()
    begun.wait(10)
    assert (_readable("/etc/shadow"), os.getgroups(), os.geteuid()) == (True, groups, 0)
    ended.set()
    thread.join()
    assert inside == [False, True]


def _readable(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except PermissionError:
        return False
