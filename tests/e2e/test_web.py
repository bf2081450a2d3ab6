"""`vifplug web` in Debian's Chromium and `vifplug top` on a terminal, with 1,000 VIFs.

A VIF goes from plugged to active, a repair and a fault are seen as they happen. Screenshots are kept with the results.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import Browser
from tests.e2e.conftest import Evidence
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.relay import IFF_NO_PI, IFF_TAP, TUNSETIFF
from tests.support.vifs import HYBRID
from tests.support.world.world import World

VIFS = int(os.environ.get("VIFPLUG_WEB_VIFS", "1000"))
_ON_A_BRIDGE = 250
"""A Linux bridge has 1,024 ports at most."""
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture
def daemon(world: World) -> Iterator[Vifplugd]:
    """The daemon with all VIFs but one plugged."""
    with Vifplugd(world, {"events": {"wired_by": "ovn"}}) as daemon:
        documents = []
        for number in range(VIFS - 1):
            network = f"14ec4c8b-001b-49c3-89fb-bf84c4f4{number // _ON_A_BRIDGE:04x}"
            documents.append(
                {
                    "id": f"{number:08x}-4b2e-4a6a-a1da-6286f400507c",
                    "vif_type": "bridge",
                    "address": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
                    "network": {"id": network, "bridge": f"brq{network[:8]}{number // _ON_A_BRIDGE}", "mtu": 1450},
                    "instance": {"uuid": "c0ffee00-1111-4222-8333-000000000011", "name": HOSTILE},
                }
            )
        for first in range(0, len(documents), 100):
            status, answer = daemon.request("POST", "/v1/batch", {"plug": documents[first : first + 100]}, timeout=300)
            assert status == 200, answer
        yield daemon


@contextlib.contextmanager
def guest(world: World) -> Iterator[None]:
    """The guest's tap on its bridge, opened as a VMM does."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", HYBRID.tap.encode(), IFF_TAP | IFF_NO_PI))
        world.ip("link", "set", HYBRID.tap, "master", HYBRID.qbr, "up")
        yield
    finally:
        os.close(descriptor)


def wire(world: World) -> None:
    """What OVN does when it has the port."""
    world.vsctl("set", "Interface", HYBRID.qvo, "external_ids:ovn-installed=true")


@contextlib.contextmanager
def served(world: World, daemon: Vifplugd) -> Iterator[str]:
    """The page's address."""
    argv = world.vifplug_argv("web", "-o", "json", "--socket", str(daemon.socket))
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=world.environment, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_page_shows_what_happens(world: World, daemon: Vifplugd, evidence: Evidence) -> None:
    pictures = evidence.directory / "pictures"
    pictures.mkdir()
    with served(world, daemon) as url, Browser(world) as browser:
        browser.open(url)
        browser.await_true("return typeof rows !== 'undefined' && rows.size === arguments[0]", VIFS - 1)
        browser.picture(pictures / "1-start.png")

        assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200
        browser.await_true(f"return rows.get('{HYBRID.id}')?.vif.state === 'plugged'")
        browser.run("choose(arguments[0]); at('filter').value = arguments[0]; draw()", HYBRID.id)
        browser.await_true("return document.querySelectorAll('#path .hop').length >= 5")
        browser.picture(pictures / "2-plugged.png")
        wire(world)
        browser.await_true(f"return rows.get('{HYBRID.id}').vif.state === 'wired'")
        with guest(world):
            browser.await_true(f"return rows.get('{HYBRID.id}').vif.state === 'active'")
            browser.picture(pictures / "3-active.png")
            # A repair.
            world.ip("link", "set", HYBRID.qvo, "down")
            browser.await_true("return document.getElementById('events').textContent.includes('repair')")
            browser.await_true(f"return rows.get('{HYBRID.id}').vif.state === 'active'")
            browser.picture(pictures / "4-repaired.png")
            # A fault that stays.
            world.vsctl("del-br", "br-int")
            browser.await_true(f"return rows.get('{HYBRID.id}').vif.state === 'failed'")
            browser.run("findings()")
            browser.await_true("return document.getElementById('findings').textContent.includes('br-int')")
            browser.picture(pictures / "5-failed.png")
        # Names of guests are text: no element was made of them, and the policy had nothing to stop.
        assert browser.run("return document.querySelectorAll('img').length") == 0
        assert browser.run("return document.title") == "vifplug"
        complaints = [entry for entry in browser.log() if "favicon" not in entry["message"]]
        assert [entry for entry in complaints if entry["level"] == "SEVERE"] == []


def status_of(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@contextlib.contextmanager
def terminal(world: World, daemon: Vifplugd) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """``vifplug top`` on a terminal of its own: its process, and both ends of the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    argv = world.vifplug_argv("top", "--socket", str(daemon.socket))
    environment = {**world.environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    # With a session and a controlling terminal of its own, so that the terminal itself sends SIGINT for Ctrl-C.
    setsid = ["setsid", "--ctty"]
    process = subprocess.Popen([*setsid, *argv], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    try:
        yield process, ours, theirs
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def await_text(ours: int, pattern: str, seconds: float = 60.0) -> str:
    """The terminal's output up to a text, without its control sequences."""
    seen, deadline = b"", time.monotonic() + seconds
    while True:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode("utf-8", "replace"))
        if re.search(pattern, text):
            return text
        assert time.monotonic() < deadline, text[-3000:]
        if select.select([ours], [], [], 1)[0]:
            seen += os.read(ours, 65536)


@pytest.mark.parametrize("end", ["q", "Ctrl-C"])
def test_top_shows_what_happens_and_restores_the_terminal(
    world: World, daemon: Vifplugd, evidence: Evidence, end: str
) -> None:
    with terminal(world, daemon) as (process, ours, theirs):
        before = termios.tcgetattr(theirs)
        await_text(ours, rf"{VIFS - 1} VIFs")
        assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200
        await_text(ours, rf"{HYBRID.id} +plugged")
        wire(world)
        with guest(world):
            await_text(ours, rf"{HYBRID.id} +active")
            world.ip("link", "set", HYBRID.qvo, "down")
            text = await_text(ours, r"repairs [1-9]")
            world.vsctl("del-br", "br-int")
            text = await_text(ours, rf"{HYBRID.id} +failed")
            evidence.note(text[-5000:])
        os.write(ours, b"q" if end == "q" else b"\x03")
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                os.read(ours, 65536)
        assert process.returncode == 0
        assert termios.tcgetattr(theirs) == before


def test_page_is_for_its_own_address_only(world: World, daemon: Vifplugd, tmp_path: Path) -> None:
    with served(world, daemon) as url:
        port = url.split(":")[2].split("/")[0]
        assert status_of(url) == status_of(f"{url}api/v1/vifs") == status_of(f"{url}api/healthz") == 200
        assert status_of(f"http://127.0.0.1:{port}/") == status_of(f"http://127.0.0.1:{port}/x/api/v1/vifs") == 404
        assert status_of(url, Host=f"evil.example:{port}") == 421
        assert status_of(f"{url}api/v1/vifs", **{"Sec-Fetch-Site": "cross-site"}) == 403
        others = (
            "metrics",
            "v1/vifs/../../metrics",
            "v1/gc",
            "v1/vifs?absent_for=1",
            "v1/events?since=x",
            "openapi.json",
        )
        for path in others:
            assert status_of(f"{url}api/{path}") in (404, 503), path
        request = urllib.request.Request(f"{url}api/v1/repair", method="POST", data=b"{}")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == 501
