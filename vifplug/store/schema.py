"""The tables of the store's file, and SQLite's settings."""

from __future__ import annotations

import sqlite3

_LOG_BYTES_MAX = 8 << 20
"""The log is cut to this size when it is written back after a long reader had made it grow."""
_ROOM_BYTES = 128 * 1024
_SCHEMA_VERSION = 6
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (vif_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (vif_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (name TEXT, holder TEXT NOT NULL, vif_id TEXT NOT NULL,
                                   PRIMARY KEY (name, vif_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_vif ON claims (vif_id);
CREATE TABLE IF NOT EXISTS shared (name TEXT, holder TEXT, body TEXT NOT NULL,
                                   PRIMARY KEY (name, holder)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS announced (vif_id TEXT PRIMARY KEY, wired INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (vif_id TEXT PRIMARY KEY, word TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS guests (vif_id TEXT PRIMARY KEY, absent_since TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def prepare(database: sqlite3.Connection) -> None:
    """Set up a connection, and a new file.

    :raises sqlite3.Error: when that fails, or a newer version wrote the file.
    """
    database.execute("PRAGMA journal_mode=WAL")
    # NORMAL survives the death of any process. A power cut may lose the last commits; it also removes every link, and
    # the rows that stay in OVSDB carry our mark, so that gc finds them.
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(f"PRAGMA journal_size_limit={_LOG_BYTES_MAX}")
    bring_up_to_date(database)


def bring_up_to_date(database: sqlite3.Connection) -> None:
    """Create the tables that an older version did not have.

    :raises sqlite3.Error: when that fails, or a newer version wrote the file.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"it was written by a newer vifplug (schema {version})")
    if version < _SCHEMA_VERSION:
        database.executescript(_SCHEMA)
        if version == 0:
            _take_room(database)
        database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")


def _take_room(database: sqlite3.Connection) -> None:
    """Allocate free pages in a new file, so that it need not grow when the disk is full."""
    make = f"CREATE TABLE room (bytes); INSERT INTO room VALUES (zeroblob({_ROOM_BYTES})); DROP TABLE room"
    try:
        database.executescript(f"BEGIN IMMEDIATE; {make}; COMMIT; PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error:
        # The store works without them, and another process may be creating the same file.
        if database.in_transaction:
            database.execute("ROLLBACK")
