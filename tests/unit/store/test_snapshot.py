"""The store, looked at: what is read is what others wrote, and nothing of the directory is another afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.api.local import LocalHost
from vifplug.doctor import state_dir
from vifplug.errors import StoreError
from vifplug.store import database
from vifplug.store.database import FILE
from vifplug.store.locks import LockFile
from vifplug.store.records import PLUG, Intent
from vifplug.store.snapshot import Snapshot


def traces(directory: Path) -> dict[str, Any]:
    """All there is but what is in the log's index, which all connections of one process share and keep up."""
    return {
        str(path): (
            *(found.st_uid, found.st_mode, found.st_mtime_ns, found.st_ino),
            path.is_file() and path.suffix != ".db-shm" and path.read_bytes(),
        )
        for path in sorted((directory, *directory.rglob("*")))
        for found in [path.stat()]
    }


@contextlib.contextmanager
def left_as_it_is(directory: Path) -> Iterator[None]:
    before = traces(directory)
    yield
    assert traces(directory) == before


@contextlib.contextmanager
def written(directory: Path) -> Iterator[LocalHost]:
    """A store with a VIF, and whoever has written it, who goes at the end."""
    plugger = builders.plugger(directory, FakeHost())
    host = builders.local_host(plugger)
    host.plug([builders.vif()])
    yield host
    plugger.store.close()


def test_open_work_is_read_anew(tmp_path: Path) -> None:
    with written(tmp_path) as host, contextlib.closing(Snapshot(str(tmp_path))) as store:
        assert store.pending() == []
        for number in range(3):
            session = Intent(vif_id=builders.TAP, verb=PLUG, session=number, resources=())
            host._context.store.begin([session], {})
            assert [intent.session for intent in store.contents().intents.values()] == [number]
            assert store.pending() == [builders.TAP]


def seen(directory: Path) -> set[str]:
    with contextlib.closing(Snapshot(str(directory))) as store:
        store.neutron_status()
        return set(store.contents().records)


def test_store_is_read_and_left_as_it_is_while_others_have_it_open(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with written(state) as host:
        assert (state / f"{FILE}-wal").stat().st_size
        with left_as_it_is(state):
            assert seen(state) == {builders.HYBRID}
        with contextlib.closing(Snapshot(str(state))) as store:
            host.plug([builders.vif("ovs")])
            assert set(store.contents().records) == {builders.HYBRID, builders.TAP}
        shutil.copytree(state, tmp_path / "died")  # as it is when its process is killed now
    assert not (state / f"{FILE}-wal").exists()
    for directory in (state, tmp_path / "died"):
        with left_as_it_is(directory):
            assert seen(directory) == {builders.HYBRID, builders.TAP}
            told = state_dir.look(str(directory))
            assert (told.error, told.unreadable) == ("", False)


def test_changes_are_seen_where_no_process_keeps_the_store_open(tmp_path: Path) -> None:
    with written(tmp_path):
        pass
    long_ago = 1_000_000_000
    os.utime(tmp_path / FILE, (long_ago, long_ago))
    with contextlib.closing(Snapshot(str(tmp_path))) as store:
        assert set(store.contents().records) == {builders.HYBRID}
        plugger = builders.plugger(tmp_path, FakeHost())
        builders.local_host(plugger).plug([builders.vif("ovs")])
        plugger.store.close()
        assert set(store.contents().records) == {builders.HYBRID, builders.TAP}


def test_log_without_its_index_is_no_empty_store(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    copy.mkdir()
    with written(state):
        for name in (FILE, f"{FILE}-wal"):
            shutil.copy(state / name, copy)
    with left_as_it_is(copy), pytest.raises(StoreError, match="has lost its index"):
        Snapshot(str(copy))
    assert state_dir.look(str(copy)).unreadable


def test_what_is_not_there_is_empty_and_is_not_made(tmp_path: Path) -> None:
    with left_as_it_is(tmp_path):
        assert seen(tmp_path) == seen(tmp_path / "gone" / "further") == set()
        locks = LockFile(str(tmp_path / "gone" / "locks"), asks_only=True)
        assert locks.free(["a"]) == {"a"} and not locks.is_session_alive(1 << 62)


def test_locks_are_asked_after_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "locks"
    locks = LockFile(str(path))
    with locks.held(["a"], 1), contextlib.closing(locks.open_session()) as session, left_as_it_is(tmp_path):
        asking = LockFile(str(path), asks_only=True)
        assert asking.free(["a", "b"]) == {"b"}
        assert asking.is_session_alive(session.number)


def test_older_store_is_understood_and_stays_older_and_a_newer_one_is_not_guessed_at(tmp_path: Path) -> None:
    with written(tmp_path):
        pass
    for version, table in ((2, "told"), (99, "counters")):
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute(f"DROP TABLE {table}")
        other.execute(f"PRAGMA user_version={version}")
        other.close()
        with left_as_it_is(tmp_path):
            if version == 2:
                assert seen(tmp_path) == {builders.HYBRID}
                assert state_dir.look(str(tmp_path)).error == ""
            else:
                with pytest.raises(StoreError, match="newer vifplug"):
                    Snapshot(str(tmp_path))
                assert "newer vifplug" in state_dir.look(str(tmp_path)).error


def test_snapshot_writes_nothing(tmp_path: Path) -> None:
    with written(tmp_path):
        pass
    with left_as_it_is(tmp_path), contextlib.closing(Snapshot(str(tmp_path))) as store:
        with pytest.raises(StoreError, match="open for reading only"):
            store.forget([builders.HYBRID])
        assert set(store.contents().records) == {builders.HYBRID}


def test_store_that_is_written_between_two_looks_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a log SQLite takes no locks for us: what was copied counts only if nothing has changed meanwhile."""
    with written(tmp_path):
        pass
    real, times = database._copy, []

    def disturbed(path: str, copy: sqlite3.Connection, *, has_log: bool) -> bool:
        times.append(has_log)
        of_one_moment = real(path, copy, has_log=has_log)
        if len(times) == 1:
            os.utime(path)
        return of_one_moment

    monkeypatch.setattr(database, "_copy", disturbed)
    database.copied(str(tmp_path)).close()
    assert times == [False, False]
