"""The daemon's application with a host in memory, called as any peer, without a socket."""

from __future__ import annotations

import asyncio
import functools
import json
import pathlib
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import jsonschema
import uvicorn
from fastapi import FastAPI
from jsonschema.validators import Draft202012Validator
from starlette.types import Receive, Scope, Send

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.api.local import LocalHost
from vifplug.config.options import Settings
from vifplug.daemon.http import vifs
from vifplug.daemon.http.event_stream import Hub
from vifplug.daemon.http.protocol import Access, Level, Members, Peer
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.process.worker import server_config

READER, OPERATOR, OTHER_OPERATOR, ADMIN, STRANGER = 1001, 1002, 1003, 1004, 1005
ACCESS = Access(
    admins=Members(uids=frozenset({ADMIN})),
    operators=Members(uids=frozenset({OPERATOR, OTHER_OPERATOR})),
    readers=Members(uids=frozenset({READER})),
)
UID_OF = {Level.NONE: STRANGER, Level.READ: READER, Level.OPERATE: OPERATOR, Level.ADMIN: ADMIN}


@functools.cache
def _description() -> dict[str, Any]:
    """Generating it takes longer than a test."""
    access = Access(admins=Members(), operators=Members(), readers=Members())
    return vifs.create_app(LocalHost(None, None), access, Reconciling(), None, Metrics()).openapi()  # type: ignore[arg-type]


class Reconciling:
    """The status of a reconciler."""

    def __init__(self) -> None:
        self.is_connected = True

    def status(self) -> dict[str, Any]:
        away = not self.is_connected
        return {
            "ovsdb_connected": not away,
            "ovsdb_missed": away,
            "compared_at": None,
            "queue": 0,
            "vifs": {},
            "orphans": 0,
        }


@dataclass
class Answer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The class of the problem's error; the document itself is checked."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        problem = self.json
        assert problem["status"] == self.status
        assert problem["detail"] == problem["error"]["message"]
        assert problem["request_id"] == self.headers["x-request-id"]
        return str(problem["error"]["type"])


@dataclass
class Daemon:
    """The application, and its parts."""

    directory: pathlib.Path
    fake: FakeHost = field(default_factory=FakeHost)
    reconciler: Reconciling = field(default_factory=Reconciling)
    metrics: Metrics = field(default_factory=Metrics)
    access: Access = ACCESS

    def __post_init__(self) -> None:
        plugger = builders.plugger(self.directory, self.fake)
        self.store = plugger.store
        settings = Settings(mtu=1450, state_dir=str(self.directory))
        self.host = builders.local_host(plugger, settings=settings)
        self.hub = Hub(self.store, self.metrics)
        self.store.listeners.append(lambda _ids: self.hub.wake())
        self.app: FastAPI = vifs.create_app(self.host, self.access, self.reconciler, self.hub, self.metrics)
        self.app.openapi_schema = _description()

    def grant(self, access: Access) -> None:
        """Serve with these permissions; before the application has served anything."""
        (gate,) = [each for each in self.app.user_middleware if "access" in each.kwargs]
        gate.kwargs["access"] = access

    def ask(self, method: str, path: str, body: Any = None, *, uid: int | None = ADMIN, **more: Any) -> Answer:
        """One request; a body that is neither bytes nor text is sent as JSON."""
        content = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        answer = asyncio.run(self._ask(method, path, uid, {"content": content, **more}))
        found = Answer(answer.status_code, answer.headers, answer.content)
        self._check_description(method, path, found)
        return found

    async def _ask(self, method: str, path: str, uid: int | None, more: dict[str, Any]) -> httpx.Response:
        async def known(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = {} if uid is None else {"peer": Peer(pid=42, uid=uid, gid=uid)}
            await self.app(scope, receive, send)

        transport = httpx.ASGITransport(app=known, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://vifplug") as client:
            return await client.request(method, path, **more)

    def _check_description(self, method: str, path: str, answer: Answer) -> None:
        """Check that an answer of a described path has a described status, type and shape."""
        operation = self._operation(method, path.partition("?")[0])
        if operation is None:
            return
        described = operation["responses"].get(str(answer.status))
        assert described is not None, f"{method} {path} answers {answer.status}, which nothing says"
        if "content" not in described:
            assert not answer.body, f"{method} {path} answers {answer.status} with a body, which nothing says"
            return
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in described["content"], f"{method} {path} answers {kind}"
        if kind.endswith("json"):
            schema = {**described["content"][kind]["schema"], "components": self.app.openapi()["components"]}
            jsonschema.validate(answer.json, schema, cls=Draft202012Validator)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        parts = path.split("/")
        for template, operations in self.app.openapi()["paths"].items():
            wanted = template.split("/")
            if len(wanted) == len(parts) and all(a == b or a[:1] == "{" for a, b in zip(wanted, parts, strict=True)):
                found: dict[str, Any] | None = operations.get(method.lower())
                return found
        return None


@contextmanager
def served(app: FastAPI, path: pathlib.Path) -> Iterator[uvicorn.Server]:
    """The application on a Unix socket, as the worker serves it, in a thread."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(256)
        server = uvicorn.Server(server_config(app))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield server
        finally:
            server.should_exit = True
            thread.join()
