"""Checks of OVS bridges' mirrors that concern VIFs. Pure.

A mirror, like all of a bridge's configuration, belongs to the program that made it: it is reported and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vifplug.doctor.facts import Facts, Mirror, Port
from vifplug.doctor.findings import ERROR, UNSEEN, WARNING
from vifplug.doctor.openvswitch import Draft, draft

_NAMED_MAX = 3


def mirrors(facts: Facts) -> Iterator[Draft]:
    """Whether a mirror copies frames of VIFs, or copies frames to a VIF."""
    switch = facts.ovs.switch if facts.ovs else None
    present = switch.mirrors if switch else None
    if facts.ovs is not None and not facts.ovs.expected:
        return
    if present is None:
        reason = "there is no privileged helper to ask" if facts.ovs is None else "OVSDB is not answering"
        yield draft(UNSEEN, "OVS mirrors", reason)
    elif facts.plugged is not None:
        for mirror in present:
            yield from _of_mirror(mirror, [port for port in facts.plugged.ports if port.bridge == mirror.bridge])
    elif present:
        yield draft(UNSEEN, "OVS mirrors", facts.unseen)


def _of_mirror(mirror: Mirror, ports: Sequence[Port]) -> Iterator[Draft]:
    remedy = (
        f"vifplug did not make it; if it is not needed: ovs-vsctl -- --id=@it get Mirror {mirror.name} -- remove "
        f"Bridge {mirror.bridge} mirrors @it"
    )
    outputs = [port for port in ports if port.name == mirror.output]
    for port in outputs:
        reason = (
            f"the output of mirror {mirror.name!r} of {mirror.bridge} is the port of VIF {port.vif_id}: Open vSwitch "
            "sends only copies to it, and drops what the guest sends"
        )
        yield draft(ERROR, port.name, reason, remedy)
    copied = [port for port in ports if mirror.selects_all or port.name in mirror.selected]
    copied = [port for port in copied if port not in outputs]
    to = f"VLAN {mirror.output_vlan}" if mirror.output_vlan is not None else f"port {mirror.output or 'none'}"
    if copied:
        yield draft(WARNING, mirror.name, f"it copies frames of {_named(copied)} to {to} of {mirror.bridge}", remedy)
    # A port without a tag is a trunk of all VLANs.
    reached = [port for port in ports if mirror.output_vlan is not None and port.tag in (None, mirror.output_vlan)]
    if reached:
        yield draft(WARNING, mirror.name, f"its copies go to {to} of {mirror.bridge}, with {_named(reached)}", remedy)


def _named(ports: Sequence[Port]) -> str:
    some = ", ".join(f"VIF {port.vif_id}" for port in ports[:_NAMED_MAX])
    return f"{some} and {len(ports) - _NAMED_MAX} more" if len(ports) > _NAMED_MAX else some
