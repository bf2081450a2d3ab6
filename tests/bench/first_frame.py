"""The time until a guest's first frame passes: what a guest feels of a plug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.bench.contestants import Contestant, Failed
from tests.bench.prober import SINK_ADDRESS
from tests.support.vifs import Request
from tests.support.world.world import REPOSITORY, World

_SINK = "probe0"
_END_SECONDS = 30.0


class Prober:
    """A process in a world that sends frames into a VIF, and a port of the world's bridge that they come out of.

    ``with Prober(world) as prober``.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> Self:
        argv = [sys.executable, "-m", "tests.bench.prober", _SINK]
        with self.world.namespace.entered():
            self._process = subprocess.Popen(
                argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
            )
        self._read()
        self.world.run("ip", "link", "set", _SINK, "addrgenmode", "none", "up")
        self.world.vsctl("add-port", "br-int", _SINK)
        # Static: it does not age, and no frame has to teach it by a flood.
        self.world.appctl("fdb/add", "br-int", _SINK, "0", SINK_ADDRESS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=_END_SECONDS)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the prober ended")
        return json.loads(line)

    def plugged(self, contestant: Contestant, request: Request) -> tuple[float, float]:
        """Plug a VIF while frames are sent into it.

        :returns: the seconds until the call returned, and until the first frame came out.
        :raises Failed: none came.
        """
        assert self._process.stdin is not None
        device = request.tap if request.type == "ovs" else request.qvb
        asked = {"kind": request.type, "device": device, "address": request.address}
        contestant.prepare([request])
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        assert self._read() == "armed"
        began, seconds = contestant.began_and_took("plug", request)
        first = self._read()
        if first is None:
            raise Failed(f"no frame of {request.type} VIF {request.id} came out")
        return seconds, first - began
