"""The doctor's questions to the privileged side: its own state, and Open vSwitch's. None of them changes anything."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.errors import TimedOut
from vifplug.privileged import arguments, nftables
from vifplug.privileged import vswitchd as control
from vifplug.privileged.helper.context import net
from vifplug.privileged.links import sysctl
from vifplug.privileged.ovsdb import bridges as ovsdb_bridges
from vifplug.privileged.ovsdb import remotes as ovsdb_remotes
from vifplug.privileged.ovsdb import verbs as ovsdb
from vifplug.privileged.ovsdb.session import Session
from vifplug.privileged.ovsdb.values import all_of, first

LOG = logging.getLogger(__name__)

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
_BEHIND_SECONDS = 2.0
_DEAD_PORTS_MAX = 1000
_VERSION = re.compile(r"(\d+\.\d+\.\d+)")
_OF_SYSTEM = ("", "system")
"""Interface types that use a device of the kernel."""
_NO_PORT = -1
_OF_MIRRORS = {
    "Mirror": (
        *("_uuid", "name", "select_all", "select_src_port", "select_dst_port"),
        *("output_port", "output_vlan"),
    ),
    "Bridge": ("name", "mirrors"),
}


@net.entrypoint
def helper() -> dict[str, Any]:
    """This process: its pid, uid and effective capabilities."""
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as lines:
        status = {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}
    return {"pid": os.getpid(), "uid": os.geteuid(), "capabilities": int(status["CapEff"], 16), **_sysctls()}


def _sysctls() -> dict[str, bool]:
    return {"sysctls_read_only": sysctl.read_only()}


@net.entrypoint
def reach() -> list[dict[str, Any]]:
    """For each OVSDB address, whether a server accepts a connection there, and whether it accepts writes."""
    return [_reached(remote) for remote in ovsdb.session().remotes]


def _reached(remote: str) -> dict[str, Any]:
    kind, _colon, place = remote.partition(":")
    reached: dict[str, Any] = {"remote": remote, "error": "", "denied": False, "uid": None, "unfit": ""}
    try:
        connection = ovsdb_remotes.connected(remote, _CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        reached["error"] = getattr(error, "strerror", None) or str(error)
        reached["denied"] = isinstance(error, PermissionError)
    else:
        with connection:
            reached["unfit"] = _unfit(connection)
    if reached["denied"] and kind == "unix":
        reached["uid"] = _owner(place)
    return reached


def _unfit(connection: socket.socket) -> str:
    """Why a server that accepts connections does not accept writes."""
    try:
        return ovsdb_remotes.unfit(connection, _CONNECT_SECONDS)
    except TimeoutError:
        return f"it accepts connections and does not answer within {_CONNECT_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return f"it accepts connections, but its answer is not OVSDB's: {error}"


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:  # its directory is not accessible either
        return None


@net.entrypoint
def vswitchd() -> dict[str, Any]:
    """Whether an ovs-vswitchd answers on its control socket, which is next to OVSDB's.

    :returns: ``answers``, None if OVSDB is not on a local Unix socket; its version; the error.
    """
    directories = {os.path.dirname(remote[5:]) for remote in ovsdb.session().remotes if remote.startswith("unix:")}
    if not directories:
        return {"answers": None, "version": None, "error": "OVSDB is reached by TCP"}
    error = f"no control socket of it in {' or '.join(sorted(directories))}"
    for path in control.controls(directories):
        answer, error = control.ask(path, ["version"], _ANSWER_SECONDS)
        if answer is not None:
            version = _VERSION.search(answer)
            return {"answers": True, "version": version.group(1) if version else None, "error": ""}
    return {"answers": False, "version": None, "error": error}


@net.entrypoint
def about() -> dict[str, Any]:
    """Open vSwitch's version, its types, and its bridges.

    :raises OvsUnavailable: OVSDB does not answer in time.
    """
    session = ovsdb.session()
    session.refresh()
    with session.lock:
        return {**_about(session.tables), "address": session.address}


@net.entrypoint
def switch() -> dict[str, Any]:
    """The same; ports that have lost their device; and whether vswitchd has carried out all transactions.

    :raises OvsUnavailable: OVSDB does not answer in time.
    """
    session = ovsdb.session()
    session.refresh()
    with session.lock:
        facts = {**_about(session.tables), **_ports(session.tables), **_obstacles(session.tables)}
        facts |= {"behind": "", "address": session.address, "fake_bridges": session.index.fake_bridges()}
        asked = max((row.next_cfg for row in session.tables["Open_vSwitch"].rows.values()), default=0)
        names = {uuid: first(row, "name") for uuid, row in session.tables["Port"].rows.items()}
    facts |= {"mirrors": _mirrors(session, {str(uuid): name for uuid, name in names.items()})}
    try:
        session.wait(asked, _BEHIND_SECONDS)
    except TimedOut as error:
        return {**facts, "behind": str(error)}
    return facts


def _mirrors(session: Session, names: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """The bridges' mirrors; None if they cannot be read. They are not replicated, because no other verb needs them.

    :param names: of ports, by their UUIDs.
    """
    try:
        with ovsdb_remotes.connected(session.address, _CONNECT_SECONDS) as connection:
            mirrors, bridges = ovsdb_remotes.selected(connection, _OF_MIRRORS, _ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        LOG.debug("mirrors were not read: %s", error)
        return None
    bridge_of = {uuid: row["name"] for row in bridges for uuid in _references(row["mirrors"])}
    return [_mirror(row, bridge_of[row["_uuid"][1]], names) for row in mirrors if row["_uuid"][1] in bridge_of]


def _mirror(row: Mapping[str, Any], bridge: str, names: Mapping[str, str]) -> dict[str, Any]:
    chosen = [*_references(row["select_src_port"]), *_references(row["select_dst_port"])]
    return {
        "name": row["name"],
        "bridge": bridge,
        "selects_all": row["select_all"],
        "selected": sorted({names[uuid] for uuid in chosen if uuid in names}),
        "output": "".join(names.get(uuid, "") for uuid in _references(row["output_port"])),
        "output_vlan": row["output_vlan"] if isinstance(row["output_vlan"], int) else None,
    }


def _references(value: Any) -> list[str]:
    """UUIDs of a column, in OVSDB's JSON (RFC 7047, 5.1): a single one, or a set."""
    kind, content = value
    return [content] if kind == "uuid" else [uuid for _kind, uuid in content]


def _about(tables: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"ovs_version": None, "db_version": None, "datapath_types": [], "iface_types": []}
    for row in tables["Open_vSwitch"].rows.values():  # a database that was set up has one
        facts = {
            "ovs_version": first(row, "ovs_version"),
            "db_version": first(row, "db_version"),
            "datapath_types": all_of(row, "datapath_types"),
            "iface_types": all_of(row, "iface_types"),
        }
    bridges = ovsdb_bridges.described(tables)
    return {**facts, "bridges": {name: bridge["datapath_type"] for name, bridge in bridges.items()}}


def _obstacles(tables: Any) -> dict[str, Any]:
    """Settings of other programs that may stop frames of ports, and that vifplug does not change."""
    bridges = tables["Bridge"].rows.values()
    rates = {
        first(row, "name"): rate
        for row in tables["Interface"].rows.values()
        if (rate := first(row, "ingress_policing_rate"))
    }
    spanning = [first(row, "name") for row in bridges if first(row, "stp_enable") or first(row, "rstp_enable")]
    return {"spanning_tree": sorted(spanning), "policed": rates}


def _ports(tables: Any) -> dict[str, Any]:
    """Ports without a device, and the names of those that only a hybrid VIF's veth has."""
    bridge_of = {port.uuid: bridge.name for bridge in tables["Bridge"].rows.values() for port in bridge.ports}
    dead: list[dict[str, Any]] = []
    names: list[str] = []
    for port in tables["Port"].rows.values():
        names += [port.name] if port.name.startswith((naming.ROLE_PORT_END, naming.ROLE_TAP)) else []
        for interface in port.interfaces:
            lost = list(interface.ofport) == [_NO_PORT] or interface.error
            if lost and interface.type in _OF_SYSTEM and port.uuid in bridge_of and len(dead) < _DEAD_PORTS_MAX:
                dead.append(
                    {
                        "name": interface.name,
                        "bridge": bridge_of[port.uuid],
                        "owner": port.external_ids.get(naming.OWNER_KEY, ""),
                        "iface_id": interface.external_ids.get("iface-id", ""),
                        "bond": port.name if len(port.interfaces) > 1 else "",
                        "error": first(interface, "error") or "",
                    }
                )
    return {"dead_ports": dead, "ports": names}


@net.entrypoint
def forwarding() -> dict[str, Any]:
    """The messages of all nftables chains, and for which families iptables-legacy has a filter table."""
    try:
        chains, error = nftables.dump(nftables.CHAINS), ""
    except OSError as met:
        chains, error = [], met.strerror or str(met)
    return {"chains": chains, "error": error, "legacy": nftables.legacy()}


@net.entrypoint
def firewall(kind: str, family: int, table: str, name: str) -> list[bytes] | None:
    """The messages of a chain's ``rules`` or of a set's ``elements``; None if it does not exist, or is too large.

    :raises TimedOut: the kernel does not answer.
    """
    if kind not in (nftables.RULES, nftables.ELEMENTS):
        raise arguments.refuse("to dump", kind)
    family = arguments.number("the family", family, 0, 255)
    try:
        return nftables.dump(kind, family, arguments.firewall_name(table), arguments.firewall_name(name))
    except TimeoutError as error:
        raise TimedOut("the kernel does not answer about the firewall") from error
    except OSError as error:
        LOG.debug("the %s of %r were not read: %s", kind, name, error)
        return None
