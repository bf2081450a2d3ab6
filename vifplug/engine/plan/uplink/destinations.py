"""The peers of VXLAN devices, which the VIFs of a network decide together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vifplug.engine.plan.ownership import InUse
from vifplug.resources import kinds
from vifplug.resources.link import Link


def peers(asked: Sequence[Link], known: Iterable[Link], current: Link | None, others: InUse) -> tuple[str, ...]:
    """The peers that an uplink is to have: those that it has and those that VIFs ask for, without those that these VIFs
    asked for before and none asks for now.

    :param asked: the uplink, as each VIF of a plan asks for it.
    :param known: the same in their records.
    """
    used = [*asked, *kinds.links_in(others.resources.get((asked[0].owner, asked[0].name), ()))]
    wanted = {peer for link in used for peer in link.peers or ()}
    before = {peer for link in known for peer in link.peers or ()}
    has = set(current.peers or ()) if current is not None else set()
    return tuple(sorted((has - before) | wanted))
