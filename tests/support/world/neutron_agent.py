"""A stand-in for Neutron's OVS agent: its changes to br-int and to a port that it wires, by ``ovs-vsctl``.

The agent describes the network in Port.other_config, and later, in a separate transaction, gives the port its VLAN and
removes the dead VLAN. The values are those of a real one (tests/samples/ml2ovs_ovsdb_port_tagged.json).
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.world.world import World

BRIDGE = "br-int"
TAG, DEAD_TAG = 1, 4095
_SAMPLE = Path(__file__).parents[2] / "samples" / "ml2ovs_ovsdb_port_tagged.json"
# No server listens there; with fail_mode=secure the flows stay as they are.
_CONTROLLER = "tcp:127.0.0.1:6633"


def _described() -> dict[str, str]:
    """The other_config that the real agent wrote for a port that it wired with ``TAG``."""
    sample = json.loads(_SAMPLE.read_text())
    (described, *_others) = (dict(config[1]) for _name, tag, config in sample["data"] if tag == TAG)
    return described


class Agent:
    """The agent of one world's br-int, which it takes over at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.vsctl("set", "Bridge", BRIDGE, "fail_mode=secure", "--", "set-controller", BRIDGE, _CONTROLLER)
        flows = f"priority=65535,dl_vlan={DEAD_TAG},actions=drop\npriority=0,actions=NORMAL\n"
        management = f"unix:{world.directory / f'{BRIDGE}.mgmt'}"
        world.run("ovs-ofctl", "add-flows", management, "-", input=flows)

    def wire(self, port: str) -> None:
        """All that it does to a port that is to forward."""
        self.describe(port)
        self.give_vlan(port)

    def describe(self, port: str) -> None:
        """The first half: the port is still as dead as it was."""
        self._world.vsctl("set", "Port", port, *(f"other_config:{key}={value}" for key, value in _described().items()))

    def give_vlan(self, port: str) -> None:
        """The second half: it forwards."""
        self._world.vsctl("set", "Port", port, f"tag={TAG}", "--", "clear", "Port", port, "vlan_mode", "trunks")

    def kill(self, port: str) -> None:
        """What it does to a port that is administratively down, or not bound."""
        self._world.vsctl("set", "Port", port, f"tag={DEAD_TAG}")
