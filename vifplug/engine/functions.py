"""PCI functions of guests: each has one holder. Pure.

A guest's physical function includes its virtual functions, which its driver removes when it is unbound
(pci_disable_sriov): so they have one holder together, or are not given at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vifplug.errors import Conflict
from vifplug.store.records import Record

_ADVICE = "unplug that VIF first, or give another function"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A PCI function of a VIF's guest."""

    vif_id: str
    address: str
    physical: str = ""
    """The physical function that it belongs to; "" for none."""


def given_by(records: Iterable[Record]) -> list[Given]:
    """The functions that recorded VIFs have."""
    devices = ((record, record.vif.pci_device) for record in records)
    return [
        Given(vif_id=record.id, address=device.address, physical=record.physical)
        for record, device in devices
        if device is not None
    ]


def refuse_given(wanted: Iterable[Given], held: Iterable[Given]) -> None:
    """Refuse a function that the guest of another VIF has: of a plugged one, or of an earlier one in the same request.

    :raises Conflict: naming the holder.
    """
    holders: dict[str, Given] = {}
    parts: dict[str, Given] = {}  # by the physical function
    plugged = list(held)
    for given in plugged:
        holders[given.address] = parts[given.physical] = given
    for given in wanted:
        for other in (holders.get(given.address), holders.get(given.physical), parts.get(given.address)):
            if other is not None and other.vif_id != given.vif_id:
                raise _conflict(given, other, is_plugged=other in plugged)
        holders[given.address] = parts[given.physical] = given


def _conflict(given: Given, other: Given, *, is_plugged: bool) -> Conflict:
    where = "which is plugged on this host" if is_plugged else "of the same request"
    message = f"PCI function {other.address!r} is held by VIF {other.vif_id}, {where}; VIF {given.vif_id} cannot have "
    if other.address == given.address:
        message += "the same"
    elif other.address == given.physical:
        message += f"its virtual function {given.address!r}"
    else:
        message += f"its physical function {given.address!r}, with which it would go"
    return Conflict(f"{message}: {_ADVICE}", given.address)
