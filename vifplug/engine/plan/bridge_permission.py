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
"""The uids that plugged the VIFs on a shared bridge, by the bridge's owner (``net:...``)."""


def authorise_bridges(job: Job, observed: Observed, integration_bridge: str) -> None:
    """Check that an operator may put its VIF on the bridges of the request.

    :raises NotPermitted: an operator may not use the bridge; nothing was changed.
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
            # Ours by its mark; a bridge of another network is a Conflict, which the planner reports.
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
    """Our shared bridges whose MTU this operator's VIF would change."""
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
    """Whether the VIF's record already has the MTU: then it is restored, not changed."""
    return known is not None and (known.mtu or 0) >= (wanted.mtu or 0)


def authorise_mtu(job: Job, bridges: Iterable[Link], observed: Observed, users: Users) -> None:
    """Check that an operator's VIF changes the MTU only of shared bridges that no other user's VIF uses.

    :raises NotPermitted: VIFs of other users are on the bridge; nothing was changed.
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
