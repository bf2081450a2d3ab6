"""What is known to be right on the host, so that it is not read again.

Each change of any ruleset raises the kernel's generation, and a transaction that names a generation is refused in every
other one. So what was right in a generation is right as long as that is the present one; and after a transaction of
ours all but what that changed, in the generation that it made.
"""

from __future__ import annotations

from collections.abc import Collection

from vifplug.privileged.filters.rules import Wanted

_generation = -1
_tables: set[int] = set()
_filters: dict[tuple[int, str], Wanted] = {}
"""By family and owner."""
_thorough: set[tuple[int, str]] = set()
"""Those for which no other program has allowed more."""


def forget() -> None:
    """Forget everything."""
    _at(-1)


def _at(generation: int) -> None:
    global _generation
    if generation != _generation:
        _generation = generation
        _tables.clear()
        _filters.clear()
        _thorough.clear()


def is_table(family: int, generation: int) -> bool:
    """Whether the table of a family is right in a generation, except VIFs' own parts."""
    return generation == _generation and family in _tables


def table_is_right(family: int, generation: int) -> None:
    """Record that it is."""
    _at(generation)
    _tables.add(family)


def is_filter(wanted: Wanted, generation: int, *, thorough: bool) -> bool:
    """Whether a filter is right in a generation.

    :param thorough: also that it allows no more.
    """
    key = wanted.family, wanted.owner
    return generation == _generation and _filters.get(key) == wanted and (not thorough or key in _thorough)


def filter_is_right(wanted: Wanted, generation: int, *, thorough: bool) -> None:
    """Record that it is."""
    _at(generation)
    key = wanted.family, wanted.owner
    if not thorough and _filters.get(key) != wanted:
        _thorough.discard(key)
    _filters[key] = wanted
    if thorough:
        _thorough.add(key)


def changed(
    generation: int, tables: Collection[int], made: Collection[Wanted], gone: Collection[tuple[int, str]]
) -> None:
    """Record a transaction of ours.

    :param generation: in which it was carried out.
    :param tables: the families whose tables are right now.
    :param made: the filters that it made.
    :param gone: family and owner of those that it deleted.
    """
    global _generation
    _at(generation)
    _generation = generation + 1
    _tables.intersection_update(tables)
    _tables.update(tables)
    made_now = {(wanted.family, wanted.owner): wanted for wanted in made}
    for key in made_now.keys() | set(gone):
        _filters.pop(key, None)
        _thorough.discard(key)
    _filters.update(made_now)
