"""The compute driver of typed_driver.py for asyncio, written only against the contract."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import vifplug
from vifplug import aio


async def boot(host: aio.Host, vifs: Sequence[vifplug.Vif], start: Callable[[list[str]], Awaitable[None]]) -> list[str]:
    """Plug all VIFs of an instance, start its guest, and return its devices."""
    ids = [vif.id for vif in vifs]
    async with host.expect(ids, state="wired", timeout=60):
        await host.plug(vifs)
        await start([word for vif_id in ids for word in (await host.guest(vif_id, "qemu")).arguments])
    return [device.name for report in await host.list() for device in report.devices if device.up]


async def main(document: str, start: Callable[[list[str]], Awaitable[None]]) -> None:
    """Boot the guest of a document, through the daemon, and follow its VIFs."""
    async with aio.connect(timeout=30, retry=30) as host:
        print(vifplug.__version__, await boot(host, vifplug.load_all(document), start), host.warnings)
        async with contextlib.aclosing(host.events(follow=True)) as events:
            async for event in events:
                print(event.seq, event.vif_id, event.state)
