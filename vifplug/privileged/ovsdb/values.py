"""Columns of a replica's rows as they were last committed.

An attribute of a row of the IDL copies its value twice and checks it against the schema each time, because the current
transaction may have changed it (ovs.db.idl.Row): 20 us instead of 1 us here. For readers between transactions, and for
columns that no transaction of ours writes.
"""

from __future__ import annotations

from typing import Any


def all_of(row: Any, column: str) -> list[Any]:
    """A set, in order; of references, their UUIDs."""
    return sorted(atom.value for atom in row._data[column].values)


def first(row: Any, column: str) -> Any:
    """A column of one value; None if it is optional and empty."""
    for atom in row._data[column].values:
        return atom.value
    return None


def is_default(row: Any, column: str) -> bool:
    """Whether the server has sent no value of a column, so that it has its type's default.

    The IDL generates such a value for each reader (ovs.db.idl.ColumnDefaultDict).
    """
    return row._data.get(column) is None


def pairs(row: Any, column: str) -> dict[str, str]:
    """A map of strings."""
    if is_default(row, column):
        return {}
    return {key.value: value.value for key, value in row._data[column].values.items()}


def value_of(row: Any, column: str, key: str) -> str | None:
    """One key of a map of strings."""
    for name, value in row._data[column].values.items():
        if name.value == key:
            return str(value.value)
    return None


def referred(row: Any, column: str, tables: Any, table: str) -> list[Any]:
    """The existing rows of a table that a column refers to."""
    rows = tables[table].rows
    return [rows[uuid] for uuid in all_of(row, column) if uuid in rows]


def is_open(interface: Any) -> bool:
    """Whether vswitchd has opened an interface's device."""
    ofport = first(interface, "ofport")
    return bool(ofport and ofport > 0 and not first(interface, "error"))
