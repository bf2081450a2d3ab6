"""Short ways to create requests and worlds, for unit tests."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.fake_host import FakeHost
from vifplug.api.local import LocalHost
from vifplug.drivers.contract import Options
from vifplug.engine.commands import plug, repair, unplug
from vifplug.engine.context import Context
from vifplug.engine.plan.plan import Plan
from vifplug.engine.requester import Requester
from vifplug.model.reports import VifReport
from vifplug.model.vif import Vif
from vifplug.store.locks import LockFile
from vifplug.store.records import Intent
from vifplug.store.store import Store

HYBRID = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
TAP = "81ab5618-df3e-4999-932a-1263b7886e5a"
BRIDGE = "3fe5648f-4734-49a7-9fef-daa6f86f6799"
LONE_TAP = "0c5f3a52-9d1b-4f0e-8a77-2f64b1a0d3c1"
EXTERNAL = "9b6f1c44-3a07-4d0c-9d55-61c7ad0e8f20"
VHOST_USER = "4fe5648f-4734-49a7-9fef-daa6f86f6799"
VF = "d3a7c8e4-2f2f-4e83-8a4b-7a3c4f2e9153"
HOST_DEVICE = "7c1d9e30-5b42-4f7a-8d11-0a6be2f4c9d8"
MACVTAP = "b1e5a6c2-0f0d-4c61-8f29-5e1a2d0c7f31"
NETWORK = "14ec4c8b-001b-49c3-89fb-bf84c4f41e24"
INSTANCE = "c0ffee00-1111-4222-8333-000000000011"
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ovs-hybrid": {"id": HYBRID, "address": "fa:16:3e:eb:5e:26"},
    "ovs": {"id": TAP, "address": "fa:16:3e:b9:2c:38"},
    "bridge": {"id": BRIDGE, "address": "fa:16:3e:95:3a:3d"},
    "external": {"id": EXTERNAL, "address": "fa:16:3e:0a:0b:0c"},
    "tap": {"id": LONE_TAP, "address": "fa:16:3e:07:08:09"},
    "vhost-user": {
        "id": VHOST_USER,
        "address": "fa:16:3e:95:3a:3e",
        "vhost_user": {"socket": "/var/lib/vhost_sockets/vhu4fe5648f-47"},
    },
    "vf": {"id": VF, "address": "fa:16:3e:4c:2a:0f", "pci_device": {"address": "0000:3b:00.2"}},
    "host-device": {"id": HOST_DEVICE, "address": "fa:16:3e:4c:2a:0d", "pci_device": {"address": "0000:3b:00.2"}},
    "macvtap": {"id": MACVTAP, "address": "fa:16:3e:4c:2a:01", "macvtap": {"source": "eth1"}},
}


def document(vif_type: str) -> dict[str, Any]:
    """A request of a type, in our own format."""
    return {"vif_type": vif_type, "network": {"id": NETWORK, "mtu": 1450}, **_DEFAULTS[vif_type]}


def vif(vif_type: str = "ovs-hybrid", **changes: Any) -> Vif:
    """A request of a type, with some keys of our own format changed."""
    return Vif.model_validate({**document(vif_type), **changes})


class Plugger(Context):
    """A context with the commands as methods, for short tests."""

    def plan(self, vifs: Sequence[Vif]) -> Plan:
        """The plan of plugging them."""
        return plug.plan(self, vifs)

    def plug(self, vifs: Sequence[Vif], requester: Requester | None = None) -> list[VifReport]:
        """Plug."""
        with plug.asking(self, [vif.id for vif in vifs]) as early:
            return plug.plug(self, vifs, requester, early)

    def repair(self, vif_ids: Sequence[str], requester: Requester | None = None) -> list[VifReport]:
        """Repair."""
        return repair.repair(self, vif_ids, requester)

    def unplug(self, vif_ids: Sequence[str], requester: Requester | None = None) -> list[VifReport]:
        """Unplug."""
        return unplug.unplug(self, vif_ids, requester)


def local_host(plugger: Plugger, **more: Any) -> LocalHost:
    """The library over a context."""
    assert isinstance(plugger.host, FakeHost)
    return LocalHost(plugger, plugger.host.probe, **more)


def plugger(directory: pathlib.Path, host: FakeHost, **options: Any) -> Plugger:
    """The commands over a host in memory and a real store."""
    store = Store(str(directory), user="no-such-user")
    return Plugger(host, store, LockFile(str(directory / "locks")), Options(**options), lock_seconds=5)


@contextlib.contextmanager
def intents_of(plugger: Context, host: FakeHost) -> Iterator[list[Intent]]:
    """The intents in the store at each change of the host in the block: those that a kill would leave."""
    seen: list[Intent] = []
    apply = host.apply

    def applied(*arguments: Any) -> Any:
        seen.extend(plugger.store.contents().intents.values())
        return apply(*arguments)

    host.apply = applied  # type: ignore[assignment, method-assign]
    try:
        yield seen
    finally:
        host.apply = apply  # type: ignore[method-assign]
