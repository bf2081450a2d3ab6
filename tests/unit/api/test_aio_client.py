"""The asyncio client against a small scripted server: the same errors as the synchronous client, retries, streams."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import vifplug
from tests.support.daemon.scripted_daemon import Conversation, Script, Turn, answer, problem, served, streamed, text
from tests.unit.api.test_client_events import cut, frames
from vifplug import aio, errors
from vifplug.aio import client
from vifplug.api.http import Request

VIF_ID = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
REPORT = {"id": VIF_ID, "state": "unplugged"}
VIFS = {"vifs": [REPORT], "warnings": []}
HANG_UP = b""
SECONDS = 30.0


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, SECONDS))


async def _unplug(path: str, **more: Any) -> list[vifplug.VifReport]:
    async with aio.connect(path, **more) as host:
        return await host.unplug([VIF_ID])


async def _get(path: str, **more: Any) -> vifplug.VifReport:
    async with aio.connect(path, **more) as host:
        return await host.get(VIF_ID)


def _errors_of_both(path: str, *, changes: bool, **more: Any) -> tuple[errors.VifplugError, errors.VifplugError]:
    with pytest.raises(errors.VifplugError) as here, vifplug.connect(path, **more) as host:
        host.unplug([VIF_ID]) if changes else host.get(VIF_ID)
    with pytest.raises(errors.VifplugError) as there:
        _run(_unplug(path, **more) if changes else _get(path, **more))
    return here.value, there.value


def _must_be_alike(here: errors.VifplugError, there: errors.VifplugError) -> None:
    assert (type(there), there.message, there.subject, there.step) == (
        type(here),
        here.message,
        here.subject,
        here.step,
    )
    assert isinstance(there.__cause__, OSError) == isinstance(here.__cause__, OSError)


def _cut_short(conversation: Conversation) -> bytes:
    conversation.wfile.write(answer(VIFS)[:-5])
    return b""


def _silent(_conversation: Conversation) -> bytes:
    time.sleep(1.0)
    return b""


ANSWERS: dict[str, Turn] = {
    "conflict": problem("Conflict", "the name is held", status=409, subject="tap1", step="create"),
    "unknown class": problem("Nonsense", "words", status=500),
    "proxy": text(b"<html>bad gateway</html>", 502),
    "no JSON": text(b"hello"),
    "a list": answer([1]),
    "other keys": answer({"a": 1}),
    "hangs up": HANG_UP,
    "cut short": _cut_short,
    "no HTTP": text(b"")[9:],
}


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_is_the_same_error_as_of_the_synchronous_client(tmp_path: Path, name: str, changes: bool) -> None:
    with served(str(tmp_path / "s"), ANSWERS[name]) as script:
        _must_be_alike(*_errors_of_both(script.path, changes=changes))


def test_silence_is_the_same_error(tmp_path: Path) -> None:
    with served(str(tmp_path / "s"), _silent) as script:
        _must_be_alike(*_errors_of_both(script.path, changes=True, timeout=0.2))


def test_missing_and_deaf_sockets_are_the_same_errors(tmp_path: Path) -> None:
    _must_be_alike(*_errors_of_both(str(tmp_path / "none"), changes=False))
    _must_be_alike(*_errors_of_both(f"/{'x' * 200}", changes=False))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        _must_be_alike(*_errors_of_both(str(tmp_path / "s"), changes=False))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_full_backlog_is_no_lost_answer(tmp_path: Path) -> None:
    """anyio 4.16 leaves the socket of a connection that it gave up to the collector, which warns."""
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(path)
        with pytest.raises(errors.DaemonUnreachable, match="too many connections wait"):
            _run(_get(path))
    gc.collect()


def test_idle_connection_that_the_daemon_closed_costs_no_error(tmp_path: Path) -> None:
    with served(str(tmp_path / "s"), answer(REPORT)) as script:
        script.hangs_up = True

        async def test() -> None:
            async with aio.connect(script.path) as host:
                for _ in range(5):
                    assert (await host.get(VIF_ID)).state == "unplugged"

        _run(test())


def test_change_is_not_repeated_without_retry_and_is_with_it(tmp_path: Path) -> None:
    turns = [HANG_UP, problem("HelperDied", "the helper ended", status=500), answer(VIFS)]
    with served(str(tmp_path / "s"), *turns) as script:
        with pytest.raises(errors.DaemonUnreachable, match="outcome is unknown"):
            _run(_unplug(script.path))
        assert len(script.asked) == 1
        (report,) = _run(_unplug(script.path, retry=SECONDS))
        assert report.state == "unplugged"
        assert [asked.target for asked in script.asked] == ["/v1/batch"] * 3


def test_cancelled_retry_ends(tmp_path: Path) -> None:
    async def test() -> None:
        opening = asyncio.create_task(_get(str(tmp_path / "none"), retry=SECONDS))
        await asyncio.sleep(0.1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    _run(test())


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Script]:
    turns = [cut(frames(3, 4)), HANG_UP, cut(b"id: 5\n\n"), cut(frames(5, 6), frames(7)[:20]), streamed(frames(7, 8))]
    with served(str(tmp_path / "s"), *turns) as script:
        yield script


def test_follower_resumes_where_it_was(stream: Script) -> None:
    async def test() -> list[int]:
        found = []
        async with aio.connect(stream.path) as host, contextlib.aclosing(host.events(2, follow=True)) as events:
            async for event in events:
                found.append(event.seq)
                if event.seq == 8:
                    break
        return found

    assert _run(test()) == [3, 4, 6, 7, 8]  # 5 was only a number
    asked = [asked.target.partition("since=")[2] for asked in stream.asked]
    assert asked == ["2", "4", "4", "5", "6"]


def test_stream_without_following_reports_that_it_was_cut(tmp_path: Path) -> None:
    async def test(path: str) -> list[int]:
        async with aio.connect(path) as host:
            return [event.seq async for event in host.events()]

    with served(str(tmp_path / "s"), cut(frames(1))) as script, pytest.raises(errors.DaemonUnreachable):
        _run(test(script.path))
    other = streamed(b"data: [1]\n\n")
    with served(str(tmp_path / "t"), other) as script, pytest.raises(errors.DaemonUnreachable, match="is not vifplugd"):
        _run(test(script.path))
    with served(str(tmp_path / "u"), answer({})) as script, pytest.raises(errors.DaemonUnreachable, match="is another"):
        _run(test(script.path))


def test_closing_the_host_ends_its_follower(tmp_path: Path) -> None:
    def endless(conversation: Conversation) -> bytes:
        conversation.wfile.write(streamed(frames(1), ended=False))
        conversation.rfile.read(1)
        return b""

    async def test(path: str) -> list[int]:
        found = []
        host = await aio.connect(path)
        async for event in host.events(0, follow=True):
            found.append(event.seq)
            asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(host.close()))
        return found

    with served(str(tmp_path / "s"), endless) as script:
        assert _run(test(script.path)) == [1]


def test_socket_closed_to_this_user_names_the_group(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        error = client.Wire(str(tmp_path / "s"))._no_answer(*_denied())
    else:
        (tmp_path / "s").touch(mode=0)
        with pytest.raises(errors.DaemonUnreachable) as raised:
            _run(_get(str(tmp_path / "s")))
        error = raised.value
    assert "no permission to use the daemon's socket" in error.message


def _denied() -> tuple[Exception, Any]:
    error = httpx.ConnectError("x")
    error.__cause__ = PermissionError(13, "Permission denied")
    return error, Request(method="GET", target="/")
