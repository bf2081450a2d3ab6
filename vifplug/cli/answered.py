"""Shows an answer that ``cli.front`` has received and that is not plain: as ``cli.main`` shows one of its own."""

from __future__ import annotations

import contextlib
import http.client
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vifplug import errors
from vifplug.api import http_errors
from vifplug.api.http import Request, Wire
from vifplug.api.remote import DaemonHost
from vifplug.cli import main, output
from vifplug.cli.arguments import Options
from vifplug.cli.verb import nothing

if TYPE_CHECKING:
    from vifplug.api.contract import Host


def show(words: Sequence[str], path: str, request: str, head: bytes, body: bytes) -> int:
    """Run a command whose request has been sent.

    :param request: its method and target.
    :param head: of the answer; nothing if the daemon ended the connection.
    :returns: the exit code.
    """

    @contextlib.contextmanager
    def opener(_options: Options, _check: Callable[[], object] = nothing, /) -> Iterator[Host]:
        with DaemonHost(_Wire(path, request, head, body)) as host:
            yield host

    return main.main([*words], opener=opener)


def interrupted(error: BaseException, *, changes: bool) -> int:
    """Report a signal.

    :param changes: whether the daemon continues a request that changes the host.
    :returns: the exit code.
    """
    if changes:
        error.add_note(http_errors.CONTINUES)
    return main.fail(error, as_json=False)


def failed(error: Exception) -> int:
    """Report any other error.

    :returns: the exit code.
    """
    return main.fail(error, as_json=False)


def unwritten(error: OSError) -> int:
    """Report that a result could not be written.

    :returns: the exit code.
    """
    try:
        output.give_up(error)
    except errors.VifplugError as failure:
        return main.fail(failure, as_json=False)
    return 0


class _Wire(Wire):
    """A connection that has the answer to its first request."""

    def __init__(self, path: str, request: str, head: bytes, body: bytes) -> None:
        super().__init__(path)
        self._asked, self._head, self._body = request, head, body

    def ask(self, request: Request) -> dict[str, Any]:
        asked, self._asked = self._asked, ""
        if asked != f"{request.method} {request.target}" or not (self._head or request.changes):
            return super().ask(request)
        if not self._head:
            cut_off = http.client.IncompleteRead(self._body)
            raise errors.DaemonUnreachable(http_errors.cut_off(self.path, cut_off, changes=True), self.path)
        response = http.client.HTTPResponse(_Received(self._head + b"\r\n\r\n" + self._body))  # type: ignore[arg-type]
        try:
            response.begin()
            return self.answer_of(request, response, response.read())
        except http.client.HTTPException as error:
            raise self.no_answer(error, request) from error


class _Received:
    """Bytes in place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        """The bytes as a file."""
        return io.BytesIO(self._data)
