from __future__ import annotations

import inspect
import os
import pathlib
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.support import builders
from vifplug.errors import Conflict, StoreError
from vifplug.resources.bridge import Bridge
from vifplug.resources.ovs_port import OvsPort
from vifplug.store import records
from vifplug.store.records import Intent, Record
from vifplug.store.store import Moment, Store

QBR = Bridge(name="qbr71a6b0e4-1a", owner=builders.HYBRID, role="qbr", mtu=1450, stp=0, ageing_time=0, ifindex=7)
PORT = OvsPort(name="qvo71a6b0e4-1a", bridge="br-int", owner=builders.HYBRID, iface_ids={"iface-id": "x"}, trunks=(1,))


def _record(state: str = "plugged") -> Record:
    return Record(vif=builders.vif(), resources=(QBR, PORT), state=state, updated_at=records.now())


def _intent(verb: str = records.PLUG) -> Intent:
    return Intent(vif_id=builders.HYBRID, verb=verb, session=5, resources=(QBR, PORT))


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Store:
    return Store(str(tmp_path / "state"), user="no-such-user")


def test_record_comes_back_as_it_went_in(store: Store) -> None:
    record = _record()
    store.save_records([record])
    another = Store(store.state_dir, user="no-such-user")  # which has only the file to go by
    for reader in (store, another):
        assert reader.record(builders.HYBRID) == record
        assert reader.contents().records == {builders.HYBRID: record}


def test_record_that_another_process_writes_is_seen(store: Store) -> None:
    store.save_records([_record()])
    Store(store.state_dir, user="no-such-user").save_records([_record("wired")])
    found = store.record(builders.HYBRID)
    assert found is not None
    assert found.state == "wired"


def test_intent_ends_with_the_record_that_fulfils_it(store: Store) -> None:
    store.begin([_intent()], {})
    assert store.contents().intents[builders.HYBRID] == _intent()
    store.save_records([_record()])
    assert not store.contents().intents


def test_claimed_name_is_refused_to_another_vif(store: Store) -> None:
    store.begin([_intent()], {builders.HYBRID: {"qbr71a6b0e4-1a": builders.HYBRID}})
    other = Intent(vif_id=builders.TAP, verb=records.PLUG, session=5, resources=())
    with pytest.raises(Conflict, match=f"held by VIF {builders.HYBRID}"):
        store.begin([other], {builders.TAP: {"qbr71a6b0e4-1a": builders.TAP}})
    assert set(store.contents().intents) == {builders.HYBRID}, "nothing of a refused intent is written"


def test_shared_name_is_claimed_by_all_vifs_of_its_holder(store: Store) -> None:
    shared = {"brq14ec4c8b-00": f"net:{builders.NETWORK}"}
    store.begin([_intent()], {builders.HYBRID: shared})
    store.begin([Intent(vif_id=builders.TAP, verb=records.PLUG, session=5, resources=())], {builders.TAP: shared})


def test_reverted_intent_gives_its_names_back(store: Store) -> None:
    store.begin([_intent()], {builders.HYBRID: {"qbr71a6b0e4-1a": builders.HYBRID}})
    store.restore(Moment({builders.HYBRID: (None, None)}))
    other = Intent(vif_id=builders.TAP, verb=records.PLUG, session=5, resources=())
    store.begin([other], {builders.TAP: {"qbr71a6b0e4-1a": builders.TAP}})


def test_revert_holds_again_what_was_held_with_its_names(store: Store) -> None:
    store.begin([_intent()], {builders.HYBRID: {QBR.name: builders.HYBRID, PORT.name: builders.HYBRID}})
    store.save_records([_record()])
    store.begin([_intent(records.UNPLUG)], {})
    before = store.snapshot([builders.HYBRID])
    store.forget([builders.HYBRID])
    store.restore(before)
    assert store.snapshot([builders.HYBRID]) == before
    assert [store.intent(vif_id) for vif_id in store.pending()] == [_intent(records.UNPLUG)]
    other = Intent(vif_id=builders.TAP, verb=records.PLUG, session=5, resources=())
    with pytest.raises(Conflict):
        store.begin([other], {builders.TAP: {QBR.name: builders.TAP}})


def test_failed_transaction_does_not_hold_up_the_next(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store._transaction():
        raise KeyboardInterrupt
    with pytest.raises(StoreError), store._transaction() as database:
        database.execute("INSERT INTO nowhere VALUES (1)")
    store.save_records([_record()])


def test_forgotten_vif_leaves_nothing(store: Store) -> None:
    store.begin([_intent()], {builders.HYBRID: {"qbr71a6b0e4-1a": builders.HYBRID}})
    store.save_records([_record()])
    store.forget([builders.HYBRID])
    database = sqlite3.connect(os.path.join(store.state_dir, "vifplug.db"))
    counts = [
        database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("records", "intents", "claims")
    ]
    assert counts == [0, 0, 0]


def test_files_are_readable_by_their_owner_alone(store: Store) -> None:
    store.save_records([_record()])
    assert stat.S_IMODE(os.stat(store.state_dir).st_mode) == 0o700
    modes = {
        name: stat.S_IMODE(os.stat(os.path.join(store.state_dir, name)).st_mode) for name in os.listdir(store.state_dir)
    }
    assert set(modes.values()) == {0o600}, modes


def test_damaged_store_is_reported_with_its_path(tmp_path: pathlib.Path) -> None:
    (tmp_path / "vifplug.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="cannot open the store in"):
        Store(str(tmp_path), user="no-such-user")


def test_new_file_that_another_is_writing_is_waited_for(tmp_path: pathlib.Path) -> None:
    # What many that open a new store together do to each other: whoever is first writes, in a file not yet in WAL.
    other = sqlite3.connect(tmp_path / "vifplug.db", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE first (one)")
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, other.execute, ["COMMIT"])
    timer.start()
    try:
        store = Store(str(tmp_path), "nobody")
    finally:
        timer.join()
        other.close()
    assert not store.contents().records
    store.close()


def test_damaged_record_is_reported(store: Store) -> None:
    store.save_records([_record()])
    with sqlite3.connect(os.path.join(store.state_dir, "vifplug.db")) as database:
        database.execute("UPDATE records SET body = '{\"vif\": 1}'")
    with pytest.raises(StoreError, match="is damaged"):
        store.record(builders.HYBRID)


def test_store_of_a_newer_version_is_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(os.path.join(store.state_dir, "vifplug.db")) as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="newer vifplug"):
        Store(store.state_dir, user="no-such-user")


class _InterruptAt:
    """A trace function that raises KeyboardInterrupt, once, at one moment of a call: Python may do so at any.

    What is raised as a frame returns goes past its own handlers; for a generator that yields, this would not be real.
    """

    def __init__(self, moment: int) -> None:
        self._left = moment

    def __call__(self, frame: FrameType, event: str, argument: Any) -> _InterruptAt:
        if event != "return" or not frame.f_code.co_flags & inspect.CO_GENERATOR:
            self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        return self


def _interrupted(call: Callable[[], object], moment: int, then: Callable[[], object]) -> bool:
    """Whether the call was interrupted at that moment, and did what follows; not, where it was over before."""
    before = sys.gettrace()
    sys.settrace(_InterruptAt(moment))
    try:
        call()
    except KeyboardInterrupt:
        sys.settrace(before)
        then()
        return True
    finally:
        sys.settrace(before)
    return False


def test_store_works_on_whatever_moment_a_call_to_it_was_interrupted_at(store: Store) -> None:
    record = _record()
    calls: list[Callable[[], object]] = [
        lambda: store.neutron_status([builders.HYBRID]),
        lambda: store.begin([_intent()], {}),
        lambda: store.save_records([record]),
        lambda: store.snapshot([builders.HYBRID]),
    ]

    def works_on() -> None:
        before = store.snapshot([builders.HYBRID])
        store.begin([_intent()], {})
        store.restore(before)

    for call in calls:
        moment = 1
        while _interrupted(call, moment, works_on):
            moment += 1
            # What the interrupted thread held is free for others as well.
            another = threading.Thread(target=works_on, daemon=True)
            another.start()
            another.join(10)
            assert not another.is_alive(), moment
        assert moment > 20  # it was interrupted in its transaction, not before it alone
