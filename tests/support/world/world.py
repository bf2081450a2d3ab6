"""A separate world for each test: a network namespace, an Open vSwitch in it, and a configuration for these.

Make state with one tool and check with another (``ip -j``, ``ovs-vsctl``), never with the code under test.
/sys/class/net shows the namespace in which /sys was mounted, not this one: use ``ip``.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.support.world import daemons, ovsdb_reader
from tests.support.world.forked import CLI, Command, Forker
from tests.support.world.namespaces import Namespace
from tests.support.world.started import Started

REPOSITORY = Path(__file__).resolve().parents[3]
DATAPATH_TYPE = os.environ.get("VIFPLUG_DATAPATH_TYPE", "netdev")
"""Of the worlds' bridges: ``system`` if the kernel has Open vSwitch's module, as a booted host has (tests/host)."""
OWN_LINKS = frozenset({"lo", "br-int", f"ovs-{DATAPATH_TYPE}"})
"""The content of a world before anything is plugged."""
COMMAND_SECONDS = 60.0 * daemons.PATIENCE
OVSDB_TIMEOUT_SECONDS = 5 * daemons.PATIENCE
END_SECONDS = 10 * daemons.PATIENCE
"""The time for a world's processes to end, when it is closed."""

# Values that the kernel changes by itself, counts, or remembers of a bridge's former ports; the others belong to the
# snapshot.
_VOLATILE_LINK_KEYS = {
    *("ifindex", "link_index", "operstate", "state", "promiscuity", "allmulti"),
    *("bridge_id", "root_id", "tso_max_size", "tso_max_segs"),
}
# A bridge numbers its ports in the order of arrival.
_ORDER_OF_JOINING = ("id", "no", "designated_port")
_MADE_OVS_BRIDGES = ("tbr-", "pb")
"""ovs-vswitchd chooses the MAC of a bridge's local port, another one each time that the bridge is created."""
_VOLATILE_FLAGS = {"LOWER_UP", "NO-CARRIER", "M-DOWN"}
_SNAPSHOT_COLUMNS = {
    "Bridge": ["name", "ports", "datapath_type", "external_ids", "other_config"],
    "Port": ["name", "interfaces", "tag", "vlan_mode", "trunks", "qos", "external_ids", "other_config"],
    "Interface": ["name", "type", "mtu_request", "ofport_request", "options", "external_ids", "other_config"],
    "QoS": ["type", "queues", "external_ids", "other_config"],
    "Queue": ["external_ids", "other_config"],
}

Completed = subprocess.CompletedProcess[str]
Row = dict[str, Any]


_ORIGIN = Namespace.current()
"""The network namespace of the test run: a world that is opened within another one's namespace is not outside of it."""


class World(Started):
    """A namespace that the calling thread is in until ``close``, with its own ovsdb-server and ovs-vswitchd.

    KEEP_WORLD=1 keeps the directory (database, logs, vifplug's state) of every world.
    """

    _forkers: ClassVar[dict[str, Forker]] = {}

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vifplug-world-"))
        self.socket = self.directory / "db.sock"
        self.state_dir = self.directory / "state"
        self.config_file = self.directory / "vifplug.conf"
        self._outside = Namespace.current()
        self.namespace = Namespace.new()
        self.namespace.enter()
        self.ovsdb = daemons.ovsdb_server(self.directory, self.socket)
        self.vswitchd = daemons.vswitchd(self.directory, self.socket)
        self.environment = {**os.environ, "OVS_RUNDIR": str(self.directory)}
        self.write_config()

    def start(self) -> Self:
        """Start the daemons and bring ``lo`` up."""
        self.ip("link", "set", "lo", "up")
        self.ovsdb.start()
        self.start_vswitchd()
        return self

    def close(self) -> None:
        """Leave it, and end its processes; AssertionError if a process is left that the test did not end."""
        self.vswitchd.stop()
        self.ovsdb.stop()
        self._outside.enter()
        left: dict[int, str] = {}
        try:
            daemons.wait_until(lambda: not self.namespace.processes(), "the end of the world's processes", END_SECONDS)
        except AssertionError:
            left = self.namespace.processes()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        self.namespace.close()
        self._outside.close()
        if os.environ.get("KEEP_WORLD") != "1":
            shutil.rmtree(self.directory)
        assert not left, f"processes left in the world: {left}"

    def write_config(self, **sections: dict[str, str]) -> Path:
        """Rewrite vifplug's configuration, ``sections`` (e.g. ``ovs={"isolate": "true"}``) over the world's own."""
        settings: dict[str, dict[str, str]] = {
            "DEFAULT": {"state_dir": str(self.state_dir), "run_dir": str(self.directory / "run")},
            "ovs": {"connection": f"unix:{self.socket}", "timeout": str(OVSDB_TIMEOUT_SECONDS)},
            # Never the machine's own daemon, if it has one.
            "daemon": {"socket": str(self.directory / "vifplug.sock")},
        }
        for name, section in sections.items():
            settings.setdefault(name, {}).update(section)
        lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in s.items()) for name, s in settings.items()]
        self.config_file.write_text("\n".join(lines))
        return self.config_file

    def run(
        self, *argv: str, input: str | None = None, check: bool = True, timeout: float = COMMAND_SECONDS
    ) -> Completed:
        """Run a program here; with ``check``, a status other than 0 is an AssertionError with its output."""
        with self.namespace.entered():
            result = subprocess.run(
                argv, input=input, capture_output=True, text=True, timeout=timeout, cwd=REPOSITORY, env=self.environment
            )
        assert not check or result.returncode == 0, f"{argv} exited {result.returncode}: {result.stderr}{result.stdout}"
        return result

    def ip(self, *args: str) -> list[Row]:
        """``ip -d -j``, parsed."""
        output = self.run("ip", "-d", "-j", *args).stdout
        # iproute2 prints {} for what a filter (master, type) left out.
        return [row for row in json.loads(output) if row] if output.strip() else []

    def link(self, name: str) -> Row | None:
        """One link, or None if it does not exist."""
        return next((link for link in self.ip("link", "show") if link["ifname"] == name), None)

    def vsctl(self, *args: str) -> str:
        """``ovs-vsctl``: without ``--no-wait`` it waits until vswitchd has caught up."""
        timeout = f"--timeout={int(daemons.DEADLINE_SECONDS)}"
        return self.run("ovs-vsctl", "--no-syslog", timeout, f"--db=unix:{self.socket}", *args).stdout.strip()

    def appctl(self, *args: str) -> str:
        """``ovs-appctl`` to vswitchd, e.g. ``appctl("fdb/show", "br-int")``."""
        return self.run("ovs-appctl", "-t", str(self.vswitchd.control), *args).stdout

    def rows(self, table: str, *columns: str) -> list[Row]:
        """Rows of an OVSDB table as plain values (uuid as str, set as list, map as dict); works without vswitchd."""
        return ovsdb_reader.select(self.socket, [(table, columns)])[0]

    def row(self, table: str, name: str) -> Row | None:
        """The row of that name with all its columns, or None."""
        return next((row for row in self.rows(table) if row["name"] == name), None)

    def add_bridge(self, name: str) -> None:
        """Make an OVS bridge of ``DATAPATH_TYPE``."""
        self.vsctl("add-br", name, "--", "set", "Bridge", name, f"datapath_type={DATAPATH_TYPE}")

    def start_vswitchd(self) -> None:
        """Start it and wait until it has read its configuration."""
        # vswitchd fills this column at the end of its first pass over the database; there is no other sign of it.
        # A new database's first command also makes the row.
        self.vsctl("--no-wait", "clear", "Open_vSwitch", ".", "iface_types")
        self.vswitchd.start()
        self.vsctl("--no-wait", "wait-until", "Open_vSwitch", ".", "iface_types!=[]")

    def stop_vswitchd(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; SIGKILL for a crash."""
        self.vswitchd.stop(number)

    def imitate_kernel_datapath(self) -> None:
        """Restart vswitchd with a stand-in for the kernel's datapath: ports get numbers, but no frame passes.

        Few machines that run tests have the kernel's module; but what vifplug writes for it is visible. Nothing is done
        if worlds use the kernel's datapath itself.
        """
        if DATAPATH_TYPE == "system":
            return
        self.stop_vswitchd()
        self.vswitchd = daemons.vswitchd(self.directory, self.socket, "--enable-dummy=system")
        self.start_vswitchd()

    def pause_vswitchd(self) -> None:
        """Freeze it; ``resume_vswitchd`` lets it continue."""
        self.vswitchd.pause()

    def resume_vswitchd(self) -> None:
        """Let it continue."""
        self.vswitchd.resume()

    def vifplug(
        self, *args: str, input: str | None = None, check: bool = True, namespace: Namespace | None = None
    ) -> Completed:
        """Run the command line as a user would; with ``check``, an exit status other than 0 is an AssertionError.

        :param namespace: the network namespace, if it is not this world's.
        """
        result = self.forker(CLI).run(
            self.vifplug_argv(*args)[3:],
            namespace=namespace or self.namespace,
            environment=self.environment,
            input=input or "",
            timeout=COMMAND_SECONDS,
        )
        output = f"{result.stderr}{result.stdout}"
        assert not check or result.returncode == 0, f"vifplug {args} exited {result.returncode}: {output}"
        return result

    def forker(self, program: str) -> Forker:
        """The test run's own process for a program, started outside of every world."""
        if program not in World._forkers:
            with _ORIGIN.entered():
                World._forkers[program] = Forker(program)
        return World._forkers[program]

    def begin_vifplug(self, *args: str) -> Command:
        """Start the command line; the test communicates with it and waits for it."""
        return self.forker(CLI).begin(
            self.vifplug_argv(*args)[3:], namespace=self.namespace, environment=self.environment
        )

    def vifplug_argv(self, *args: str) -> list[str]:
        """The whole command, for a test that starts (and kills) it itself, with ``env=world.environment``."""
        return [sys.executable, "-m", "vifplug.cli.main", "--config-file", str(self.config_file), *args]

    def vifplug_json(self, *args: str, input: str | None = None, check: bool = True) -> Any:
        """The output of the command line with ``-o json``."""
        result = self.vifplug("-o", "json", *args, input=input, check=check)
        return json.loads(result.stdout or result.stderr)

    def snapshot(self) -> dict[str, Row]:
        """Links and OVSDB rows by kind and name, the same before a plug and after its unplug; needs no vswitchd."""
        taken = {f"link {link['ifname']}": _steady(link) for link in self.ip("link", "show")}
        wanted = [(table, ["_uuid", *columns]) for table, columns in _SNAPSHOT_COLUMNS.items()]
        tables = dict(zip(_SNAPSHOT_COLUMNS, ovsdb_reader.select(self.socket, wanted), strict=True))
        names = {row["_uuid"]: str(row.get("name", row.get("type", ""))) for rows in tables.values() for row in rows}
        for table, rows in tables.items():
            for named in (_named(row, names) for row in rows):
                # A QoS row has no name: its content identifies it.
                taken[f"{table} {named.get('name', json.dumps(named, sort_keys=True))}"] = named
        return taken


def _named(row: Row, names: dict[str, str]) -> Row:
    """The row with names instead of uuids, which do not identify a row."""

    def name(value: Any) -> Any:
        return (
            sorted(map(name, value))
            if isinstance(value, list)
            else names.get(value, value)
            if isinstance(value, str)
            else value
        )

    return {column: name(value) for column, value in row.items() if column != "_uuid"}


def _steady(link: Row) -> Row:
    """The link without values that change by themselves."""
    steady = copy.deepcopy(link)
    if steady["ifname"].startswith(_MADE_OVS_BRIDGES):
        del steady["address"]
    steady["flags"] = sorted(set(steady["flags"]) - _VOLATILE_FLAGS)
    details = steady.get("linkinfo", {})
    for part in (steady, details.get("info_data", {}), details.get("info_slave_data", {})):
        for key in [key for key in part if key in _VOLATILE_LINK_KEYS or key.endswith("_timer")]:
            del part[key]
    for key in _ORDER_OF_JOINING:
        details.get("info_slave_data", {}).pop(key, None)
    return steady
