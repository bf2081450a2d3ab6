"""Reading back: a plug is done when the host shows what was asked for."""

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
"""vswitchd's error text for a type that it does not have is that of a missing address family."""
_PUT_BACK = ("up", "promiscuous", "mtu")
"""What vswitchd may put back: the flags that it found on a device, and the MTU of an mtu_request until that is gone."""
_ADDRESS = "address"
_ADDRESSES_MAX = 3
"""How often a plug sets the MACs of taps again. udev writes each once."""


def opening(resolved: Iterable[Resource], observed: Observed, plan: Plan) -> list[str]:
    """The ports that have a device once a plan is carried out.

    :param observed: from before: what the VMM makes later was not there yet.
    """
    ports = [port for port in kinds.ports_in(resolved) if port.is_owned]
    gone = {link.name for action in plan.actions if isinstance(action, DeleteLinks) for link in action.links}
    there = observed.links.keys() - gone
    return [port.name for port in ports if not port.waits_for_device or port.name in there]


def verified(
    host: Host, seen: Observed, resolved: Sequence[Resource], scope: Scope, correct: Callable[[Plan], None]
) -> Observed:
    """The host read back, once it is as desired.

    :param seen: read once it had settled; it is looked at again only where that differs.
    :param correct: carries out what puts lost flags, and taps and their MACs, right again.
    :raises OvsdbError: with OVS's own words, when it has an interface in error.
    :raises VerifyError: when anything else differs.
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
        # vswitchd gives a device that it closes the flags back that it found on it, by name: when the device was made
        # again meanwhile, the new one loses what it was just given (netdev-linux's saved flags).
        flags = _lost_flags(resolved, host.observe(scope))
        if not flags:
            raise
        correct(flags)
        return retrying(look)


def require_agreement(resolved: Sequence[Resource], observed: Observed) -> None:
    """Refuse to call right what differs and what no plan changes.

    :raises VerifyError: naming the first difference.
    """
    for item in diff.differences(resolved, observed, Inventory()):
        raise VerifyError(f"{item}; vifplug has no change that puts this right", item.subject, _STEP)


def _may_pass(error: BaseException) -> bool:
    """Whether to look again: also where a tap of the VMM's came between the rows and the links that were read."""
    return isinstance(error, VerifyError) or (isinstance(error, OvsdbError) and _NO_DEVICE in error.message)


def _looks(seen: Observed, host: Host, scope: Scope) -> Iterator[Observed]:
    yield seen
    while True:
        yield host.observe(scope)


def _lost_flags(resolved: Sequence[Resource], observed: Observed) -> Plan:
    """What sets flags again, where nothing else differs; else nothing."""
    links = {item.name: item for item in kinds.links_in(resolved) if item.relation is Relation.OWNED}
    items = diff.differences(resolved, observed, Inventory())
    if any(item.subject not in links or item.attribute not in _PUT_BACK for item in items):
        return Plan(())
    return Plan(tuple(SetLink(links[item.subject], ((item.attribute, item.observed, item.desired),)) for item in items))


def _overwritten(resolved: Sequence[Resource], items: Sequence[DriftItem]) -> Plan:
    """What sets the MACs of taps again; else nothing.

    Every other link has its MAC from birth. A tap is born with a random one, and gets its own a moment later: where
    udev looked in between, it writes one that it made up, whatever the tap has by then (MACAddressPolicy=persistent in
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
    """What makes taps again that are gone; else nothing.

    Under ``type=internal`` vswitchd with a userspace datapath takes a tap that is there for one of its own making, and
    deletes it as it lets go of it (netdev-linux clears TUNSETPERSIST), which is when a plug or a repair puts the type
    right.
    """
    gone = {item.subject for item in items if item.attribute == diff.PRESENT}
    return plug.plan_creation(item for item in _taps(resolved) if item.name in gone)


def _taps(resolved: Iterable[Resource]) -> list[Link]:
    """Links that are made by ioctl: without a MAC of theirs at first, and as ones that Open vSwitch could have made."""
    return [link for link in kinds.links_in(resolved) if link.creation is Creation.TAP]


def _refusal(observed: Observed, items: Sequence[DriftItem]) -> VifplugError:
    for item in items:
        if item.attribute == "error":
            hint = _NEEDS_DPDK if observed.ports[item.subject].needs_userspace else ""
            return OvsdbError(
                f"ovs-vswitchd could not use port {item.subject!r}: {item.observed}{hint}", item.subject, _STEP
            )
    return VerifyError(f"read back {items[0]}; another program may be changing it", items[0].subject, _STEP)
