"""The state of Open vSwitch that decides about frames and that no other verb needs: it is read, not replicated.

Bridges with their controllers and the number of their flows, ports with their VLANs, interfaces with their statistics.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vifplug.errors import OvsUnavailable
from vifplug.privileged import arguments
from vifplug.privileged.helper.context import net
from vifplug.privileged.ovsdb import openflow
from vifplug.privileged.ovsdb import remotes as ovsdb_remotes
from vifplug.privileged.ovsdb import verbs as ovsdb

LOG = logging.getLogger(__name__)

_CONNECT_SECONDS, _ANSWER_SECONDS = 1.0, 2.0
_ANSWER_BYTES_MAX = 16 * 2**20
"""An interface has some 500 bytes."""
_NAMES_MAX, _COUNTED_MAX = 64, 16
_COLUMNS = {
    "Bridge": (
        *("_uuid", "name", "ports", "fail_mode", "controller", "datapath_type", "stp_enable", "rstp_enable"),
        "mirrors",
    ),
    "Port": ("_uuid", "name", "interfaces", "tag", "trunks", "vlan_mode", "bond_mode", "status", "external_ids"),
    "Interface": (
        *("_uuid", "name", "type", "ofport", "error", "admin_state", "link_state", "mtu", "external_ids"),
        *("ingress_policing_rate", "ingress_policing_burst", "statistics", "options"),
    ),
    "Controller": ("_uuid", "target", "is_connected"),
    "Open_vSwitch": ("cur_cfg", "next_cfg"),
}
"""All of them are in Open vSwitch 2.13."""
_KEYS = ("iface-id", "attached-mac", "vifplug-vif")


@net.entrypoint
def switching(names: Sequence[str] = (), counted: Sequence[str] = ()) -> dict[str, Any]:
    """Every bridge, port and interface.

    :param names: of interfaces whose statistics are returned.
    :param counted: bridges whose flows are counted.
    :raises OvsUnavailable: no OVSDB address answers.
    """
    if len(names) > _NAMES_MAX or len(counted) > _COUNTED_MAX:
        raise arguments.refuse("the number of names", max(len(names), len(counted)))
    wanted, bridges = set(map(arguments.row_name, names)), set(map(arguments.row_name, counted))
    tables = dict(zip(_COLUMNS, _selected(), strict=True))
    interfaces = {row["_uuid"][1]: _interface(row, wanted) for row in tables["Interface"]}
    ports = {row["_uuid"][1]: _port(row, interfaces) for row in tables["Port"]}
    controllers = {row["_uuid"][1]: row for row in tables["Controller"]}
    numbers = tables["Open_vSwitch"][0] if tables["Open_vSwitch"] else {}
    return {
        "bridges": [_bridge(row, ports, controllers, bridges) for row in tables["Bridge"]],
        "cur_cfg": numbers.get("cur_cfg", 0),
        "next_cfg": numbers.get("next_cfg", 0),
    }


def _selected() -> list[list[Any]]:
    session = ovsdb.session()
    error: Exception | None = None
    for remote in dict.fromkeys((*filter(None, (session.address,)), *session.remotes)):
        try:
            with ovsdb_remotes.connected(remote, _CONNECT_SECONDS) as connection:
                return ovsdb_remotes.selected(connection, _COLUMNS, _ANSWER_SECONDS, _ANSWER_BYTES_MAX)
        except (OSError, ValueError) as met:
            error = met
    raise OvsUnavailable(f"OVSDB does not answer: {error}") from error


def _bridge(
    row: Mapping[str, Any], ports: Mapping[str, Any], controllers: Mapping[str, Any], counted: Iterable[str]
) -> dict[str, Any]:
    used = [controllers[uuid] for uuid in _references(row["controller"]) if uuid in controllers]
    return {
        "name": row["name"],
        "datapath_type": row["datapath_type"],
        "fail_mode": _first(row["fail_mode"]) or "",
        "controllers": [[each["target"], bool(each["is_connected"])] for each in used],
        "spanning_tree": bool(row["stp_enable"] or row["rstp_enable"]),
        "flow_count": _flow_count(row["name"]) if row["name"] in counted else None,
        "ports": [ports[uuid] for uuid in _references(row["ports"]) if uuid in ports],
    }


def _flow_count(bridge: str) -> int | None:
    path = openflow.socket_path(ovsdb.session().remotes, bridge)
    try:
        return None if path is None else openflow.flow_count(path)
    except OSError as error:
        LOG.debug("the flows of %r were not counted: %s", bridge, error)
        return None


def _port(row: Mapping[str, Any], interfaces: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "tag": _first(row["tag"]),
        "trunks": [value for value in _all(row["trunks"]) if isinstance(value, int)],
        "vlan_mode": _first(row["vlan_mode"]) or "",
        "bond_mode": _first(row["bond_mode"]) or "",
        "status": _map(row["status"]),
        "owner": _map(row["external_ids"]).get("vifplug-vif", ""),
        "interfaces": [interfaces[uuid] for uuid in _references(row["interfaces"]) if uuid in interfaces],
    }


def _interface(row: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    keys = _map(row["external_ids"])
    return {
        "name": row["name"],
        "type": row["type"],
        "ofport": _first(row["ofport"]),
        "error": _first(row["error"]) or "",
        "admin_state": _first(row["admin_state"]) or "",
        "link_state": _first(row["link_state"]) or "",
        "mtu": _first(row["mtu"]),
        "policing_rate": row["ingress_policing_rate"],
        "policing_burst": row["ingress_policing_burst"],
        "keys": {key: keys[key] for key in _KEYS if key in keys},
        "peer": str(_map(row["options"]).get("peer", "")),
        "statistics": _map(row["statistics"]) if row["name"] in wanted else {},
    }


def _references(value: Any) -> list[str]:
    return [item[1] for item in ([value] if value[0] == "uuid" else value[1])]


def _all(value: Any) -> list[Any]:
    """A column's values, in OVSDB's JSON (RFC 7047, 5.1): a single one, or a set."""
    return list(value[1]) if isinstance(value, list) and value[:1] == ["set"] else [value]


def _first(value: Any) -> Any:
    return next(iter(_all(value)), None)


def _map(value: Any) -> dict[str, Any]:
    return dict(value[1])
