"""Neutron's own library as a reader of what vifplug wrote.

It pulls eventlet and a hundred packages more, so it lives in an environment of its own (``tools/setup --oracle``) and
is asked in a process of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.functional.world import REPOSITORY, World

PYTHON = Path(os.environ.get("VIFPLUG_ORACLE_PYTHON", REPOSITORY / ".venv-oracle/bin/python"))

_PROGRAM = """
import json, sys
from oslo_config import cfg
from neutron.agent.common import ovs_lib
from neutron.conf.plugins.ml2.drivers import ovs_conf
ovs_conf.register_ovs_agent_opts(cfg.CONF)
connection, bridge, identity = sys.argv[1:]
cfg.CONF([], project="neutron", default_config_files=[])
cfg.CONF.set_override("ovsdb_connection", connection, "OVS")
port = ovs_lib.OVSBridge(bridge).get_vif_port_by_id(identity)
fields = ("port_name", "ofport", "vif_id", "vif_mac")
print(json.dumps(port and {field: getattr(port, field) for field in fields}))
"""


def vif_port(world: World, identity: str, bridge: str = "br-int") -> dict[str, Any] | None:
    """What Neutron's OVS agent finds for a VIF (port_name, ofport, vif_id, vif_mac), or None."""
    if not PYTHON.exists():
        pytest.skip(f"no Neutron at {PYTHON}: tools/setup --oracle installs it")
    output = world.run(str(PYTHON), "-W", "ignore", "-c", _PROGRAM, f"unix:{world.socket}", bridge, identity).stdout
    found: dict[str, Any] | None = json.loads(output.splitlines()[-1])
    return found
