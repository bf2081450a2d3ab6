"""Configured devices that VIFs share: the values that these VIFs together have asked for, and what was there before.

They are kept by name and holder, beside the claims on the name, so that no VIF's record decides what is put back.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Collection, Mapping

from vifplug.errors import UnknownKind
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.store import records

LOG = logging.getLogger(__name__)

Rows = Mapping[tuple[str, str], str]
"""Bodies by name and holder."""


def rows(database: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """All of them; there are few, one for each shared device."""
    return {(name, holder): body for name, holder, body in database.execute("SELECT name, holder, body FROM shared")}


def links(database: sqlite3.Connection) -> dict[str, Link]:
    """The same as resources, by name. One that cannot be read is left out: its device stays as it is."""
    links: dict[str, Link] = {}
    for (name, holder), body in rows(database).items():
        try:
            (link,) = kinds.links_in((records.resource_from_json(body),))
            if (link.name, link.owner) != (name, holder):
                raise ValueError(f"it is of {link.kind} {link.name!r:.40}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UnknownKind) as error:
            LOG.error("what was set on %r for %s cannot be read, and is not restored: %s", name, holder, error)
            continue
        links[name] = link
    return links


def write(database: sqlite3.Connection, shared: Mapping[str, Link]) -> None:
    """Keep these."""
    query = "INSERT OR REPLACE INTO shared VALUES (?, ?, ?)"
    values = [(link.name, link.owner, json.dumps(kinds.to_dict(link))) for link in shared.values()]
    database.executemany(query, values)


def restore(database: sqlite3.Connection, before: Rows, vif_ids: Collection[str]) -> None:
    """Restore those that these VIFs have claimed since; to be called while they have their claims."""
    query = "SELECT name, holder FROM claims WHERE vif_id = ?"
    claimed = {(row[0], row[1]) for vif_id in vif_ids for row in database.execute(query, (vif_id,))}
    for name, holder in rows(database).keys() & claimed:
        if (name, holder) in before:
            query = "UPDATE shared SET body = ? WHERE name = ? AND holder = ?"
            database.execute(query, (before[name, holder], name, holder))
        else:
            database.execute("DELETE FROM shared WHERE name = ? AND holder = ?", (name, holder))


def release(database: sqlite3.Connection) -> None:
    """Delete those that no VIF claims any more."""
    database.execute(
        "DELETE FROM shared WHERE NOT EXISTS "
        "(SELECT 1 FROM claims WHERE claims.name = shared.name AND claims.holder = shared.holder)"
    )
