"""A wrong configuration: daemon and command line say which option it is, end with 2, and have touched nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world.world import World

Sections = Mapping[str, dict[str, str]]
WRONG: Mapping[str, Sections] = {
    "capabilities: 'CAP_FOO' is not a Linux capability": {"vifplug_privileged": {"capabilities": "CAP_FOO"}},
    "[vifplug_privileged] user 'no-such-user' does not exist": {"vifplug_privileged": {"user": "no-such-user"}},
    "[vifplug_privileged] group 'no-such-group' does not exist": {"vifplug_privileged": {"group": "no-such-group"}},
    "connection 'ssl:127.0.0.1:6640' cannot be used": {"ovs": {"connection": "ssl:127.0.0.1:6640"}},
    "connection 'unix' is neither unix:PATH": {"ovs": {"connection": "unix"}},
    "[DEFAULT] state_dir '' is not an absolute path": {"DEFAULT": {"state_dir": ""}},
    "[DEFAULT] state_dir 'state' is not an absolute path": {"DEFAULT": {"state_dir": "state"}},
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        world.add_bridge("br-int")
        yield world


@pytest.mark.parametrize("said", WRONG)
def test_daemon_ends_with_2_before_it_has_made_anything(world: World, said: str) -> None:
    state_dir = world.directory / "not-made"
    daemon = Vifplugd(world, {"DEFAULT": {"state_dir": str(state_dir)}, **WRONG[said]})
    result = world.run(*daemon.command, "--config-file", str(world.config_file), check=False)
    assert result.returncode == 2, result
    assert said in result.stderr
    assert "Traceback" not in result.stderr and "restarting" not in result.stderr
    assert not state_dir.exists()
    assert not daemon.socket.exists()


@pytest.mark.parametrize("said", WRONG)
def test_command_names_the_option_and_leaves_the_host_alone(world: World, said: str) -> None:
    state_dir = world.directory / "not-made-either"
    world.write_config(**{"DEFAULT": {"state_dir": str(state_dir)}, **WRONG[said]})
    before = world.snapshot()
    error = world.vifplug_json("--local", "plug", "-", input=json.dumps(HYBRID.document), check=False)["error"]
    assert (error["type"], error["retryable"]) == ("ConfigError", False)
    assert said in error["message"]
    assert world.vifplug("--local", "list", check=False).returncode == 2
    assert not state_dir.exists()
    assert world.snapshot() == before


@pytest.mark.parametrize("where", [("--local",), ()])
def test_command_warns_once_of_options_that_nothing_reads(world: World, where: tuple[str, ...]) -> None:
    world.write_config(ovs={"integration_brigde": "br-x"}, demon={"user": "x"})
    words = "[ovs] integration_brigde is an unknown option and is ignored; did you mean [ovs] integration_bridge?"
    listed = world.vifplug(*where, "list")
    (warning,) = listed.stderr.splitlines()
    assert warning.startswith(f"vifplug: warning: configuration file {world.config_file}: {words}"), warning
    assert warning.endswith("(and 1 more: vifplug doctor names them)")
    assert listed.stdout == "no VIFs\n"
    quiet = world.vifplug(*where, "-o", "json", "list")
    assert json.loads(quiet.stdout) == {"vifs": []}
    assert quiet.stderr.count("warning") == 1
    failed = world.vifplug(*where, "-o", "json", "show", HYBRID.id, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert json.loads(failed.stderr)["error"]["type"] == "UnknownVif"
    world.write_config()
    assert world.vifplug(*where, "list").stderr == ""
