"""The HTTP routes of the host itself: its description, and its problems."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from vifplug import version
from vifplug.daemon.http import middleware
from vifplug.daemon.http.answers import HostReport, Index, extended
from vifplug.daemon.http.openapi import route
from vifplug.daemon.http.protocol import Level
from vifplug.doctor import checks
from vifplug.model import printable
from vifplug.model.codec import Value

if TYPE_CHECKING:
    from vifplug.api.local import LocalHost

ROUTES = APIRouter(generate_unique_id_function=lambda route: route.name)


_HINT = "GET /openapi.json describes all requests; `vifplug web` shows a page for a browser."


@ROUTES.get("/", **route(Level.READ, "Index"))
async def get_index(request: Request) -> Response:
    """Show where the API begins."""
    paths = ("/v1/vifs", "/v1/events", "/v1/host", "/v1/doctor", "/metrics", middleware.HEALTH_PATH)
    about = {"name": request.app.title, "version": version.installed()}
    return _answer(Index(**about, openapi="/openapi.json", paths=paths, hint=_HINT))


@ROUTES.get("/v1/host", **route(Level.READ, "HostReport"))
async def get_host(request: Request) -> Response:
    """Show the daemon and its host: versions, what can be plugged, the state of the comparisons, and your permissions.

    While Open vSwitch is away, what only it knows is null or empty.
    """
    host: LocalHost = request.app.state.host
    lane: middleware.Lane = request.state.lane
    about = await lane.work(host.host_info)
    status = request.app.state.reconciler.status()
    ovs = replace(about.ovs, connected=bool(status.get("ovsdb_connected")))
    return _answer(extended(HostReport, about, ovs=ovs, pid=os.getpid(), level=request.state.level.word, keeper=status))


@ROUTES.get("/v1/doctor", **route(Level.READ, "DiagnosisReport"))
async def get_doctor(request: Request) -> Response:
    """Report problems of this host, their reasons and remedies.

    Nothing is changed. Checks that cannot be made are reported as unseen; without Open vSwitch or the helper it takes
    seconds.
    """
    host: LocalHost = request.app.state.host
    lane: middleware.Lane = request.state.lane
    diagnosis = await lane.work(host.doctor)
    return _answer(diagnosis.with_(*checks.restarts(request.app.state.endings, time.time())))


def _answer(value: Value) -> Response:
    return Response(printable.dumps(value.as_json()).encode("ascii"), media_type="application/json")
