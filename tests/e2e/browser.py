"""Debian's Chromium, headless, by the WebDriver protocol: what a person at `vifplug web` sees."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.world.world import World

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1500,1000"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_START_SECONDS = 60.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Browser:
    """A browser in a world's network namespace, which has no other network than its loopback."""

    def __init__(self, world: World) -> None:
        self._profile = world.directory / "chromium"
        self._port = _free_port()
        with (world.directory / "chromedriver.log").open("wb") as log:
            self._driver = subprocess.Popen(["chromedriver", f"--port={self._port}"], stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": self._capabilities()}})
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "chromedriver does not answer"
                time.sleep(0.1)
        self._session = f"/session/{session['sessionId']}"

    def _capabilities(self) -> dict[str, Any]:
        options = {"binary": "/usr/bin/chromium", "args": [*_FLAGS, f"--user-data-dir={self._profile}"]}
        waits = {"script": 110_000, "pageLoad": 110_000}
        return {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": waits}

    def _ask(self, method: str, path: str, document: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        body = None if document is None else json.dumps(document)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def open(self, url: str) -> None:
        """Go to an address."""
        self._ask("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of a script in the page."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def await_true(self, script: str, *arguments: Any, seconds: float = 60.0) -> None:
        """Return once a script's result is true; AssertionError with the page's text if it is not."""
        deadline = time.monotonic() + seconds
        while not self.run(script, *arguments):
            assert time.monotonic() < deadline, self.run("return document.body.innerText")[:3000]
            time.sleep(0.1)

    def log(self) -> list[dict[str, Any]]:
        """What the browser has complained about since the last call."""
        entries: list[dict[str, Any]] = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return entries

    def picture(self, file: Path) -> None:
        """A screenshot."""
        file.write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._ask("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(30)
