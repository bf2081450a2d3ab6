"""What a plug reports besides its result: parts of a request that were not carried out as requested. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vifplug.engine.plan.request import Job
from vifplug.resources import kinds
from vifplug.resources.contract import Relation
from vifplug.resources.observed import Observed


def warnings(job: Job, observed: Observed, work: Sequence[Job]) -> list[str]:
    """Parts of a request that were not carried out as requested, as text.

    :param work: what was plugged with it.
    """
    kept = (
        f"VIF {job.vif.id} leaves its OVS port to the guest's VMM (create_port false), but was plugged with a port of "
        "vifplug's, which was kept; unplug the VIF first to change that"
    )
    unfiltered = (
        f"VIF {job.vif.id} has allowed_addresses, but [filter] enabled is false: its guest is not limited to them"
    )
    words = [*([kept] if job.keeps_port else []), *([unfiltered] if job.is_unfiltered else [])]
    return [
        *words,
        *_datapath_warning(job, observed),
        *_leading_nowhere(job, observed, [each.guest_link for each in work]),
    ]


def _leading_nowhere(job: Job, observed: Observed, taps: Collection[str]) -> list[str]:
    """A note on a network's bridge that was made now, and that nothing joins to other hosts.

    Later VIFs bring none: by then another program may have joined it to them.
    """
    links = kinds.links_in(job.desired)
    if job.record is not None or any(link.is_uplink for link in links):
        return []
    return [
        f"Linux bridge {bridge.name!r} has no uplink: until something joins it to other hosts, only VIFs of this host "
        "reach each other on it"
        for bridge in links
        if bridge.shared
        and bridge.has_members
        and bridge.relation is Relation.OWNED
        and bridge.name in observed.links
        and observed.links[bridge.name].owner == bridge.owner
        and set(observed.members.get(bridge.name, ())) <= set(taps)
    ]


def _datapath_warning(job: Job, observed: Observed) -> list[str]:
    """The bridge's own datapath decides; a request that assumes another one gets one warning."""
    for port in kinds.ports_in(job.desired):
        bridge = observed.bridges.get(port.bridge)
        if job.asked_datapath and bridge and (bridge.datapath_type or "system") != job.asked_datapath:
            return [
                f"VIF {job.vif.id} asks for datapath_type {job.asked_datapath!r}, but OVS bridge {bridge.name!r} has "
                f"{bridge.datapath_type or 'system'!r}; the bridge's own was used"
            ]
    return []
