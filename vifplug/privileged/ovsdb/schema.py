"""The part of Open_vSwitch's schema that vifplug replicates."""

from __future__ import annotations

from typing import Any

from ovs.db import idl

_STRINGS = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}
_VLAN = {"type": "integer", "minInteger": 0, "maxInteger": 4095}
_MODES = ["trunk", "access", "native-tagged", "native-untagged", "dot1q-tunnel"]


def _references(table: str, low: int, high: int | str) -> dict[str, Any]:
    return {"key": {"type": "uuid", "refTable": table}, "min": low, "max": high}


def _optional(key: Any, high: int = 1) -> dict[str, Any]:
    return {"key": key, "min": 0, "max": high}


# The tables and columns vifplug reads or writes, as in vswitch.ovsschema (ovs-vswitchd.conf.db(5)). Bringing
# them along saves fetching a 70 kB schema that the pure-Python parser needs 50 ms for.
_TABLES: dict[str, dict[str, Any]] = {
    "Open_vSwitch": {
        "bridges": _references("Bridge", 0, "unlimited"),
        "next_cfg": "integer",
        "cur_cfg": "integer",
        "external_ids": _STRINGS,
        "ovs_version": _optional("string"),
        "db_version": _optional("string"),
        "other_config": _STRINGS,
        "datapath_types": {"key": "string", "min": 0, "max": "unlimited"},
        "iface_types": {"key": "string", "min": 0, "max": "unlimited"},
    },
    "Bridge": {
        "name": "string",
        "ports": _references("Port", 0, "unlimited"),
        "datapath_type": "string",
        "fail_mode": _optional({"type": "string", "enum": ["set", ["standalone", "secure"]]}),
        "controller": {"key": "uuid", "min": 0, "max": "unlimited"},
        "stp_enable": "boolean",
        "rstp_enable": "boolean",
    },
    "Port": {
        "name": "string",
        "interfaces": _references("Interface", 1, "unlimited"),
        "tag": _optional(_VLAN),
        "vlan_mode": _optional({"type": "string", "enum": ["set", _MODES]}),
        "trunks": _optional(_VLAN, 4096),
        "other_config": _STRINGS,
        "external_ids": _STRINGS,
        "qos": _references("QoS", 0, 1),
        "bond_mode": _optional("string"),
        "lacp": _optional("string"),
        "fake_bridge": "boolean",
        "protected": "boolean",
    },
    "Interface": {
        "name": "string",
        "type": "string",
        "ofport": _optional("integer"),
        "ofport_request": _optional({"type": "integer", "minInteger": 1, "maxInteger": 65279}),
        "error": _optional("string"),
        "external_ids": _STRINGS,
        "options": _STRINGS,
        "mtu_request": _optional("integer"),
        "mac": _optional("string"),
        "lldp": _STRINGS,
        "bfd": _STRINGS,
        "cfm_mpid": _optional("integer"),
        "ingress_policing_rate": "integer",
    },
    "QoS": {"type": "string", "external_ids": _STRINGS},
}
_ROOTS = ("Open_vSwitch", "QoS")
NAMED = ("Bridge", "Port", "Interface")


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
