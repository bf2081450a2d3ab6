"""The verb web: a read-only page about this host on a port of the loopback, for a browser.

Loopback is open to every local user, and the page acts with the rights of the user who runs this command: so every
address contains a random token. A page of another site cannot read the token; a name of another site that leads to
127.0.0.1 (DNS rebinding) is refused by the Host header. Only GETs of some paths of the daemon's API are passed on.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import re
import secrets
import socket
import threading
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vifplug import errors, version
from vifplug.api.http import Request, Wire
from vifplug.api.remote import configured
from vifplug.cli import errors as cli_errors
from vifplug.cli import output
from vifplug.cli.arguments import Options
from vifplug.cli.verb import Opener, Outcome
from vifplug.model import printable

_ADDRESS = "127.0.0.1"
_TOKEN_BYTES = 24
_PATHS = re.compile(r"/v1/(?:vifs|vifs/[0-9a-f-]{36}|vifs/[0-9a-f-]{36}/path|host|doctor)|/healthz")
_EVENTS = "/v1/events"
_FOLLOWERS_MAX = 16
_IDLE_SECONDS = 30.0
_ANSWER_SECONDS = 120.0
_STREAM_SECONDS = 45.0
"""The daemon sends something every 15 s."""
_STATUSES = {"UnknownVif": 404, "NotPermitted": 403, "InputError": 400, "EventsLost": 410}
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Server(ThreadingHTTPServer):
    """Serves the page and the API's GETs.

    :param wire: to the daemon.
    :param port: 0 for any free one.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, wire: Wire, port: int) -> None:
        self.wire = wire
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.followers = threading.Semaphore(_FOLLOWERS_MAX)
        super().__init__((_ADDRESS, port), Handler)

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{_ADDRESS}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a connection is nothing to report."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server_version, sys_version = "vifplug", ""

    def do_GET(self) -> None:
        """Answer a GET."""
        hosts = {f"{name}:{self.server.server_port}" for name in (_ADDRESS, "localhost")}
        if self.headers.get_all("Host", []) not in [[host] for host in hosts]:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "this address is for the page's own name only")
            return
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            self._refuse(HTTPStatus.FORBIDDEN, "other sites may not ask")
            return
        path, _, query = self.path.partition("?")
        token, _, rest = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "open the address that vifplug web has printed")
        elif rest == "":
            self._page()
        elif rest == f"api{_EVENTS}":
            self._events(query)
        elif rest.startswith("api/") and not query and _PATHS.fullmatch(rest.removeprefix("api")):
            self._api(rest.removeprefix("api"))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(_TOKEN_BYTES)
        text = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
        body = text.replace('nonce="NONCE"', f'nonce="{nonce}"').encode()
        self._answer(HTTPStatus.OK, "text/html; charset=utf-8", body, _POLICY.format(nonce=nonce))

    def _api(self, target: str) -> None:
        try:
            document = self.server.wire.ask(Request(method="GET", target=target, seconds=_ANSWER_SECONDS))
        except errors.VifplugError as error:
            self._failed(error)
            return
        self._json(HTTPStatus.OK, document)

    def _events(self, query: str) -> None:
        since = self.headers.get("Last-Event-ID", "")
        asked = {"follow": "true", **({"since": since} if since.isascii() and since.isdigit() else {})}
        if query not in ("", "follow=true") or not self.server.followers.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages follow the events")
            return
        try:
            target = f"{_EVENTS}?{urllib.parse.urlencode(asked)}"
            stream = self.server.wire.stream(Request(method="GET", target=target, seconds=_STREAM_SECONDS))
        except errors.VifplugError as error:
            self.server.followers.release()
            self._failed(error)
            return
        self.close_connection = True
        try:
            with contextlib.closing(stream):
                self._head(HTTPStatus.OK, "text/event-stream", None)
                while part := stream.read():
                    self.wfile.write(part)
                    self.wfile.flush()
        except (OSError, errors.VifplugError):
            pass  # the browser has gone, or the daemon has: the page follows again
        finally:
            self.server.followers.release()

    def _failed(self, error: errors.VifplugError) -> None:
        status = _STATUSES.get(type(error).__name__, HTTPStatus.BAD_GATEWAY)
        self._json(HTTPStatus(status), cli_errors.of(error).as_json())

    def _json(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        self._answer(status, "application/json", printable.dumps(document).encode("ascii"))

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True
        self._answer(status, "application/json", json.dumps({"detail": reason}).encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, policy: str = "default-src 'none'") -> None:
        self._head(status, kind, len(body), policy)
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, size: int | None, policy: str = "default-src 'none'") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            **({"Connection": "close"} if size is None or self.close_connection else {}),
            **({"Content-Length": str(size)} if size is not None else {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """No lines about requests: they would contain the token."""


def web(options: Options, _opener: Opener) -> Outcome:
    """Serve the page until interrupted.

    :raises errors.DaemonUnreachable: there is no daemon, whose API the page shows.
    :raises errors.VifplugError: the port is in use.
    """
    if options.local:
        raise errors.InputError("web shows the daemon's API; it does not work with --local")
    wire = Wire(options.socket or configured(options.config_file))
    try:
        wire.open()
    except errors.DaemonUnreachable as error:
        message = error.message.replace(", or try again with --local", "")
        raise errors.DaemonUnreachable(f"web shows the daemon's API: {message}", wire.path) from error
    try:
        server = Server(wire, options.port)
    except OSError as error:
        raise errors.VifplugError(f"cannot listen on {_ADDRESS}:{options.port}: {error.strerror}", "port") from error
    with server, contextlib.suppress(KeyboardInterrupt):
        about = {"url": server.url, "version": version.installed(), "host": socket.gethostname()}
        text = f"{server.url}\nOnly this host can open it, and only with this address. Ctrl-C ends it."
        if output.put(text if options.is_plain else json.dumps(about)):
            server.serve_forever(poll_interval=0.5)
    wire.close()
    return Outcome(document=None, text=lambda _: "", is_printed=True)
