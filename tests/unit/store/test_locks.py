from __future__ import annotations

import os
import pathlib
import threading

import pytest

from vifplug.errors import Busy, StoreError
from vifplug.store.locks import LockFile


def test_lock_excludes_another_thread_of_the_same_process(tmp_path: pathlib.Path) -> None:
    locks = LockFile(str(tmp_path / "locks"))
    with locks.held(["a"], seconds=1):
        refused: list[Busy] = []

        def contend() -> None:
            try:
                with locks.held(["a"], seconds=0.02):
                    pass
            except Busy as error:
                refused.append(error)

        thread = threading.Thread(target=contend)
        thread.start()
        thread.join()
        assert "works on a" in str(refused[0])
        with locks.held(["b"], seconds=0):
            pass


def test_lock_is_let_go_with_the_block(tmp_path: pathlib.Path) -> None:
    locks = LockFile(str(tmp_path / "locks"))
    with locks.held(["a", "b"], seconds=0):
        pass
    with locks.held(["b", "a"], seconds=0):
        pass


def test_those_that_are_free_are_held_without_waiting(tmp_path: pathlib.Path) -> None:
    locks = LockFile(str(tmp_path / "locks"))
    with locks.held(["a"], seconds=0), locks.held_if_free(["a", "b"]) as free:
        assert free == {"b"}
        with pytest.raises(Busy), locks.held(["b"], seconds=0):
            pass
    with locks.held(["a", "b"], seconds=0):
        pass


def test_lock_is_let_go_although_a_process_was_forked_under_it(tmp_path: pathlib.Path) -> None:
    locks = LockFile(str(tmp_path / "locks"))
    read_end, write_end = os.pipe()
    with locks.held(["a"], seconds=0):
        child = os.fork()
        if child == 0:
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
    os.close(read_end)
    with locks.held(["a"], seconds=0):
        pass
    os.close(write_end)
    os.waitpid(child, 0)


def test_session_lives_as_long_as_one_process_holds_it(tmp_path: pathlib.Path) -> None:
    locks = LockFile(str(tmp_path / "locks"))
    session = locks.open_session()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    assert locks.is_session_alive(session.number)
    session.close()
    assert locks.is_session_alive(session.number), "a forked helper inherits the proof of life"
    os.close(write_end)
    os.waitpid(child, 0)
    assert not locks.is_session_alive(session.number)


def test_two_sessions_are_distinguished(tmp_path: pathlib.Path) -> None:
    locks = LockFile(str(tmp_path / "locks"))
    first, second = locks.open_session(), locks.open_session()
    first.close()
    assert not locks.is_session_alive(first.number)
    assert locks.is_session_alive(second.number)
    second.close()


def test_lock_file_that_cannot_be_opened_is_a_store_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreError, match="cannot open lock file"):
        LockFile(str(tmp_path / "missing" / "locks"))
