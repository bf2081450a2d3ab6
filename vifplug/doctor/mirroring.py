"""Mirrors of OVS bridges that concern VIFs. Pure: facts in, findings out.

A mirror is its maker's, as the whole of a bridge's configuration is: it is named and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vifplug.doctor.facts import Facts, Mirror, Port
from vifplug.doctor.findings import ERROR, UNSEEN, WARNING
from vifplug.doctor.openvswitch import Draft, found

_NAMED_MAX = 3


def mirrors(facts: Facts) -> Iterator[Draft]:
    """Whether a mirror copies frames of VIFs elsewhere, or others' to a VIF."""
    switch = facts.ovs.switch if facts.ovs else None
    there = switch.mirrors if switch else None
    if facts.ovs is not None and not facts.ovs.expected:
        return
    if there is None:
        why = "there is no privileged helper to ask" if facts.ovs is None else "OVSDB does not answer"
        yield found(UNSEEN, "OVS mirrors", why)
    elif facts.plugged is not None:
        for mirror in there:
            yield from _of_mirror(mirror, [port for port in facts.plugged.ports if port.bridge == mirror.bridge])
    elif there:
        yield found(UNSEEN, "OVS mirrors", facts.unseen)


def _of_mirror(mirror: Mirror, ports: Sequence[Port]) -> Iterator[Draft]:
    remedy = (
        f"it is not vifplug's; if it is needed no more: ovs-vsctl -- --id=@it get Mirror {mirror.name} -- remove "
        f"Bridge {mirror.bridge} mirrors @it"
    )
    outputs = [port for port in ports if port.name == mirror.output]
    for port in outputs:
        reason = (
            f"mirror {mirror.name!r} of {mirror.bridge} has the port of VIF {port.vif_id} for its output: Open vSwitch "
            "sends it copies and nothing else, and drops what the guest sends"
        )
        yield found(ERROR, port.name, reason, remedy)
    copied = [port for port in ports if mirror.selects_all or port.name in mirror.selected]
    copied = [port for port in copied if port not in outputs]
    to = f"VLAN {mirror.output_vlan}" if mirror.output_vlan is not None else f"port {mirror.output or 'none'}"
    if copied:
        yield found(WARNING, mirror.name, f"it copies frames of {_named(copied)} to {to} of {mirror.bridge}", remedy)
    # A port without a tag is a trunk of every VLAN.
    reached = [port for port in ports if mirror.output_vlan is not None and port.tag in (None, mirror.output_vlan)]
    if reached:
        yield found(WARNING, mirror.name, f"its copies go to {to} of {mirror.bridge}, with {_named(reached)}", remedy)


def _named(ports: Sequence[Port]) -> str:
    some = ", ".join(f"VIF {port.vif_id}" for port in ports[:_NAMED_MAX])
    return f"{some} and {len(ports) - _NAMED_MAX} more" if len(ports) > _NAMED_MAX else some
