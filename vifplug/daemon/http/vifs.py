"""The HTTP routes of VIFs: one function per method and path. They only check permissions; the library does the work."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from vifplug import version
from vifplug.daemon import logs
from vifplug.daemon.http import events as event_routes
from vifplug.daemon.http import host as host_routes
from vifplug.daemon.http import middleware, openapi, problems, requests
from vifplug.daemon.http.answers import Checked, Collected, Repaired, Vifs, extended
from vifplug.daemon.http.delivery import pages
from vifplug.daemon.http.delivery.delivery import Delivery
from vifplug.daemon.http.event_stream import Hub
from vifplug.daemon.http.openapi import route
from vifplug.daemon.http.protocol import Access, Level
from vifplug.daemon.http.requests import (
    BatchRequest,
    ChosenRequest,
    GcRequest,
    GuestFormat,
    GuestQuery,
    ListQuery,
    PlugQuery,
    RepairRequest,
    TraceRequest,
    VifId,
)
from vifplug.daemon.metrics import OPENMETRICS, Metrics
from vifplug.engine.requester import Requester
from vifplug.errors import InputError, VifplugError
from vifplug.model import printable
from vifplug.model.codec import Value
from vifplug.model.reports import PlanReport, VifReport

if TYPE_CHECKING:
    from vifplug.api.local import LocalHost

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ROUTES = APIRouter(generate_unique_id_function=lambda route: route.name)
_Body = Annotated[bytes, Depends(requests.read)]
_CHANGING = (409, 503, 504)
_LOOKING = (503, 504)


class Reconciling(Protocol):
    """The part of the reconciler that the API needs."""

    def status(self) -> dict[str, Any]:
        """Its state; answered at once, from what it already knows."""


def create_app(host: LocalHost, access: Access, reconciler: Reconciling, hub: Hub, metrics: Metrics) -> FastAPI:
    """The daemon's application."""
    app = FastAPI(
        title="vifplug",
        version=version.installed(),
        description=openapi.ABOUT,
        docs_url=None,  # these pages fetch their scripts from the internet
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.host, app.state.reconciler, app.state.hub, app.state.metrics = host, reconciler, hub, metrics
    app.state.endings = ()
    app.state.operator_bridges = access.operator_bridges
    modules = (event_routes, host_routes)
    app.state.routes = [*_ROUTES.routes, *(route for module in modules for route in module.ROUTES.routes)]
    app.router.routes += app.state.routes  # directly: include_router would process each of them again
    app.add_exception_handler(VifplugError, problems.of_vifplug)
    app.add_exception_handler(HTTPException, problems.of_http)
    app.add_exception_handler(RequestValidationError, problems.of_validation)
    app.add_middleware(Delivery)
    app.add_middleware(middleware.Gate, access=access, metrics=metrics)
    openapi.complete(app)
    return app


def _working(endpoint: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    """Let an endpoint block: it runs in a thread of its user's."""

    @functools.wraps(endpoint)
    async def work(request: Request, **arguments: Any) -> Response:
        lane: middleware.Lane = request.state.lane
        return await lane.work(functools.partial(endpoint, request, **arguments))

    return work


def _host(request: Request) -> LocalHost:
    host: LocalHost = request.app.state.host
    return host


def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


def _requester(request: Request) -> Requester:
    return Requester(
        uid=request.state.peer.uid,
        every_vif=request.state.level is Level.ADMIN,
        bridges=request.app.state.operator_bridges,
    )


def _answer(value: Value) -> Response:
    # ASCII only: a name on the host may have bytes that are invalid in any encoding.
    return Response(printable.dumps(value.as_json()).encode("ascii"), media_type="application/json")


def _warnings(host: LocalHost, reports: Iterable[VifReport] = ()) -> tuple[str, ...]:
    warnings = [*host.warnings, *(warning for vif in reports for warning in vif.warnings)]
    return tuple(dict.fromkeys(warnings))


def _vifs(reports: Sequence[VifReport], host: LocalHost) -> Response:
    return _answer(Vifs(vifs=reports, warnings=_warnings(host, reports)))


@_ROUTES.put("/v1/vifs/{id}", **route(Level.OPERATE, "PutAnswer", *_CHANGING, body="PlugBody"))
@_working
def put_vif(request: Request, id: VifId, query: Annotated[PlugQuery, Query()], body: _Body) -> Response:
    """Plug one VIF.

    The body is a document in any supported format that contains exactly this VIF. It is plugged and verified, or rolled
    back completely. A VIF that already matches is not written to; one that drifted is repaired in place.
    """
    vif_id = requests.vif_id(id)
    middleware.require(request, Level.READ if query.dry_run else Level.OPERATE, "plugging a VIF")
    vifs = query.vifs(requests.document(body))
    if [vif.id for vif in vifs] != [vif_id]:
        held = f"VIF {vifs[0].id}" if len(vifs) == 1 else f"{len(vifs)} VIFs"
        raise InputError(f"the body holds {held}, and the path names {vif_id}; give that one VIF", vif_id)
    if query.dry_run:
        return _answer(_host(request).plan(vifs))
    with _metrics(request).timed(_metrics(request).plug_seconds):
        (report,) = _host(request).plug(vifs, requester=_requester(request))
    return _answer(report)


@_ROUTES.get("/v1/vifs/{id}", **route(Level.READ, "VifReport", 404, *_LOOKING))
@_working
def get_vif(request: Request, id: VifId) -> Response:
    """Show one VIF, its devices and its ports.

    While Open vSwitch is away, it is shown as recorded.
    """
    return _answer(_host(request).get(requests.vif_id(id)))


@_ROUTES.delete("/v1/vifs/{id}", **route(Level.OPERATE, "VifReport", *_CHANGING))
@_working
def delete_vif(request: Request, id: VifId) -> Response:
    """Unplug one VIF.

    An absent VIF counts as success, and is also reported as unplugged.
    """
    vif_id = requests.vif_id(id)
    middleware.require(request, Level.OPERATE, "unplugging a VIF")
    with _metrics(request).timed(_metrics(request).unplug_seconds):
        (report,) = _host(request).unplug([vif_id], requester=_requester(request))
    return _answer(report)


@_ROUTES.get("/v1/vifs", **route(Level.READ, "Vifs", *_LOOKING) | {"dependencies": []})
@_working
def list_vifs(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
    """List the VIFs that are plugged.

    While Open vSwitch is away, they are listed as recorded. With `limit` or `after` they are in the order of their ids;
    a page that is not the last one has the header Link with the next page's address.
    """
    host = _host(request)
    reports = host.list() if query.absent_for is None else host.list(absent_for=query.absent_for)
    shown, after = pages.page(query.selection.of(reports), query.limit, query.after)
    answer = _vifs(shown, host)
    if after is not None:
        answer.headers["Link"] = pages.link_to_next(request.url.path, request.query_params.multi_items(), after)
    return answer


@_ROUTES.get("/v1/vifs/{id}/path", **route(Level.READ, "Path", 404, 409, *_LOOKING))
@_working
def get_path(request: Request, id: VifId) -> Response:
    """Show a VIF's path through the host, hop by hop from the guest."""
    return _answer(_host(request).path(requests.vif_id(id)))


@_ROUTES.post("/v1/vifs/{id}/trace", **route(Level.READ, "TraceReport", 404, *_LOOKING, body="TraceRequest"))
@_working
def trace_vif(request: Request, id: VifId, body: _Body) -> Response:
    """Show where a VIF's frames stop: its path with counters, what handles frames at each hop, the causes, a sentence.

    Nothing is changed, and no frame is sent, except with `probe`, which requires level operate. It takes as long as the
    interval, or some seconds while Open vSwitch hangs.
    """
    wanted = requests.of(body, TraceRequest)
    if wanted.probe:
        middleware.require(request, Level.OPERATE, "sending frames through a VIF")
    return _answer(_host(request).trace(requests.vif_id(id), interval=wanted.interval, probe=wanted.probe))


@_ROUTES.get("/v1/vifs/{id}/progress", **route(Level.READ, "ProgressReport"))
async def get_progress(request: Request, id: VifId) -> Response:
    """Show the progress of a request that plugs, unplugs or repairs this VIF among others.

    Answered at once: the number of finished steps of a plan, or of VIFs. Without such a request both numbers are 0.
    """
    return _answer(_host(request).progress(requests.vif_id(id)))


@_ROUTES.get(
    "/v1/vifs/{id}/guest/{format}", **route(Level.READ, "GuestReport", 404, 409, 503, 504) | {"dependencies": []}
)
@_working
def get_guest(request: Request, id: VifId, format: GuestFormat, query: Annotated[GuestQuery, Query()]) -> Response:
    """Show what a hypervisor needs for a VIF: libvirt's element or QEMU's arguments.

    The guest is not inspected; of the host, only the datapath of the OVS bridge if the guest's tap is its port.
    """
    report = _host(request).guest(requests.vif_id(id), format, model=query.model, queues=query.queues)
    return JSONResponse(report.as_json())


@_ROUTES.post("/v1/batch", **route(Level.OPERATE, "BatchAnswer", *_CHANGING, body="BatchRequest"))
@_working
def batch(request: Request, body: _Body) -> Response:
    """Plug VIFs, all or none; or unplug VIFs.

    Give either `plug` or `unplug`. An unplug continues past errors, and then fails with them.
    """
    batch = requests.of(body, BatchRequest)
    middleware.require(request, Level.READ if batch.dry_run else Level.OPERATE, "plugging or unplugging")
    if batch.plug and batch.unplug:
        raise InputError("plug and unplug exclude each other; give one of them")
    if batch.plug is None and batch.unplug is None:
        raise InputError("the request's body has neither plug nor unplug; give one of them")
    if batch.unplug:
        return _unplug(request, batch)
    vifs = batch.vifs(batch.plug, batch.network) if batch.plug or batch.plug == {} else []
    logs.concerning(*(vif.id for vif in vifs))
    host, metrics = _host(request), _metrics(request)
    if batch.dry_run:
        return _answer(host.plan(vifs) if vifs else PlanReport())
    if not vifs:
        return _answer(Vifs(vifs=(), warnings=()))
    with metrics.timed(metrics.plug_seconds):
        return _vifs(host.plug(vifs, requester=_requester(request)), host)


def _unplug(request: Request, batch: BatchRequest) -> Response:
    host, metrics = _host(request), _metrics(request)
    ids = batch.unplug or []
    logs.concerning(*ids)
    if batch.dry_run:
        return _answer(host.plan_unplug(ids))
    with metrics.timed(metrics.unplug_seconds):
        return _vifs(host.unplug(ids, requester=_requester(request)), host)


@_ROUTES.post("/v1/check", **route(Level.READ, "Checked", 404, *_LOOKING, body="ChosenRequest"))
@_working
def check(request: Request, body: _Body) -> Response:
    """Compare VIFs with the host; for all VIFs, also look for orphans."""
    ids = requests.of(body, ChosenRequest).ids
    logs.concerning(*(ids or ()))
    host = _host(request)
    return _answer(extended(Checked, host.check(ids), warnings=_warnings(host)))


@_ROUTES.post("/v1/repair", **route(Level.OPERATE, "RepairAnswer", 404, *_CHANGING, body="RepairRequest"))
@_working
def repair(request: Request, body: _Body) -> Response:
    """Repair drift.

    Without ids, of every VIF, which requires level admin. The answer lists each change that was made.
    """
    wanted = requests.of(body, RepairRequest)
    logs.concerning(*(wanted.ids or ()))
    host, metrics = _host(request), _metrics(request)
    if wanted.dry_run:
        return _answer(host.plan_repair(wanted.ids))
    middleware.require(request, Level.OPERATE, "repairing VIFs")
    if wanted.ids is None:
        middleware.require(request, Level.ADMIN, "repairing every VIF (to repair your own, name their ids)")
    with metrics.timed(metrics.repair_seconds):
        reports = host.repair(wanted.ids, requester=_requester(request))
    actions = tuple(action for report in reports for action in report.actions or ())
    return _answer(Repaired(vifs=reports, warnings=_warnings(host, reports), actions=actions))


@_ROUTES.post("/v1/gc", **route(Level.READ, "Collected", *_CHANGING, body="GcRequest"))
@_working
def gc(request: Request, body: _Body) -> Response:
    """List orphans: vifplug's devices and ports that no record mentions; with `delete`, which requires level admin,
    delete them.

    With `keep`, the ids of existing VIFs or instances, also list recorded VIFs that are not in it and have had nothing
    at the guest's end for `absent_for` seconds; with `delete` they are unplugged.
    """
    wanted = requests.of(body, GcRequest)
    if wanted.delete:
        middleware.require(request, Level.ADMIN, "deleting orphans")
    host = _host(request)
    if wanted.keep is None:
        report = host.gc(delete=wanted.delete)
    else:
        report = host.gc(delete=wanted.delete, keep=wanted.keep, absent_for=wanted.absent_for)
    return _answer(extended(Collected, report, warnings=_warnings(host)))


@_ROUTES.get("/metrics", **route(Level.READ, ""))
@_working
def get_metrics(request: Request) -> Response:
    """Metrics, in Prometheus's text format, or in OpenMetrics' if `Accept` names it."""
    request.app.state.hub.count()
    if OPENMETRICS in request.headers.get("accept", ""):
        text, media_type = _metrics(request).open_metrics()
        return Response(text, media_type=media_type)
    return Response(_metrics(request).text(), media_type=METRICS_TYPE)


@_ROUTES.get(middleware.HEALTH_PATH, **route(None, "Health"))
async def get_health(request: Request) -> Response:
    """Show whether the daemon is healthy. Every user may ask; it answers at once, whatever Open vSwitch does."""
    status = request.app.state.reconciler.status()
    store = request.app.state.hub.log.problem()
    health = "unhealthy" if store else "degraded" if status.get("ovsdb_missed") else "ok"
    document = {"status": health, "store": store or "ok", **status}
    return Response(printable.dumps(document).encode("ascii"), media_type="application/json")
