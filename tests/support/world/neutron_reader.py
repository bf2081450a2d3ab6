"""Neutron's own library as a reader of vifplug's rows.

It pulls eventlet and a hundred packages more, so it has a separate environment (``tools/setup --oracle``) and runs in a
separate process.
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


_TRUNK_PROGRAM = """
import json, sys
from oslo_config import cfg
from neutron.agent.common import ovs_lib
from neutron.conf.plugins.ml2.drivers import ovs_conf
from neutron.services.trunk.drivers.openvswitch.agent import ovsdb_handler, trunk_manager
ovs_conf.register_ovs_agent_opts(cfg.CONF)
connection, trunk_id, deeds = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
cfg.CONF([], project="neutron", default_config_files=[])
cfg.CONF.set_override("ovsdb_connection", connection, "OVS")
manager = trunk_manager.TrunkManager(ovs_lib.OVSBridge("br-int"))
for method, *arguments in deeds:
    getattr(manager, method)(trunk_id, *arguments)
bridge = trunk_manager.TrunkBridge(trunk_id)
found = {"name": bridge.br_name, "is_there": bridge.exists()}
if found["is_there"]:
    parent = ovsdb_handler.OVSDBHandler._get_parent_port(None, bridge)
    found |= {
        "is_trunks": ovsdb_handler.is_trunk_bridge(bridge.br_name),
        "has_instance_port": ovsdb_handler.bridge_has_instance_port(bridge),
        "parent": parent["name"],
        "parent_id": manager.get_port_uuid_from_external_ids(parent),
        "bridge_name": parent["external_ids"].get("bridge_name"),
    }
print(json.dumps(found))
"""


def trunk(world: World, trunk_id: str, *deeds: Sequence[Any]) -> dict[str, Any]:
    """The effects of the trunk driver of Neutron's OVS agent on a trunk's bridge, by its own functions.

    :param deeds: methods of its TrunkManager to call before that, each with its arguments after the trunk's id.
    """
    if not PYTHON.exists():
        pytest.skip(f"no Neutron at {PYTHON}: tools/setup --oracle installs it")
    argv = [str(PYTHON), "-W", "ignore", "-c", _TRUNK_PROGRAM, f"unix:{world.socket}", trunk_id, json.dumps(deeds)]
    output = world.run(*argv).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def vif_port(world: World, identity: str, bridge: str = "br-int") -> dict[str, Any] | None:
    """What Neutron's OVS agent reads for a VIF (port_name, ofport, vif_id, vif_mac), or None."""
    return vif_ports(world, [identity], bridge)[identity]


def vif_ports(world: World, identities: Sequence[str], bridge: str = "br-int") -> dict[str, dict[str, Any] | None]:
    """The same for several: its start takes longer than a query."""
    if not PYTHON.exists():
        pytest.skip(f"no Neutron at {PYTHON}: tools/setup --oracle installs it")
    argv = [str(PYTHON), "-W", "ignore", "-c", _PROGRAM, f"unix:{world.socket}", bridge, *identities]
    output = world.run(*argv).stdout
    found: dict[str, dict[str, Any] | None] = json.loads(output.splitlines()[-1])
    return found
