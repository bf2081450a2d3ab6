"""Which VIFs it concerns when something of a name changes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from vifplug.engine import inspection
from vifplug.records import Record
from vifplug.resources import Link, OvsPort


class Index:
    """Names of devices, ports, owners and OVS bridges, and the VIFs that have to do with them."""

    def __init__(self) -> None:
        self._indexed: dict[str, Record] = {}
        self._devices: dict[str, set[str]] = {}
        self._bridges: dict[str, set[str]] = {}

    @property
    def known(self) -> set[str]:
        """Every VIF there is."""
        return set(self._indexed)

    def update(self, records: Mapping[str, Record]) -> set[str]:
        """Know these records; only what differs from those known before is looked at.

        :returns: VIFs that are new, or built of something else than before.
        """
        before = {vif_id: record.resources for vif_id, record in self._indexed.items()}
        for vif_id, known in list(self._indexed.items()):
            if records.get(vif_id) is not known:
                for index, names in ((self._devices, _names(known)), (self._bridges, _bridges(known))):
                    for name in names:
                        index[name].discard(vif_id)
                        if not index[name]:
                            del index[name]
                del self._indexed[vif_id]
        for vif_id, record in records.items():
            if vif_id not in self._indexed:
                for index, names in ((self._devices, _names(record)), (self._bridges, _bridges(record))):
                    for name in names:
                        index.setdefault(name, set()).add(vif_id)
                self._indexed[vif_id] = record
        return {vif_id for vif_id, record in records.items() if before.get(vif_id) != record.resources}

    def of_devices(self, names: Iterable[str]) -> set[str]:
        """VIFs with a device, port or owner of one of these names; ``#`` and a number stands for an ifindex."""
        return _found(self._devices, names)

    def of_bridges(self, names: Iterable[str]) -> set[str]:
        """VIFs with a port on one of these OVS bridges."""
        return _found(self._bridges, names)


def _found(index: Mapping[str, Collection[str]], names: Iterable[str]) -> set[str]:
    return {vif_id for name in names for vif_id in index.get(name, ())}


def _names(record: Record) -> set[str]:
    scope = inspection.scope_of([record])
    # A device that was renamed is known by its index alone.
    indexes = {f"#{item.ifindex}" for item in record.resources if isinstance(item, Link) and item.ifindex}
    return {*scope.links, *scope.ports, *scope.owners, *indexes}


def _bridges(record: Record) -> set[str]:
    return {item.bridge for item in record.resources if isinstance(item, OvsPort)}
