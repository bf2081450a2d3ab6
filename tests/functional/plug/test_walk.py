"""The way of a plug through the code: how many functions and modules lie between the command and the kernel."""

from __future__ import annotations

import json
import sys

from tests.support.vifs import HYBRID
from tests.support.world.world import World

FRAMES_MAX, MODULES_MAX = 15, 9
_PROGRAM = """
import json, os, sys
from vifplug.cli import main
from vifplug.netlink import socket
from vifplug.privileged.helper import channel

caller, walks = os.getpid(), sys.argv[1]

def noted(function):
    def note(*arguments):
        frame, found = sys._getframe(1), [(function.__module__, function.__qualname__)]
        while frame:
            name = frame.f_globals.get("__name__", "")
            if name.startswith("vifplug."):
                found.append((name, frame.f_code.co_qualname))
            frame = frame.f_back
        with open(walks, "a") as file:
            print(json.dumps([os.getpid() == caller, found[::-1]]), file=file)
        return function(*arguments)
    return note

channel._ReadByCallers.ask = noted(channel._ReadByCallers.ask)
socket.LinkSocket.change = noted(socket.LinkSocket.change)
sys.exit(main.main(sys.argv[2:]))
"""


def test_walk_from_the_command_to_the_kernel_is_short(world: World) -> None:
    """Counted on both processes' stacks: up to the call of the privileged side, and in it up to the send."""
    port, walks = world.directory / "port.json", world.directory / "walks"
    port.write_text(json.dumps(HYBRID.document))
    command = ("plug", "--local", "--config-file", str(world.config_file), str(port))
    world.run(sys.executable, "-c", _PROGRAM, str(walks), *command)
    found = [json.loads(line) for line in walks.read_text().splitlines()]
    asked = [walk for is_caller, walk in found if is_caller and any(name.endswith(".apply") for _, name in walk)]
    sent = [walk for is_caller, walk in found if not is_caller]
    assert asked and sent
    walk = [*max(asked, key=len), *max(sent, key=len)]
    shown = "\n".join(f"{module}: {name}" for module, name in walk)
    assert len(walk) <= FRAMES_MAX, shown
    assert len({module for module, _name in walk}) <= MODULES_MAX, shown
