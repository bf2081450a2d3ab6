"""The verb of a plug: carries out a plan's stages, waits for vswitchd and reads the rows, in one call.

Each call on the privileged channel wakes four threads: half a millisecond on a host that was idle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vifplug.errors import TimedOut, VifplugError
from vifplug.privileged import arguments
from vifplug.privileged.filters import verbs as filters
from vifplug.privileged.helper.context import net
from vifplug.privileged.links import verbs as links
from vifplug.privileged.ovsdb import verbs as ovsdb

LINKS, PORTS, FILTERS = "links", "ports", "filters"


@contextlib.contextmanager
def _at_stage(number: int) -> Iterator[None]:
    """Put the number of a stage before an error's step, unless it has one."""
    try:
        yield
    except VifplugError as error:
        if "." in error.step:
            raise
        raise type(error)(error.message, error.subject, f"{number}.{error.step}") from error


def _ports_after(stages: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], number: int) -> Sequence[Mapping[str, Any]]:
    """The operations of the stage that follows a stage of links, if it is one of ports."""
    plane, operations = stages[number + 1] if number + 1 < len(stages) else ("", ())
    return operations if plane == PORTS else ()


@net.entrypoint
def read(of_rows: Sequence[Any] | None, of_filters: Sequence[Any] | None) -> tuple[Any, Any]:
    """Rows and filters, in one call.

    :param of_rows: the arguments of ``ovsdb.read``; None not to read OVSDB.
    :param of_filters: the arguments of ``filters.read``; None not to read nftables.
    """
    rows = None if of_rows is None else ovsdb.read(*of_rows)
    return rows, None if of_filters is None else filters.read(*of_filters)


@net.entrypoint
def apply(
    stages: Sequence[tuple[str, Sequence[Mapping[str, Any]]]],
    seconds: float | None = None,
    opening: Sequence[str] = (),
    rows: Sequence[Sequence[str]] | None = None,
    thorough: bool = False,
    asked: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Carry out stages in order, each of links, of ports or of filters; wait for vswitchd; read.

    :param seconds: how long to wait for vswitchd here; None to return at once. A caller that must wait for longer does
        so itself: Ctrl-C cannot interrupt this call.
    :param opening: as of ``ovsdb.wait``.
    :param rows: names, iface-ids and owners, as of ``ovsdb.read``; None not to read OVSDB.
    :param asked: filters to read, as of ``filters.read``.
    :returns: ``next_cfg`` of the last transaction, if there was one; ``rows``, None if they were not read or
        vswitchd is behind; and ``faults`` of the filters.
    :raises VifplugError: for the first operation that failed, with the numbers of its stage and of itself as ``step``.
    """
    next_cfg: int | None = None
    joined = -1
    """The stage of ports that were added together with their links."""
    for number, (plane, operations) in enumerate(stages):
        if number == joined:
            continue
        with _at_stage(number):
            if plane == PORTS:
                next_cfg = ovsdb.change(operations)
            elif plane == FILTERS:
                filters.change(operations)
            elif plane == LINKS:
                ports = _ports_after(stages, number)
                for run in links.runs(operations):
                    run.create(operations)
                    if not ports or joined > number or not ovsdb.are_new(ports, run.pairs):
                        run.finish(operations)
                        continue
                    # OVSDB works on the ports of new veth pairs while these come up (decision 0024).
                    joined = number + 1
                    with _at_stage(joined), ovsdb.changing(ports) as commit, _at_stage(number):
                        run.finish(operations)
                    next_cfg = commit.next_cfg
            else:
                raise arguments.refuse("the stage", plane)
    faults = filters.faults(asked, thorough=thorough) if asked else []
    if seconds is None or rows is None:
        return {"next_cfg": next_cfg, "rows": None, "faults": faults}
    try:
        if next_cfg is not None:
            ovsdb.wait(next_cfg, seconds, opening)
    except TimedOut:
        return {"next_cfg": next_cfg, "rows": None, "faults": faults}
    observed = ovsdb.read(*rows, False, next_cfg is None, thorough)
    return {"next_cfg": next_cfg, "rows": observed, "faults": faults}
