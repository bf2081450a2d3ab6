"""Two kinds for tests, one that is configured and one that is referenced, and a driver that needs both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from vifplug.drivers import registry
from vifplug.drivers.contract import Options
from vifplug.drivers.ovs import Ovs
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.contract import Relation, Resource, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link
from vifplug.resources.schema import Table

TYPE = "wired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic(Link):
    """A NIC of the host: its MTU and promiscuity are set while a VIF needs them."""

    kind: ClassVar[str] = "test-nic"
    relation: ClassVar[Relation] = Relation.CONFIGURED
    attributes: ClassVar[Table] = Table(*OF_EVERY_LINK, UP)
    roles: ClassVar[tuple[Role, ...]] = (Role(name="nic", joins_network=True),)

    former: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Link):
    """Another program's device that must exist."""

    kind: ClassVar[str] = "test-gate"
    relation: ClassVar[Relation] = Relation.REFERENCED


class Wired(Ovs):
    """A tap on the OVS bridge that needs eth1 and gate0."""

    vif_type = TYPE

    def __init__(self) -> None:
        self.nic: dict[str, Any] = {"mtu": 9000, "promiscuous": True}
        self.nic_of: dict[str, dict[str, Any]] = {}
        """What single VIFs request instead."""
        self.nic_owner: str | None = None
        self.has_nic = True

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        nic = Nic(name="eth1", owner=self.nic_owner or vif.id, role="nic", **self.nic_of.get(vif.id, self.nic))
        gate = Gate(name="gate0", owner=vif.id)
        return [*super().resources(vif, options), *([nic] if self.has_nic else []), gate]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wired]:
    """The driver, registered with the kinds for one test."""
    for table in ("_KINDS", "_PARTS"):
        monkeypatch.setattr(kinds, table, dict(getattr(kinds, table)))
    kinds.register(Nic)
    kinds.register(Gate)
    made = Wired()
    others = registry.drivers()
    monkeypatch.setattr(registry, "drivers", lambda: {**others, TYPE: made})
    yield made
