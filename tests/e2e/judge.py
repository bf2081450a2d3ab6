"""Plugging with Neutron's own library as the judge: what its OVS agent would find of each VIF that is plugged here."""

from __future__ import annotations

import json

from tests.support.vifs import Request, must_row
from tests.support.world import neutron_reader
from tests.support.world.world import World


def plug(world: World, *requests: Request, wait: str = "plugged") -> None:
    """Plug VIFs that are ports at once, on the command line, and let Neutron's library find them."""
    documents = json.dumps([request.document for request in requests])
    world.vifplug("plug", "-", "--wait", wait, "--timeout", "20", input=documents)
    must_be_found(world, *requests)


def must_be_found(world: World, *requests: Request) -> None:
    """Neutron's library finds VIFs as the ports that they are."""
    found = neutron_reader.vif_ports(world, [request.id for request in requests])
    for request in requests:
        ofport = must_row(world, "Interface", request.port)["ofport"]
        assert ofport > 0, request.port
        expected = {"port_name": request.port, "ofport": ofport, "vif_id": request.id, "vif_mac": request.address}
        assert found[request.id] == expected
