"""OVN as the control plane of a world: a separate central, and ovn-controller on the world's Open vSwitch.

All of it is in the world's directory and namespace, with its own sockets; it does not use the machine's OVN.

What OVN 23.03 does to Interface.external_ids: it sets ``ovn-installed="true"`` and ``ovn-installed-ts`` some 30 ms
after a port appears, and removes the first, not the second, when the logical port is deleted. Both stay when the
controller ends, however it ends; after an orderly end it removes the first at its start, and sets it again. If a
logical port was deleted while there was no controller, it is never removed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

from tests.support.world import daemons
from tests.support.world.started import Started
from tests.support.world.world import World

SCHEMAS = Path("/usr/share/ovn")
SWITCH = "network"
_DATABASES = ("ovn-nb", "ovn-sb")
_CHASSIS = "world"


class _Controller(daemons.Daemon):
    """ovn-controller, which has no --unixctl and puts its pid into its control socket's name."""

    def __init__(self, world: World) -> None:
        argv = ["env", f"OVN_RUNDIR={world.directory}", "ovn-controller", f"unix:{world.socket}"]
        super().__init__("ovn-controller", argv, world.directory)
        self._argv = [word for word in self._argv if not word.startswith("--unixctl=")]
        self._directory = world.directory

    def start(self) -> None:
        """Start it and wait for its control socket."""
        assert self._process is None, f"{self.name} runs already"
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, env=self._environment)
        self.control = self._directory / f"{self.name}.{self._process.pid}.ctl"
        daemons.wait_until(self.control.exists, f"the start of {self.name}")


class Chassis:
    """A world's br-int as a host of an OVN, with the changes that OVN makes to its integration bridge."""

    def __init__(self, world: World, name: str, remote: str, encap_ip: str = "127.0.0.1") -> None:
        self.world, self.name = world, name
        self._ids = {
            **{"system-id": name, "hostname": name, "ovn-remote": remote},
            **{"ovn-encap-type": "geneve", "ovn-encap-ip": encap_ip, "ovn-bridge-datapath-type": "netdev"},
        }
        self.controller: daemons.Daemon = _Controller(world)

    def start(self) -> None:
        """Configure Open vSwitch for it, and start ovn-controller."""
        settings = [f'external_ids:{key}="{value}"' for key, value in self._ids.items()]
        secure = ("set", "Bridge", "br-int", "fail_mode=secure")
        self.world.vsctl(*secure, "--", "set", "Open_vSwitch", ".", *settings)
        with self.world.namespace.entered():
            self.controller.start()

    def stop(self) -> None:
        """End ovn-controller in an orderly way: it releases what it had claimed."""
        self.controller.stop()


class Ovn(Started):
    """One logical switch, and br-int of the world as its host; a context manager that ends its daemons."""

    def __init__(self, world: World, encap_ip: str = "127.0.0.1") -> None:
        self.world = world
        self.remote = f"unix:{world.directory / 'ovn.sock'}"
        files = [world.directory / f"{name}.db" for name in _DATABASES]
        for name, file in zip(_DATABASES, files, strict=True):
            subprocess.run(["ovsdb-tool", "create", str(file), str(SCHEMAS / f"{name}.ovsschema")], check=True)
        remotes = [f"--ovnnb-db={self.remote}", f"--ovnsb-db={self.remote}"]
        self.databases = self._daemon("ovn-ovsdb", "ovsdb-server", *map(str, files), f"--remote=p{self.remote}")
        self.northd = self._daemon("ovn-northd", "ovn-northd", *remotes)
        self.chassis = Chassis(world, _CHASSIS, self.remote, encap_ip)
        self.controller = self.chassis.controller

    def _daemon(self, name: str, *argv: str) -> daemons.Daemon:
        directory = self.world.directory
        return daemons.Daemon(name, ["env", f"OVN_RUNDIR={directory}", *argv], directory)

    def start(self) -> Self:
        """Start central and controller; the bridge becomes OVN's integration bridge."""
        with self.world.namespace.entered():
            self.databases.start()
            self.nbctl("init", "--", "ls-add", SWITCH)
            self.sbctl("init")
            self.northd.start()
            self.chassis.start()
        return self

    def close(self) -> None:
        """End everything, the controller first."""
        for daemon in (self.controller, self.northd, self.databases):
            daemon.stop()

    def add_port(self, vif_id: str, mac: str, ip: str) -> None:
        """A logical port, as Neutron makes one for its own."""
        self.nbctl("lsp-add", SWITCH, vif_id, "--", "lsp-set-addresses", vif_id, f"{mac} {ip}")

    def delete_port(self, vif_id: str) -> None:
        """Delete a logical port, as Neutron does with its own; a missing one is not an error."""
        self.nbctl("--if-exists", "lsp-del", vif_id)

    def nbctl(self, *args: str) -> str:
        """``ovn-nbctl`` to the northbound database."""
        return self._run("ovn-nbctl", *args)

    def sbctl(self, *args: str) -> str:
        """``ovn-sbctl`` to the southbound database."""
        return self._run("ovn-sbctl", *args)

    def claimant(self, vif_id: str) -> str | None:
        """The name of the chassis that has a logical port, and has it up; None if there is none."""
        columns = ("--columns=chassis", "find", "Port_Binding", f"logical_port={vif_id}", "up=true")
        chassis = self.sbctl("--bare", *columns)
        return self.sbctl("--if-exists", "get", "Chassis", chassis, "name").strip('"') if chassis else None

    def _run(self, program: str, *args: str) -> str:
        timeout = f"--timeout={int(daemons.DEADLINE_SECONDS)}"
        return self.world.run(program, timeout, f"--db={self.remote}", *args).stdout.strip()
