"""Which bridges an operator may put a VIF on, and whose MTU it may move. Pure.

On a bridge that is neither the integration bridge nor made for guests, such as an uplink's br-ex or docker0, a tap is a
wire into networks that no control plane has given to the operator. An administrator may join every bridge (decision
0004).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping

from vifplug import naming
from vifplug.engine.plan import diff, ownership
from vifplug.engine.plan.request import Job
from vifplug.errors import NotPermitted
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_port import OvsPort

Users = Mapping[str, frozenset[int | None]]
"""Who plugged the VIFs that use a shared bridge, by its owner (``net:...``)."""


def authorise_bridges(job: Job, observed: Observed, integration_bridge: str) -> None:
    """Let a VIF of an operator join the bridges that it asks for.

    :raises NotPermitted: for one that an operator may not join; nothing was touched.
    """
    requester = job.requester
    if requester is None or requester.every_vif:
        return
    own = {bridge.name for bridge in kinds.ovs_bridges_in(job.desired) if not bridge.shared}
    for item in job.desired:
        if isinstance(item, OvsPort) and item.bridge not in own:
            name = item.bridge
            # Neutron makes a trunk's bridge, and Nova plugs the trunk's parent port there.
            is_allowed = name == integration_bridge or naming.is_trunk_bridge(name)
        elif isinstance(item, Link) and item.has_members and item.shared:
            name, current = item.name, observed.links.get(item.name)
            # Ours by its mark; one of another network is a Conflict, which the planner names.
            is_allowed = current is None or bool(current.owner) or ownership.is_ours(current, item, None)
        else:
            continue
        if not is_allowed and not any(fnmatch.fnmatchcase(name, pattern) for pattern in requester.bridges):
            raise NotPermitted(
                f"uid {requester.uid} may not put VIF {job.vif.id} on bridge {name!r}: an operator may use "
                f"{integration_bridge!r}, network bridges that vifplug made, and what [daemon] operator_bridges lists",
                job.vif.id,
            )


def moved_bridges(job: Job, observed: Observed) -> list[Link]:
    """The shared bridges of ours whose MTU a VIF of an operator would move."""
    if job.requester is None or job.requester.every_vif:
        return []
    shared = (item for item in kinds.links_in(job.desired) if item.shared and item.has_members)
    known = job.recorded.links
    return [
        bridge
        for bridge in shared
        if (current := observed.links.get(bridge.name)) is not None
        and ownership.is_ours(current, bridge, known.get(bridge.name))
        and any(item.attribute == "mtu" for item in diff.of_link(bridge, observed, known.get(bridge.name)))
        and not _has_had(known.get(bridge.name), bridge)
    ]


def _has_had(known: Link | None, wanted: Link) -> bool:
    """Whether the VIF's record has the MTU already: it is put back then, not moved."""
    return known is not None and (known.mtu or 0) >= (wanted.mtu or 0)


def authorise_mtu(job: Job, bridges: Iterable[Link], observed: Observed, users: Users) -> None:
    """Let a VIF of an operator move the MTU of shared bridges that its own VIFs alone use.

    :raises NotPermitted: for one that VIFs of other users are on; nothing was touched.
    """
    for bridge in bridges:
        current, requester = observed.links[bridge.name], job.requester
        if requester is not None and users.get(bridge.owner, frozenset()) - {requester.uid}:
            raise NotPermitted(
                f"uid {requester.uid} may not move the MTU of bridge {bridge.name!r} from {current.mtu} to "
                f"{bridge.mtu}, for VIFs of other users are on it; ask for at most {current.mtu} bytes, or have a user "
                "of [daemon] admin_users do it",
                job.vif.id,
            )
