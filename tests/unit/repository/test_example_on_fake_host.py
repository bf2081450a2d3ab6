"""The example compute driver as its own author would test it: a fake host, and a few lines of Python for QEMU."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import vifplug
from vifplug import errors
from vifplug.testing import FakeHost

DRIVER = pathlib.Path(__file__).parents[3] / "examples" / "compute_driver.py"
INSTANCE = f"c0ffee00-1111-4222-8333-{os.getpid():012x}"
"""Of this process: the example holds a lock of the whole machine while a guest runs."""
QEMU = """
import json, sys
print(json.dumps(sys.argv[1:]), file=open({seen!r}, "w"))
for line in sys.stdin:
    if "info status" in line:
        print("VM status: paused", flush=True)
    if "cont" in line:
        sys.exit(7)
"""
PORTS = {
    "ports": [
        {
            "id": f"7{number}a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
            "mac_address": f"fa:16:3e:eb:5e:2{number}",
            "network_id": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24",
            "binding:vif_type": "ovs",
            "binding:vif_details": {"bridge_name": "br-int", "ovs_hybrid_plug": bool(number)},
        }
        for number in range(2)
    ]
}


@pytest.fixture
def driver() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compute_driver", DRIVER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    with FakeHost() as host:
        # Not the host itself: the driver opens and closes it several times.
        monkeypatch.setattr(vifplug, "connect", lambda: contextlib.nullcontext(host))
        yield host


@pytest.fixture
def options(tmp_path: pathlib.Path) -> argparse.Namespace:
    (tmp_path / "ports.json").write_text(json.dumps(PORTS))
    (tmp_path / "qemu.py").write_text(QEMU.format(seen=str(tmp_path / "seen")))
    return argparse.Namespace(
        ports=str(tmp_path / "ports.json"),
        instance_uuid=INSTANCE,
        state="wired",
        timeout=10.0,
        command=[sys.executable, str(tmp_path / "qemu.py")],
        seen=tmp_path / "seen",
    )


def vifs(driver: ModuleType, options: argparse.Namespace) -> list[vifplug.Vif]:
    found: list[vifplug.Vif] = driver.ports_of(options.ports, {"uuid": INSTANCE}, None)
    return found


def is_empty(host: FakeHost) -> bool:
    return host.list() == [] and host.check().clean


def test_guest_runs_with_its_vifs_and_they_go_with_it(driver: ModuleType, host: FakeHost, options: Any) -> None:
    with driver.running(vifs(driver, options), options) as guest:
        assert [each.state for each in host.list()] == ["wired", "wired"]
        assert [each.instance for each in host.list()] == [vifplug.InstanceReport(uuid=INSTANCE)] * 2
        assert guest.wait() == 7
        netdevs = " ".join(json.loads(options.seen.read_text()))
        assert "ifname=tap70a6b0e4-1a" in netdevs and "ifname=tap71a6b0e4-1a" in netdevs
    assert is_empty(host)


def test_guest_waits_for_its_network(driver: ModuleType, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options.timeout = 0.2
    with FakeHost(auto_wire=False) as host:
        monkeypatch.setattr(vifplug, "connect", lambda: contextlib.nullcontext(host))
        with pytest.raises(errors.NotReached), driver.running(vifs(driver, options), options):
            pytest.fail("it runs without its network")
        assert is_empty(host)


def test_plug_that_fails_starts_no_guest(driver: ModuleType, host: FakeHost, options: Any) -> None:
    host.fail_next(step=3)
    with pytest.raises(errors.LinkError), driver.running(vifs(driver, options), options):
        pytest.fail("it runs without its VIFs")
    assert is_empty(host) and not options.seen.exists()


def test_guest_that_does_not_start_leaves_no_vifs(driver: ModuleType, host: FakeHost, options: Any) -> None:
    options.command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(driver.BootError, match="exit status 3"), driver.running(vifs(driver, options), options):
        pytest.fail("it runs without a hypervisor")
    assert is_empty(host)


def test_unplug_is_tried_again_when_that_may_help(driver: ModuleType, host: FakeHost, options: Any) -> None:
    found = vifs(driver, options)
    host.plug(found)
    host.fail_next(errors.HelperDied("the helper ended"))
    driver.persistently(lambda: driver.unplug([vif.id for vif in found]))
    assert is_empty(host)
