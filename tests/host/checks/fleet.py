"""Twenty VIFs of each kind: what a reboot must bring back."""

from __future__ import annotations

from tests.host.checks.ring import KINDS, Row, vif

COUNT = 20
VIFS: list[Row] = [
    vif(kind, 0x1000 * (place + 1) + number) for place, kind in enumerate(KINDS) for number in range(COUNT)
]
LINKS, PORTS = "/var/lib/behind.links", "/var/lib/behind.ports"
"""What a unit ordered behind vifplugd saw."""
