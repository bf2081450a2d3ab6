"""The verb of a plug: carries out a plan's stages, waits for vswitchd and reads the rows, in one call.

Each call on the privileged channel wakes four threads: half a millisecond on a host that was idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vifplug.errors import TimedOut, VifplugError
from vifplug.privileged import arguments
from vifplug.privileged.helper.context import net
from vifplug.privileged.links import verbs as links
from vifplug.privileged.ovsdb import verbs as ovsdb

LINKS, PORTS = "links", "ports"


@net.entrypoint
def apply(
    stages: Sequence[tuple[str, Sequence[Mapping[str, Any]]]],
    seconds: float | None = None,
    opening: Sequence[str] = (),
    rows: Sequence[Sequence[str]] | None = None,
    thorough: bool = False,
) -> dict[str, Any]:
    """Carry out stages in order, each of links or of ports; wait for vswitchd; read.

    :param seconds: how long to wait for vswitchd here; None to return at once. A caller that must wait for longer does
        so itself: Ctrl-C cannot interrupt this call.
    :param opening: as of ``ovsdb.wait``.
    :param rows: names, iface-ids and owners, as of ``ovsdb.read``; None not to read OVSDB.
    :returns: ``next_cfg`` of the last transaction, if there was one; and ``rows``, None if they were not read or
        vswitchd is behind.
    :raises VifplugError: for the first operation that failed, with the numbers of its stage and of itself as ``step``.
    """
    next_cfg: int | None = None
    for number, (plane, operations) in enumerate(stages):
        try:
            if plane == PORTS:
                next_cfg = ovsdb.change(operations)
            elif plane == LINKS:
                for run in links.runs(operations):
                    run.flush(operations)
            else:
                raise arguments.refuse("the stage", plane)
        except VifplugError as error:
            raise type(error)(error.message, error.subject, f"{number}.{error.step}") from error
    if seconds is None or rows is None:
        return {"next_cfg": next_cfg, "rows": None}
    try:
        if next_cfg is not None:
            ovsdb.wait(next_cfg, seconds, opening)
    except TimedOut:
        return {"next_cfg": next_cfg, "rows": None}
    return {"next_cfg": next_cfg, "rows": ovsdb.read(*rows, False, next_cfg is None, thorough)}
