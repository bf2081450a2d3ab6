"""Finds the VIFs that a change concerns, by the name of the changed thing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from vifplug.engine.commands import inspect
from vifplug.resources import kinds
from vifplug.store.records import Record

_SAMPLE_VIFS = 3
"""More than one, because a VIF may be busy or waiting for a retry."""


class Index:
    """VIFs by the names of their devices, ports, owners and OVS bridges."""

    def __init__(self) -> None:
        self._indexed: dict[str, Record] = {}
        self._devices: dict[str, set[str]] = {}
        self._bridges: dict[str, set[str]] = {}
        self._shared: dict[str, set[str]] = {}
        """VIFs by the name of their network's Linux bridge, which many VIFs share."""

    @property
    def known(self) -> set[str]:
        """Every recorded VIF."""
        return set(self._indexed)

    def update(self, records: Mapping[str, Record], vif_ids: Collection[str] | None = None) -> set[str]:
        """Update the index from the records; unchanged records are skipped.

        :param vif_ids: the VIFs to update, which need not have a record; by default all.
        :returns: VIFs that are new, or whose resources have changed.
        """
        updated = self._indexed.keys() | records.keys() if vif_ids is None else set(vif_ids)
        built: set[str] = set()
        for vif_id in updated:
            known, record = self._indexed.get(vif_id), records.get(vif_id)
            if known is record:
                continue
            if known is not None:
                self._leave(known)
            if record is not None:
                self._enter(record)
                if known is None or known.resources != record.resources:
                    built.add(vif_id)
        return built

    def _enter(self, record: Record) -> None:
        self._indexed[record.id] = record
        for index, names in self._names_of(record):
            for name in names:
                index.setdefault(name, set()).add(record.id)

    def _leave(self, record: Record) -> None:
        del self._indexed[record.id]
        for index, names in self._names_of(record):
            for name in names:
                index[name].discard(record.id)
                if not index[name]:
                    del index[name]

    def _names_of(self, record: Record) -> tuple[tuple[dict[str, set[str]], set[str]], ...]:
        shared = _shared(record)
        return (self._devices, _names(record) - shared), (self._bridges, _bridges(record)), (self._shared, shared)

    def of_devices(self, names: Collection[str]) -> set[str]:
        """VIFs with a device, port or owner of one of these names; ``#`` and a number stands for an ifindex.

        For a network's bridge only a few of its VIFs: other programs' devices come and go on it, and drift of the
        bridge shows in any VIF. A VIF's own device that leaves the bridge is a change of that device, too.
        """
        few = {vif_id for name in names for vif_id in sorted(self._shared.get(name, ()))[:_SAMPLE_VIFS]}
        return _lookup(self._devices, names) | few

    def of_bridges(self, names: Iterable[str]) -> set[str]:
        """VIFs with a port on one of these OVS bridges."""
        return _lookup(self._bridges, names)


def _lookup(index: Mapping[str, Collection[str]], names: Iterable[str]) -> set[str]:
    return {vif_id for name in names for vif_id in index.get(name, ())}


def _names(record: Record) -> set[str]:
    scope = inspect.scope_of([record])
    # A renamed device is known only by its index.
    indexes = {f"#{link.ifindex}" for link in kinds.links_in(record.resources) if link.ifindex}
    ports = kinds.ports_in(record.resources)
    indexes |= {f"#{port.device_ifindex}" for port in ports if port.function and port.device_ifindex}
    return {record.id, *scope.links, *scope.ports, *scope.owners, *indexes}


def _shared(record: Record) -> set[str]:
    """Names and indexes of the resources that it shares with its network: a Linux bridge."""
    links = kinds.links_in(kinds.shared_in(record.resources))
    indexes = {f"#{link.ifindex}" for link in links if link.ifindex}
    # Another program's bridge is not among the resources.
    switch = {record.vif.network.bridge} if record.vif.network.bridge and not _bridges(record) else set()
    return {*(link.name for link in links), *indexes, *switch}


def _bridges(record: Record) -> set[str]:
    return {port.bridge for port in kinds.ports_in(record.resources)}
