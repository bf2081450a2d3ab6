"""Filters of guests' frames: what differs, the actions, what cannot be filtered. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vifplug.engine.plan import actions
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.plan import Draft, Phase
from vifplug.errors import InputError
from vifplug.model.reports import DriftItem
from vifplug.resources.nftables.filter import BRIDGE, DEVICE, Filter
from vifplug.resources.observed import Observed

ATTRIBUTE = "filter"
"""The attribute that reports a filter that differs: its device has the same name."""
_NOT_READ = "was not read"
_PHASES: Mapping[str, Phase] = {BRIDGE: Phase.FILTERS_BY_NAME, DEVICE: Phase.FILTERS}


@dataclass(frozen=True, slots=True)
class PutFilter(Action):
    """Make a VIF's filter as desired, whatever is there of it."""

    verb: ClassVar[str] = "put-filter"
    plane: ClassVar[actions.Plane] = "filters"
    filter: Filter
    former: Filter | None = None
    """The recorded one, if it has other addresses."""
    is_new: bool = False

    @property
    def subject(self) -> str:
        """The device that it filters."""
        return self.filter.name

    def __str__(self) -> str:
        return f"filter {self.filter.name}: send from {self.filter.in_words()} only"

    def inverse(self) -> Action | None:
        """The deletion of a new one; of another, the recorded one."""
        if self.is_new:
            return DeleteFilter(self.filter)
        # The rules that another program changed are not restored.
        return PutFilter(self.former) if self.former is not None else None


@dataclass(frozen=True, slots=True)
class DeleteFilter(Action):
    """Delete a VIF's filter; with the last one the tables. An absent one counts as deleted."""

    verb: ClassVar[str] = "delete-filter"
    plane: ClassVar[actions.Plane] = "filters"
    filter: Filter

    @property
    def subject(self) -> str:
        """The device that it filters."""
        return self.filter.name

    def __str__(self) -> str:
        return f"delete the filter of {self.filter.name}"

    def inverse(self) -> Action | None:
        """The same filter again."""
        return PutFilter(self.filter)


def differences(desired: Filter, observed: Observed) -> list[DriftItem]:
    """Differences of a filter; those of the table's common chains, sets and rules included."""
    fault = observed.filters.get(desired.name, _NOT_READ)
    if not fault:
        return []
    return [DriftItem(subject=desired.name, attribute=ATTRIBUTE, observed=fault, desired=desired.in_words())]


def plan_filters(desired: Sequence[Filter], recorded: Mapping[str, Filter], observed: Observed, draft: Draft) -> None:
    """Plan a VIF's filters. A new VIF's is not read first: whatever is there is replaced.

    That of a device is put when the device is made, and neither up nor on its bridge; one by name before everything: no
    frame passes before the filter.

    :param recorded: what was built before, by device.
    """
    wanted = {item.place: item for item in desired}
    for former in recorded.values():
        if former.place not in wanted:
            draft.put(Phase.OBSOLETE_FILTERS, DeleteFilter(former))
        elif former.name != wanted[former.place].name:
            draft.put(_PHASES[former.place], DeleteFilter(former))  # in the transaction of its successor
    for item in desired:
        before = recorded.get(item.name)
        # The kernel deletes a device's chain with it.
        is_missing = before is None or draft.makes(item.name)
        if is_missing or differences(item, observed):
            other = before if before != item else None
            draft.put(_PHASES[item.place], PutFilter(item, other, is_new=before is None))


def refuse_unfilterable(wanted: Filter, observed: Observed) -> None:
    """Refuse the filter of a tap on a userspace datapath: ovs-vswitchd reads the tap by a packet socket, which gets
    frames before nftables' ingress hook (__netif_receive_skb_core).

    :raises InputError: naming what would be right.
    """
    bridge = observed.bridges.get(wanted.switch)
    if bridge is not None and bridge.userspace:
        raise InputError(
            f"VIF {wanted.owner} is to be filtered ([filter] enabled, allowed_addresses or port_security), but OVS "
            f"bridge {wanted.switch!r} has datapath_type {bridge.datapath_type!r}, which reads the tap's frames before "
            "they are filtered; plug it as ovs-hybrid, or set port_security false",
            wanted.owner,
        )
