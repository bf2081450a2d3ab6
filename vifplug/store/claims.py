"""Claims: each name that a VIF has, and its holder, so that two holders never get the same name."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from vifplug import naming
from vifplug.errors import Conflict


def claim_rows(database: sqlite3.Connection, vif_ids: Collection[str] | None) -> list[tuple[Any, Any, Any]]:
    """Name, holder and VIF of each claim, of all VIFs or of some."""
    query = "SELECT name, holder, vif_id FROM claims"
    if vif_ids is None:
        return list(database.execute(query))
    return [row for vif_id in vif_ids for row in database.execute(f"{query} WHERE vif_id = ?", (vif_id,))]


def claim(
    database: sqlite3.Connection, vif_id: str, names: Mapping[str, str], kept: Collection[str] = frozenset()
) -> None:
    """Claim names for a VIF.

    :param names: name -> holder (the VIF itself, or what shares it).
    :param kept: names that are not claimed if another holder has them.
    :raises Conflict: another holder has any other one.
    """
    for name, holder in names.items():
        # The VIF's own claim may have another holder: on a physical function that it held as a part, or as a whole.
        query = "SELECT vif_id FROM claims WHERE name = ? AND holder != ? AND vif_id != ?"
        other = database.execute(query, (name, holder, vif_id)).fetchone()
        if other and name in kept:
            continue
        if other:
            advice = " (give one of them explicit names)" if naming.is_link_name(name) else ""
            raise Conflict(
                f"{name!r} is held by VIF {other[0]}, which is plugged on this host; VIF {vif_id} cannot use the "
                f"same name{advice}",
                name,
            )
        database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (name, holder, vif_id))


def release_claims(database: sqlite3.Connection, vif_id: str, kept: set[str]) -> None:
    """Delete a VIF's claims on all other names."""
    claimed = {row[0] for row in database.execute("SELECT name FROM claims WHERE vif_id = ?", (vif_id,))}
    database.executemany(
        "DELETE FROM claims WHERE vif_id = ? AND name = ?", [(vif_id, name) for name in claimed - kept]
    )
