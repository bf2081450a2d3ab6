"""``--filters``: what a filter against spoofing adds to a plug, among many filtered VIFs; in one process, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.support.vifs import BRIDGE, HYBRID, Request
from tests.support.world.world import World
from vifplug.api.local import LocalHost, local
from vifplug.model.vif import Vif

MANY, TURNS = 500, 40
_NETWORKS = 3
"""A Linux bridge has 1,023 ports at most, and each of its members costs a plug some time."""
_REST_SECONDS = 0.03
CASES = {"bridge": BRIDGE, "bridge, the VMM's tap": BRIDGE.but(create_tap=False), "ovs-hybrid": HYBRID}


def vif(of: Request, number: int, *, has_filter: bool) -> Vif:
    """A VIF of its own address, with or without a filter."""
    high, low = divmod(number, 256)
    more: dict[str, Any] = {}
    if of.document["vif_type"] == "bridge":
        more["network"] = {"id": f"{number % _NETWORKS:08x}-7f2b-4c36-9d2e-aa53a1f0c001"}
    if has_filter:
        more["allowed_addresses"] = [{"ip": f"10.5.{high}.{low}"}, {"ip": f"2001:db8::{number:x}"}]
    number_and_address = {
        "id": f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa",
        "address": f"fa:16:3e:10:{high:02x}:{low:02x}",
    }
    return of.but(**number_and_address, **more).vif


def measure(world: World, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Plugs of each case, in turn with and without a filter; medians, and the quartiles of the ratios of pairs."""
    world.write_config(filter={"enabled": "true"})
    rows = []
    with world.namespace.entered(), local(str(world.config_file)) as host:
        # Half of them at each of the places where filters are: on taps of vifplug's, and on bridges for the VMM's.
        taps, of_vmms = CASES["bridge"], CASES["bridge, the VMM's tap"]
        host.plug([vif(taps if number % 2 else of_vmms, number, has_filter=True) for number in range(1, MANY + 1)])
        for name, request in CASES.items():
            rows.append({"case": name, "there": MANY, **_pairs(host, request)})
            say(
                "{case}, {there} filtered VIFs there: {plain:.2f} ms, with a filter {filtered:.2f}: {text}".format(
                    **rows[-1]
                )
            )
    return rows


def _pairs(host: LocalHost, of: Request) -> dict[str, Any]:
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(TURNS):
        for has_filter in (False, True) if turn % 2 else (True, False):
            each = vif(of, 50_000 + turn, has_filter=has_filter)
            time.sleep(_REST_SECONDS)
            began = time.perf_counter()
            host.plug([each])
            seconds[has_filter].append(time.perf_counter() - began)
            host.unplug([each.id])
    ratios = [filtered / plain for plain, filtered in zip(seconds[False], seconds[True], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    plain, filtered = (1000 * statistics.median(known) for known in seconds.values())
    text = f"{middle:.2f} ({low:.2f}-{high:.2f})"
    return {"plain": plain, "filtered": filtered, "ratio": [low, middle, high], "text": text}
