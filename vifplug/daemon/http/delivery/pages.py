"""Pages of a list of VIFs: in the order of ids, so that a page begins where the one before ended. Pure."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Sequence

from vifplug.model.reports import VifReport

LIMIT_MAX = 10_000
"""VIFs of one page."""


def page(vifs: Sequence[VifReport], limit: int | None, after: str | None) -> tuple[Sequence[VifReport], str | None]:
    """Some of these VIFs; without ``limit`` and ``after``, all of them in the given order.

    VIFs that are plugged or unplugged between two pages shift no other: each that was there all the time is on exactly
    one page.

    :param limit: how many; None for all.
    :param after: only those with a greater id.
    :returns: the VIFs, and the ``after`` of the next page; None if this is the last one.
    """
    if limit is None and after is None:
        return vifs, None
    following = sorted((vif for vif in vifs if after is None or vif.id > after), key=lambda vif: vif.id)
    shown = following[:limit]
    return shown, shown[-1].id if len(shown) < len(following) else None


def link_to_next(path: str, query: Iterable[tuple[str, str]], after: str) -> str:
    """The header that names the next page (RFC 8288).

    :param query: of this page; a parameter may be there several times.
    """
    kept = [(name, value) for name, value in query if name != "after"]
    return f'<{path}?{urllib.parse.urlencode([*kept, ("after", after)])}>; rel="next"'
