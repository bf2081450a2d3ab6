"""The HTTP face of the host itself: what it is, and what is wrong with it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from vifplug.daemon.http import middleware
from vifplug.daemon.http.openapi import route
from vifplug.daemon.http.protocol import Level
from vifplug.doctor import checks
from vifplug.model import printable

if TYPE_CHECKING:
    from vifplug.api.local import LocalHost

ROUTES = APIRouter(generate_unique_id_function=lambda route: route.name)


@ROUTES.get("/v1/host", **route(Level.READ, "HostReport"))
async def get_host(request: Request) -> Response:
    """Show the daemon and its host: versions, what can be plugged, how it stands, and what you may do.

    What only Open vSwitch knows is null, or empty, while it is away.
    """
    host: LocalHost = request.app.state.host
    lane: middleware.Lane = request.state.lane
    about = await lane.work(host.host_info)
    status = request.app.state.keeper.status()
    document: dict[str, Any] = {**about.as_json(), "pid": os.getpid(), "level": request.state.level.word}
    del document["daemon"]
    ovs = {**about.ovs, "connected": bool(status.get("ovsdb_connected"))}
    return _answer({**document, "ovs": ovs, "keeper": status})


@ROUTES.get("/v1/doctor", **route(Level.READ, "DiagnosisReport"))
async def get_doctor(request: Request) -> Response:
    """Say what is wrong with this host, why, and what to do.

    Nothing is changed. What cannot be seen is reported as unseen; without Open vSwitch or the helper it takes seconds.
    """
    host: LocalHost = request.app.state.host
    lane: middleware.Lane = request.state.lane
    diagnosis = await lane.work(host.doctor)
    return _answer(diagnosis.with_(*checks.restarts(request.app.state.endings, time.time())).as_json())


def _answer(document: dict[str, Any]) -> Response:
    return Response(printable.dumps(document).encode("ascii"), media_type="application/json")
