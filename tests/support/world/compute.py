"""The stand-in for a compute service (tests/osvif/compute.py) in a World, and the objects that it plugs."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.vifs import INSTANCE, Request, device
from tests.support.world.world import REPOSITORY, World

PYTHON = Path(os.environ.get("VIFPLUG_OSVIF_PYTHON", REPOSITORY / ".venv-osvif/bin/python"))
PROGRAM = REPOSITORY / "tests/osvif/compute.py"
SECONDS_TO_END = 20.0

VifObject = dict[str, Any]


class Compute:
    """A process that calls os-vif.

    :param path: put first on its sys.path.
    :param eventlet: whether it runs on eventlet, as Nova's compute service may.
    :param sections: of its nova.conf, over ``take_ovs = true`` and the ways to the world.
    """

    def __init__(
        self, world: World, *, path: Path | None = None, eventlet: bool = False, **sections: Mapping[str, object]
    ) -> None:
        if not PYTHON.exists():
            pytest.skip(f"no os-vif at {PYTHON}: tools/setup --os-vif installs it")
        self._world = world
        self._log = Path(tempfile.mkstemp(".log", "nova-", world.directory)[1])
        settings: dict[str, dict[str, object]] = {
            # Most tests need a failure's own reason, at once.
            "os_vif_vifplug": {"take_ovs": True, "config_file": world.config_file, "retry_timeout": 0},
            "os_vif_ovs": {"ovsdb_connection": f"unix:{world.socket}"},
            # For root, where os-vif's own default is sudo.
            "vif_plug_ovs_privileged": {"helper_command": PYTHON.parent / "privsep-helper"},
        }
        for name, section in sections.items():
            settings[name].update(section)
        parser = configparser.ConfigParser()
        parser.read_dict(settings)
        self._config = Path(tempfile.mkstemp(".conf", "nova-", world.directory)[1])
        with open(self._config, "w") as file:
            parser.write(file)
        self._arguments = [str(self._config), *(["eventlet"] if eventlet else [])]
        # stevedore's cache of entry points is deleted with the world.
        self._environment = {**world.environment, "XDG_CACHE_HOME": str(world.directory)}
        if path is not None:
            self._environment["PYTHONPATH"] = str(path)

    def __enter__(self) -> Self:
        with open(self._log, "ab") as log, self._world.namespace.entered():
            self._process = subprocess.Popen(
                [str(PYTHON), "-W", "ignore", str(PROGRAM), *self._arguments],
                env=self._environment,
                cwd=self._world.directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=SECONDS_TO_END)

    @property
    def pid(self) -> int:
        """The process's."""
        return self._process.pid

    def ask(self, call: str, **said: Any) -> dict[str, Any]:
        """One call's ``answer``, or its ``error`` and ``message``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": call, **said}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"it ended: {self.log()[-3000:]}"
        result: dict[str, Any] = json.loads(line)
        return result

    def plug(self, vif: VifObject) -> None:
        """os_vif.plug that succeeds."""
        result = self.ask("plug", vif=vif, instance={"uuid": INSTANCE, "name": "vm"})
        assert "error" not in result, result

    def unplug(self, vif: VifObject) -> None:
        """os_vif.unplug that succeeds."""
        result = self.ask("unplug", vif=vif, instance={"uuid": INSTANCE})
        assert "error" not in result, result

    def refused(self, vif: VifObject, call: str = "plug") -> tuple[str, str]:
        """The exception of a call that fails: its type and its text."""
        result = self.ask(call, vif=vif, instance={"uuid": INSTANCE})
        assert "error" in result, result
        return result["error"], result["message"]

    @contextlib.contextmanager
    def configured(self, group: str = "os_vif_vifplug", **options: Any) -> Iterator[None]:
        """Temporary options, other than those of its configuration file."""
        self.ask("configure", group=group, options=options)
        try:
            yield
        finally:
            self.ask("configure_no_more", group=group, options=options)

    def log(self) -> str:
        """Its whole standard error."""
        return self._log.read_text()


def network(request: Request, **fields: Any) -> dict[str, Any]:
    """An os-vif Network on br-int."""
    said = request.document["network"]
    return {"id": said["id"], "bridge": "br-int", "mtu": said["mtu"], **fields}


def hybrid(request: Request, **fields: Any) -> VifObject:
    """A VIFBridge as Nova makes it for a hybrid port."""
    profile = {"interface_id": request.id, "datapath_type": "netdev", "create_tap": False}
    return _vif("VIFBridge", request, bridge_name=request.qbr, port_profile=profile) | fields


def direct(request: Request, *, create_port: bool | None = True, create_tap: bool | None = None) -> VifObject:
    """A VIFOpenVSwitch as Nova makes it; None for what is left unset."""
    profile: dict[str, Any] = {"interface_id": request.id, "datapath_type": "netdev"}
    flags = {"create_port": create_port, "create_tap": create_tap}
    profile |= {key: value for key, value in flags.items() if value is not None}
    return _vif("VIFOpenVSwitch", request, bridge_name="br-int", port_profile=profile)


def linux_bridge(request: Request, **of_network: Any) -> VifObject:
    """A VIFBridge as Nova made it for a Linux bridge."""
    name = device("brq", request.document["network"]["id"])
    said = network(request, bridge=name, should_provide_bridge=True, **of_network)
    return _vif("VIFBridge", request, bridge_name=name, plugin="linux_bridge", network=said)


def generic(request: Request, mac_address: str | None = None, plugin: str = "ovs") -> VifObject:
    """A VIFGeneric; with the MAC that a network backend gives to the host's side."""
    vif = _vif("VIFGeneric", request, plugin=plugin)
    profile = {"class": "VIFPortProfileFPTap", "mac_address": mac_address}
    return vif | ({"port_profile": profile} if mac_address else {})


def on(request: Request, *, plugin: str = "ovs", **fields: Any) -> VifObject:
    """A VIFDirect, which Nova never makes."""
    return _vif("VIFDirect", request, plugin=plugin, **fields)


def _vif(class_: str, request: Request, **fields: Any) -> VifObject:
    return {
        "class": class_,
        "id": request.id,
        "address": request.address,
        "plugin": "ovs",
        "network": network(request),
        "vif_name": request.tap,
        **fields,
    }
