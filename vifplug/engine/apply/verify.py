"""Verification: a plug is done when the host shows the desired state."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import tenacity

from vifplug.engine.host import Host, Scope
from vifplug.engine.plan import diff, plug
from vifplug.engine.plan.actions import DeleteLinks, SetLink
from vifplug.engine.plan.plan import Plan
from vifplug.errors import OvsdbError, VerifyError, VifplugError
from vifplug.model.reports import DriftItem
from vifplug.resources import kinds
from vifplug.resources.contract import Creation, Relation, Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed

_SECONDS = 1.0
_PAUSE_SECONDS = 0.02
_STEP = "verify"
_NO_DEVICE = os.strerror(errno.ENODEV)
"""vswitchd's error text for a device that it does not know yet."""
_NEEDS_DPDK = (
    "; such a port needs an Open vSwitch with DPDK (Debian's openvswitch-switch-dpdk) that has initialised it "
    "(ovs-vsctl set Open_vSwitch . other_config:dpdk-init=true); its log names any other reason, such as a socket that "
    "an ovs-vswitchd left when it was killed: remove that one"
)
"""vswitchd's error text for an unknown type is that of a missing address family."""
_PUT_BACK = ("up", "promiscuous", "mtu")
"""What vswitchd may restore: the flags that it found on a device, and the MTU of an mtu_request until that is
removed."""
_ADDRESS = "address"
_ADDRESSES_MAX = 3
"""How often a plug sets the MACs of taps again. udev writes each MAC once."""


def opening(resolved: Iterable[Resource], observed: Observed, plan: Plan) -> list[str]:
    """The ports that have a device after a plan is carried out.

    :param observed: from before: what the VMM makes later is not in it.
    """
    ports = [port for port in kinds.ports_in(resolved) if port.is_owned]
    gone = {link.name for action in plan.actions if isinstance(action, DeleteLinks) for link in action.links}
    there = observed.links.keys() - gone
    return [port.name for port in ports if not port.waits_for_device or port.name in there]


def verified(
    host: Host, seen: Observed, resolved: Sequence[Resource], scope: Scope, correct: Callable[[Plan], None]
) -> Observed:
    """The host's observed state, once it is as desired.

    :param seen: observed after it had settled; observed again only if it differs.
    :param correct: carries out corrections of lost flags, and of taps and their MACs.
    :raises OvsdbError: with OVS's own text, if an interface is in error.
    :raises VerifyError: anything else differs.
    """
    if not diff.differences(resolved, seen, Inventory()):
        return seen
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_delay(_SECONDS),
        wait=tenacity.wait_fixed(_PAUSE_SECONDS),
        reraise=True,
    )
    looks = _looks(seen, host, scope)
    attempts, creations = iter(range(_ADDRESSES_MAX)), iter(range(1))

    def look() -> Observed:
        observed = next(looks)
        items = diff.differences(resolved, observed, Inventory())
        if not items:
            return observed
        overwritten, vanished = _overwritten(resolved, items), _vanished(resolved, items)
        if overwritten and next(attempts, None) is not None:
            correct(overwritten)
        if vanished and next(creations, None) is not None:
            correct(vanished)
        raise _refusal(observed, items)

    try:
        return retrying(look)
    except VerifyError:
        # vswitchd restores the flags of a device when it closes it, by name: if the device was recreated meanwhile, the
        # new one loses the flags that it was just given (netdev-linux's saved flags).
        flags = _lost_flags(resolved, host.observe(scope))
        if not flags:
            raise
        correct(flags)
        return retrying(look)


def require_agreement(resolved: Sequence[Resource], observed: Observed) -> None:
    """Raise for a difference that no plan changes.

    :raises VerifyError: naming the first difference.
    """
    for item in diff.differences(resolved, observed, Inventory()):
        raise VerifyError(f"{item}; vifplug has no change that puts this right", item.subject, _STEP)


def _may_pass(error: BaseException) -> bool:
    """Whether to observe again: also if a tap of the VMM's appeared between reading the rows and the links."""
    return isinstance(error, VerifyError) or (isinstance(error, OvsdbError) and _NO_DEVICE in error.message)


def _looks(seen: Observed, host: Host, scope: Scope) -> Iterator[Observed]:
    yield seen
    while True:
        yield host.observe(scope)


def _lost_flags(resolved: Sequence[Resource], observed: Observed) -> Plan:
    """Actions that set lost flags again, if nothing else differs; else none."""
    links = {item.name: item for item in kinds.links_in(resolved) if item.relation is Relation.OWNED}
    items = diff.differences(resolved, observed, Inventory())
    if any(item.subject not in links or item.attribute not in _PUT_BACK for item in items):
        return Plan(())
    return Plan(tuple(SetLink(links[item.subject], ((item.attribute, item.observed, item.desired),)) for item in items))


def _overwritten(resolved: Sequence[Resource], items: Sequence[DriftItem]) -> Plan:
    """Actions that set the MACs of taps again; else none.

    Every other link is created with its MAC. A tap is created with a random one, and gets its own a moment later: if
    udev reads it in between, it writes a generated MAC, whatever the tap has by then (MACAddressPolicy=persistent in
    systemd's 99-default.link).
    """
    taps = {item.name: item for item in _taps(resolved)}
    return Plan(
        tuple(
            SetLink(taps[item.subject], ((item.attribute, item.observed, item.desired),))
            for item in items
            if item.attribute == _ADDRESS and item.subject in taps
        )
    )


def _vanished(resolved: Sequence[Resource], items: Sequence[DriftItem]) -> Plan:
    """Actions that recreate deleted taps; else none.

    Under ``type=internal`` vswitchd with a userspace datapath treats an existing tap as its own, and deletes it when it
    closes it (netdev-linux clears TUNSETPERSIST): that happens when a plug or a repair corrects the type.
    """
    gone = {item.subject for item in items if item.attribute == diff.PRESENT}
    return plug.plan_creation(item for item in _taps(resolved) if item.name in gone)


def _taps(resolved: Iterable[Resource]) -> list[Link]:
    """Links that are created by ioctl: without their own MAC at first, and indistinguishable from taps that Open
    vSwitch made."""
    return [link for link in kinds.links_in(resolved) if link.creation is Creation.TAP]


def _refusal(observed: Observed, items: Sequence[DriftItem]) -> VifplugError:
    for item in items:
        if item.attribute == "error":
            hint = _NEEDS_DPDK if observed.ports[item.subject].needs_userspace else ""
            return OvsdbError(
                f"ovs-vswitchd could not use port {item.subject!r}: {item.observed}{hint}", item.subject, _STEP
            )
    return VerifyError(f"read back {items[0]}; another program may be changing it", items[0].subject, _STEP)
