"""Neutron's own library as a reader of what vifplug wrote.

It pulls eventlet and a hundred packages more, so it lives in an environment of its own (``tools/setup --oracle``) and
is asked in a process of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.world.world import REPOSITORY, World

PYTHON = Path(os.environ.get("VIFPLUG_ORACLE_PYTHON", REPOSITORY / ".venv-oracle/bin/python"))

_PROGRAM = """
import json, sys
from oslo_config import cfg
from neutron.agent.common import ovs_lib
from neutron.conf.plugins.ml2.drivers import ovs_conf
ovs_conf.register_ovs_agent_opts(cfg.CONF)
connection, bridge, *identities = sys.argv[1:]
cfg.CONF([], project="neutron", default_config_files=[])
cfg.CONF.set_override("ovsdb_connection", connection, "OVS")
fields = ("port_name", "ofport", "vif_id", "vif_mac")
found = {identity: ovs_lib.OVSBridge(bridge).get_vif_port_by_id(identity) for identity in identities}
print(json.dumps({id: port and {field: getattr(port, field) for field in fields} for id, port in found.items()}))
"""


def vif_port(world: World, identity: str, bridge: str = "br-int") -> dict[str, Any] | None:
    """What Neutron's OVS agent finds for a VIF (port_name, ofport, vif_id, vif_mac), or None."""
    return vif_ports(world, [identity], bridge)[identity]


def vif_ports(world: World, identities: Sequence[str], bridge: str = "br-int") -> dict[str, dict[str, Any] | None]:
    """The same for several; to start it takes longer than to ask it."""
    if not PYTHON.exists():
        pytest.skip(f"no Neutron at {PYTHON}: tools/setup --oracle installs it")
    argv = [str(PYTHON), "-W", "ignore", "-c", _PROGRAM, f"unix:{world.socket}", bridge, *identities]
    output = world.run(*argv).stdout
    found: dict[str, dict[str, Any] | None] = json.loads(output.splitlines()[-1])
    return found
