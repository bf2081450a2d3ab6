"""The HTTP face of guests: what a hypervisor needs of a VIF."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from vifplug.daemon.http import middleware, requests
from vifplug.daemon.http.openapi import route
from vifplug.daemon.http.protocol import Level
from vifplug.daemon.http.requests import GuestFormat, GuestQuery, VifId

if TYPE_CHECKING:
    from vifplug.api.local import LocalHost

ROUTES = APIRouter(generate_unique_id_function=lambda route: route.name)


@ROUTES.get(
    "/v1/vifs/{id}/guest/{format}", **route(Level.READ, "GuestReport", 404, 409, 503, 504) | {"dependencies": []}
)
async def get_guest(
    request: Request, id: VifId, format: GuestFormat, query: Annotated[GuestQuery, Query()]
) -> Response:
    """Show what a hypervisor needs of a VIF: libvirt's element or QEMU's arguments.

    Nothing of the guest is looked at; of the host, the datapath of the OVS bridge where the guest's tap is its port.
    """
    host: LocalHost = request.app.state.host
    lane: middleware.Lane = request.state.lane
    vif_id = requests.vif_id(id)
    look = functools.partial(host.guest, vif_id, format, model=query.model, queues=query.queues)
    return JSONResponse((await lane.work(look)).as_json())
