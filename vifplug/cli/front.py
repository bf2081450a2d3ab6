"""The command's start: plain forms of ``list``, ``show``, ``plug`` and ``unplug`` ask the daemon from here.

Python's own modules take longer to import than the daemon takes to answer: ``re`` 4 ms, http.client 17, argparse and
json 10 more. So nothing is imported here that the interpreter has not loaded itself, except modules in C.

Whatever is not plain (any other option, a terminal, a document that is not simple ASCII, no daemon) is left to
``cli.main`` before anything is sent. An answer that is not plain (an error, a warning) is shown by ``cli.main`` too, as
the answer to its own request.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing imports re
if TYPE_CHECKING:
    from typing import Any

_HEADERS = ("ID", "TYPE", "STATE", "ADDRESS", "MTU", "BRIDGE", "DEVICES", "OFPORTS", "INSTANCE", "NOTE")
_UNPLUGGED_HEADERS = ("ID", "TYPE", "BRIDGE", "RESULT")
_NOTHING = "-"
_DOCUMENT_MAX, _ANSWER_MAX = 2**20, 64 * 2**20
_CONNECT_SECONDS, _ALIVE_SECONDS = 2, 10
"""How long a connection may take, and an answer that waits for nothing."""
_HEXADECIMAL = frozenset("0123456789abcdef")


class NotPlainError(Exception):
    """``cli.main`` has to do it."""


class _Sent:
    """What this process has sent."""

    request = ""
    """Method and target."""


class _Command:
    """A plain command line: a verb, its words, and where the daemon may be."""

    def __init__(self, words: list[str]) -> None:
        self.verb, self.words = "", []
        self._config_file = self._socket = ""
        left = iter(words)
        for word in left:
            if word in ("--config-file", "--socket"):
                value = next(left, "")
                if not value or value.startswith("-") or self._config_file or self._socket:
                    raise NotPlainError
                if word == "--socket":
                    self._socket = value
                else:
                    self._config_file = value
            elif word.startswith("-"):
                raise NotPlainError
            elif not self.verb:
                self.verb = word
            else:
                self.words.append(word)

    def socket(self) -> str:
        """The path of the daemon's socket."""
        if self._socket:
            return self._socket
        from vifplug.config import locate

        path = locate.socket_of(locate.config_file(self._config_file or None))
        if path is None:
            raise NotPlainError
        return path

    def request(self) -> tuple[str, str, str]:
        """Method, target and body of the request."""
        if self.verb == "list" and not self.words:
            return "GET", "/v1/vifs", ""
        if self.verb == "show" and len(self.words) == 1:
            return "GET", f"/v1/vifs/{_id(self.words[0])}", ""
        if self.verb == "plug" and len(self.words) == 1 and not sys.stderr.isatty():
            return "POST", "/v1/batch", f'{{"plug": {_document(self.words[0])}, "format": "auto"}}'
        if self.verb == "unplug" and self.words and not sys.stderr.isatty():
            ids = '", "'.join(dict.fromkeys(map(_id, self.words)))
            return "POST", "/v1/batch", f'{{"unplug": ["{ids}"]}}'
        raise NotPlainError

    def text(self, answer: Any) -> str:
        """The answer as a table."""
        if self.verb == "show":
            return _aligned(_details(_without_warnings(answer)))
        vifs = [_without_warnings(vif) for vif in _without_warnings(answer)["vifs"]]
        if not vifs:
            return "no VIFs"
        if self.verb == "unplug":
            return _aligned([_UNPLUGGED_HEADERS, *map(_unplugged, vifs)])
        return _aligned([_HEADERS, *map(_row, vifs)])


def _id(word: str) -> str:
    """A VIF's id, as it is: a name, a part of an id or a MAC is left to the long way."""
    parts = word.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12] or not _HEXADECIMAL.issuperset("".join(parts)):
        raise NotPlainError
    return word


def _document(path: str) -> str:
    """The text of a simple document: an object or a list in ASCII, which the daemon reads and checks."""
    if os.stat(path).st_mode & 0o170000 != 0o100000:
        raise NotPlainError  # a pipe can be read only once
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _DOCUMENT_MAX + 1)
    finally:
        os.close(descriptor)
    if len(data) > _DOCUMENT_MAX or not data.isascii():
        raise NotPlainError
    text = data.decode()
    document = _parsed(text, of_objects=_once)
    if not document or not isinstance(document, dict | list):
        raise NotPlainError
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise NotPlainError  # a key that is there twice
    return content


def _number(digits: str) -> float:
    raise NotPlainError  # no VIF has one with a fraction


class _Syntax:
    """What json's scanner in C takes from a decoder."""

    strict = True
    object_hook = None
    parse_int = int

    def __init__(self, of_objects: Any, of_floats: Any) -> None:
        self.object_pairs_hook, self.parse_float, self.parse_constant = of_objects, of_floats, _number
        self.memo: dict[str, str] = {}


def _parsed(text: str, of_objects: Any = None, of_floats: Any = _number) -> Any:
    import _json

    begin = len(text) - len(text.lstrip(" \t\n\r"))
    try:
        value, end = _json.make_scanner(_Syntax(of_objects, of_floats))(text, begin)  # type: ignore[arg-type]
    except (StopIteration, ValueError, RecursionError) as error:
        raise NotPlainError from error
    if text[end:].strip(" \t\n\r"):
        raise NotPlainError
    return value


def _exchanged(path: str, method: str, target: str, body: str) -> tuple[bytes, bytes]:
    """Send a request; one that changes something only after the daemon has answered another one.

    :returns: the head and the body of the answer; without a head if the daemon ended the connection.
    :raises OSError, NotPlainError: nothing that changes something was sent.
    """
    import _socket

    peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)

    def limit(which: int, seconds: int) -> None:
        # Not settimeout: with it, a full backlog is EAGAIN at once.
        peer.setsockopt(_socket.SOL_SOCKET, which, seconds.to_bytes(8, sys.byteorder) + bytes(8))

    limit(_socket.SO_SNDTIMEO, _CONNECT_SECONDS)
    limit(_socket.SO_RCVTIMEO, _ALIVE_SECONDS)
    peer.connect(path)
    limit(_socket.SO_SNDTIMEO, 0)
    if method != "GET":
        peer.sendall(_head("GET", "/healthz", ""))
        if not _is_whole(*_answer(peer)):
            raise NotPlainError
        limit(_socket.SO_RCVTIMEO, 0)  # the daemon limits itself
        _Sent.request = f"{method} {target}"
    try:
        peer.sendall(_head(method, target, body) + body.encode())
        answer = _answer(peer)
    except OSError:
        if not _Sent.request:
            raise
        return b"", b""
    _Sent.request = f"{method} {target}"
    return answer


def _head(method: str, target: str, body: str) -> bytes:
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{about}\r\n".encode()


def _answer(peer: Any) -> tuple[bytes, bytes]:
    """The head and the body of an answer, as far as it comes."""
    received, end = b"", -1
    while len(received) < _ANSWER_MAX:
        chunk = peer.recv(1 << 18)
        received += chunk
        end = received.find(b"\r\n\r\n") if end < 0 else end
        if not chunk or (end > 0 and len(received) == end + 4 + _length(received[:end])):
            break
    return (received[:end], received[end + 4 :]) if end > 0 else (b"", b"")


def _length(head: bytes) -> int:
    """The length of an answer's body; -1 if the head does not say it."""
    lengths = [line[15:].strip() for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"]
    return int(lengths[0]) if len(lengths) == 1 and lengths[0].isdigit() else -1


def _is_whole(head: bytes, body: bytes) -> bool:
    """Whether it is a whole answer that reports success."""
    return head.startswith(b"HTTP/1.1 200 ") and _length(head) == len(body)


def _without_warnings(document: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("warnings"):
        raise NotPlainError  # they go to stderr
    return document


def _cell(value: object) -> str:
    text = _NOTHING if value is None or value == "" else str(value)
    if not (text.isascii() and text.isprintable()):
        raise NotPlainError
    return text


def _local(text: str) -> str:
    """A time of a report as ``model.durations.local`` writes it, without datetime."""
    import time

    date, _t, hours = text[:-1].partition("T")
    if len(text) != 24 or text[-1] != "Z" or hours[8] != ".":
        raise NotPlainError
    year, month, day = map(int, date.split("-"))
    hour, minute, second = map(int, hours[:8].split(":"))
    # The day's number: March is the first month, so that a leap day is the last of its year.
    years, months = year - (month < 3), (month - 3) % 12
    days = 365 * years + years // 4 - years // 100 + years // 400 + (153 * months + 2) // 5 + day - 719469
    there = time.localtime(86400 * days + 3600 * hour + 60 * minute + second)
    return "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*there) + hours[8:]


def _row(vif: dict[str, Any]) -> list[str]:
    names = ",".join(device["name"] for device in vif["devices"])
    numbers = ",".join(str(port["ofport"] or _NOTHING) for port in vif["ports"])
    instance = vif["instance"] or {}
    waiting = f"waits for {vif['waiting_for']}" if vif["waiting_for"] else ""
    absent = f"no guest since {_local(vif['absent_since'])}" if vif["absent_since"] else ""
    note = "; ".join(part for part in (vif["error"], waiting, absent) if part)
    shown = (vif[key] for key in ("id", "vif_type", "state", "address", "mtu", "bridge"))
    return [_cell(value) for value in (*shown, names, numbers, instance.get("name") or instance.get("uuid"), note)]


def _unplugged(vif: dict[str, Any]) -> list[str]:
    if vif["state"] == "unplugged" and vif["vif_type"] is None and vif["updated_at"] is None:
        raise NotPlainError  # absent: the id may be the UUID of an instance
    return [_cell(vif[key]) for key in ("id", "vif_type", "bridge", "state")]


def _details(vif: dict[str, Any]) -> list[tuple[str, str]]:
    instance = vif["instance"] or {}
    vif = {**vif, **{key: _local(vif[key]) for key in ("absent_since", "updated_at") if vif[key]}}
    named = [
        (key, _cell(value)) for key, value in vif.items() if not isinstance(value, dict | list) and key != "instance"
    ]
    named = [(key, value) for key, value in named if key != "absent_since" or value != _NOTHING]
    named.append(("instance", _cell(" ".join(str(v) for v in (instance.get("uuid"), instance.get("name")) if v))))
    named += [(kind[:-1], _fields(item)) for kind in ("devices", "ports") for item in vif[kind]]
    return named


def _fields(item: dict[str, Any]) -> str:
    return " ".join((_cell(item["name"]), *(f"{key}={_cell(value)}" for key, value in item.items() if key != "name")))


def _aligned(lines: list[Any]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _put(text: str) -> int:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        from vifplug.cli import answered

        return answered.unwritten(error)
    return 0


def _end(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """The console script: one command, and its exit code."""
    import _signal  # type: ignore[import-not-found]

    words, path, head, body = sys.argv[1:], "", b"", b""
    try:
        if None in (sys.stdin, sys.stdout, sys.stderr) or sys.stdout.isatty():
            raise NotPlainError
        command = _Command(words)
        method, target, request = command.request()
        path = command.socket()
        for number in (_signal.SIGTERM, _signal.SIGHUP):
            if _signal.getsignal(number) == _signal.SIG_DFL:
                _signal.signal(number, _end)
        head, body = _exchanged(path, method, target, request)
        if not _is_whole(head, body):
            raise NotPlainError
        return _put(command.text(_parsed(body.decode(), of_floats=float)))
    except (NotPlainError, OSError, KeyError, TypeError, ValueError):
        for number in (_signal.SIGTERM, _signal.SIGHUP):
            if _signal.getsignal(number) is _end:
                _signal.signal(number, _signal.SIG_DFL)
        if not _Sent.request:
            from vifplug.cli import main as long_way

            return long_way.main(words)
        from vifplug.cli import answered

        return answered.show(words, path, _Sent.request, head, body)
    except (KeyboardInterrupt, SystemExit) as error:
        from vifplug.cli import answered

        return answered.interrupted(error, changes=_Sent.request.startswith("POST"))
    except Exception as error:
        from vifplug.cli import answered

        return answered.failed(error)
