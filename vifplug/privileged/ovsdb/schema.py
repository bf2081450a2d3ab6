"""The part of Open_vSwitch's schema that vifplug replicates; ``resources.ovs_bridge`` and ``resources.ovs_port`` have
that of bridges and ports."""

from __future__ import annotations

from typing import Any

from ovs.db import idl

from vifplug.resources import ovs_bridge, ovs_port
from vifplug.resources.ovs_bridge import BRIDGE
from vifplug.resources.ovs_port import INTERFACE, PORT

# The tables and columns that vifplug reads or writes, as in vswitch.ovsschema (ovs-vswitchd.conf.db(5)). With an own
# copy no 70 kB schema need be fetched, for which the pure-Python parser needs 50 ms.
_TABLES: dict[str, dict[str, Any]] = {
    "Open_vSwitch": {
        "bridges": ovs_port.references("Bridge", 0, "unlimited"),
        "next_cfg": "integer",
        "cur_cfg": "integer",
        "external_ids": ovs_port.STRINGS,
        "ovs_version": ovs_port.optional("string"),
        "db_version": ovs_port.optional("string"),
        "other_config": ovs_port.STRINGS,
        "datapath_types": {"key": "string", "min": 0, "max": "unlimited"},
        "iface_types": {"key": "string", "min": 0, "max": "unlimited"},
    },
    BRIDGE: {column.name: column.type for column in ovs_bridge.COLUMNS},
    **{row: {column.name: column.type for column in ovs_port.columns_of(row)} for row in (PORT, INTERFACE)},
    "QoS": {"type": "string", "external_ids": ovs_port.STRINGS},
}
_ROOTS = ("Open_vSwitch", "QoS")
NAMED = (BRIDGE, PORT, INTERFACE)


def needed() -> idl.SchemaHelper:
    """The tables and columns to replicate."""
    tables: dict[str, Any] = {}
    for name, columns in _TABLES.items():
        tables[name] = {
            "columns": {column: {"type": kind} for column, kind in columns.items()},
            "isRoot": name in _ROOTS,
        }
        if name in NAMED:
            tables[name]["indexes"] = [["name"]]
    helper = idl.SchemaHelper(schema_json={"name": "Open_vSwitch", "version": "8.0.0", "tables": tables})
    helper.register_all()
    return helper
