"""``via = local`` in a process of a user who is not root, as nova-compute's is: it works, or says what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.functional.privileged.test_helper_command import NOBODY, unprivileged
from tests.support.vifs import HYBRID, INSTANCE
from tests.support.world.compute import PROGRAM, PYTHON, VifObject
from tests.support.world.world import REPOSITORY, World

__all__ = ["unprivileged"]
OTHER = 4200
VIF: VifObject = {
    "class": "VIFBridge",
    "id": HYBRID.id,
    "address": HYBRID.address,
    "vif_name": HYBRID.tap,
    "bridge_name": HYBRID.qbr,
    "plugin": "vifplug",
    "network": {"id": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24", "bridge": "br-int", "mtu": 1450},
    "port_profile": {"interface_id": HYBRID.id},
}


@pytest.fixture
def nova(world: World, unprivileged: list[str]) -> list[str]:
    """The stand-in for nova-compute as user nobody; its helper is started as sudo would."""
    (site,) = PYTHON.parent.parent.glob("lib/python*/site-packages")
    config = world.directory / "nova.conf"
    config.write_text(
        f"[os_vif_vifplug]\nvia = local\nconfig_file = {world.config_file}\nretry_timeout = 0\n"
        f"[os_vif_ovs]\novsdb_connection = unix:{world.socket}\n"
    )
    config.chmod(0o644)
    interpreter = unprivileged[unprivileged.index("-m") - 1]
    environment = [f"PYTHONPATH={REPOSITORY}{os.pathsep}{site}", "PYTHONDONTWRITEBYTECODE=1", "HOME=/nonexistent"]
    words = [*unprivileged[: unprivileged.index("env")], "env", *environment]
    return [*words, interpreter, "-W", "ignore", str(PROGRAM), str(config)]


def call(world: World, nova: list[str], verb: str) -> Any:
    """What a call answers."""
    asked = {"call": verb, "vif": VIF, "instance": {"uuid": INSTANCE, "name": "vm"}}
    return json.loads(world.run(*nova, input=json.dumps(asked) + "\n").stdout.splitlines()[-1])


def test_user_with_a_state_dir_of_its_own_plugs(world: World, nova: list[str]) -> None:
    before = world.snapshot()
    assert "error" not in call(world, nova, "plug")
    assert world.row("Interface", HYBRID.qvo) is not None
    assert {Path(entry).stat().st_uid for entry in world.state_dir.iterdir()} == {NOBODY}
    assert "error" not in call(world, nova, "unplug")
    assert world.snapshot() == before


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_state_dir_of_the_daemons_user_is_refused_with_what_to_do(world: World, nova: list[str], mode: int) -> None:
    os.chown(world.state_dir, OTHER, OTHER)
    world.state_dir.chmod(mode)
    before = world.snapshot()
    answer = call(world, nova, "plug")
    assert "[os_vif_vifplug] via = daemon" in answer["message"], answer
    assert f"uid {OTHER}" in answer["message"] and "config_file" in answer["message"]
    assert "--local" not in answer["message"] and "\n" not in answer["message"]
    assert world.snapshot() == before
    assert list(world.state_dir.iterdir()) == []


def test_helper_that_cannot_be_started_is_refused_with_what_to_do(world: World, nova: list[str]) -> None:
    world.write_config(vifplug_privileged={"helper_command": "/bin/false"})
    world.config_file.chmod(0o644)
    answer = call(world, nova, "plug")
    assert "helper_command" in answer["message"] and "[os_vif_vifplug] via = daemon" in answer["message"], answer
