"""A compute driver of twenty lines, written only against the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import vifplug


def boot(host: vifplug.Host, vifs: Sequence[vifplug.Vif], start: Callable[[list[str]], None]) -> list[str]:
    """Plug all VIFs of an instance, start its guest, and return its devices."""
    ids = [vif.id for vif in vifs]
    with host.expect(ids, state="wired", timeout=60):
        host.plug(vifs)
        start([word for vif_id in ids for word in host.guest(vif_id, "qemu").arguments])
    return [device.name for report in host.list() for device in report.devices if device.up]


def main(document: str) -> None:
    """Boot the guest of a document, through the daemon."""
    with vifplug.connect(timeout=30) as host:
        print(vifplug.__version__, boot(host, vifplug.load_all(document), print))
