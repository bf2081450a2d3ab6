"""Finds the end of each request of a connection, strictly by RFC 9112. Pure.

h11 takes bare line feeds, folded lines, several Content-Length headers that agree, Content-Length beside
Transfer-Encoding, chunk extensions and trailers. A proxy in front of the daemon may parse the same bytes differently,
and its body would be a request here (request smuggling). So a connection's bytes pass this check first, and h11 only
gets unambiguous ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

LINE_MAX = 16 * 1024
"""Bytes of a line; h11 limits the whole head to the same."""
_CHUNK_LINE_MAX = 32

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/(1\.[01])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_WITHOUT_BODY = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "CONNECT"))


def is_last(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a connection must end with this request, whatever follows it.

    That is the case if a proxy may interpret the following bytes differently: as another protocol (Upgrade, CONNECT),
    the body of a request whose method has none (RFC 9110, section 9.3), or a request to another server (a target with a
    host).
    """
    given = dict(headers)
    has_body = b"transfer-encoding" in given or given.get(b"content-length", b"").strip(b"0") != b""
    return b"upgrade" in given or not path.startswith("/") or (method in _WITHOUT_BODY and has_body)


class _Part(Enum):
    """The part that the next byte belongs to."""

    REQUEST_LINE = "the request line"
    FIELDS = "the header"
    BODY = "the body"
    CHUNK_SIZE = "a chunk's size"
    CHUNK = "a chunk"
    CHUNK_END = "a chunk's end"
    LAST_LINE = "the end of a chunked body"


class Framing:
    """The bytes of one connection, checked as they arrive."""

    def __init__(self) -> None:
        self.fault = ""
        """Why bytes after those already passed on are refused; empty if none are."""
        self._part = _Part.REQUEST_LINE
        self._line = b""
        """An incomplete line."""
        self._left = 0
        """Remaining bytes of a body or a chunk."""
        self._is_http_1_1 = False
        self._lengths: list[bytes] = []
        self._codings: list[bytes] = []

    def take(self, data: bytes) -> bytes:
        """The part of these and earlier bytes that may be passed on; nothing after a fault.

        The empty line that ends a head is passed on only if the whole head is valid.
        """
        passed, data, self._line = bytearray(), self._line + data, b""
        position = 0
        while position < len(data) and not self.fault:
            if self._part in (_Part.BODY, _Part.CHUNK):
                end = min(position + self._left, len(data))
                self._left -= end - position
                if not self._left:
                    self._part = _Part.REQUEST_LINE if self._part is _Part.BODY else _Part.CHUNK_END
            else:
                end = data.find(b"\n", position) + 1
                if not end:
                    self._hold(data[position:])
                    break
                self.fault = self._read(data[position:end])
            if not self.fault:
                passed += data[position:end]
            position = end
        return bytes(passed)

    def _hold(self, line: bytes) -> None:
        """Keep an incomplete line; refuse one that cannot become valid, such as a TLS handshake."""
        is_size = self._part in (_Part.CHUNK_SIZE, _Part.CHUNK_END, _Part.LAST_LINE)
        if len(line) > (_CHUNK_LINE_MAX if is_size else LINE_MAX):
            self.fault = f"{self._part.value} is too long"
        elif self._part is _Part.REQUEST_LINE and line[0] <= 0x20 and line != b"\r":
            self.fault = "the request line is malformed"
        self._line = line

    def _read(self, ended: bytes) -> str:
        """Process a complete line; the fault, or nothing."""
        if not ended.endswith(b"\r\n"):
            return f"{self._part.value} has a line that ends without a carriage return"
        if len(ended) > LINE_MAX:
            return f"{self._part.value} is too long"
        line = ended[:-2]
        match self._part:
            case _Part.REQUEST_LINE:
                return self._read_request_line(line)
            case _Part.FIELDS:
                return self._read_field(line) if line else self._end_head()
            case _Part.CHUNK_SIZE:
                return self._read_chunk_size(line)
            case _:
                self._part = _Part.CHUNK_SIZE if self._part is _Part.CHUNK_END else _Part.REQUEST_LINE
                return "a chunked body has a chunk whose size is wrong, or a trailer" if line else ""

    def _read_request_line(self, line: bytes) -> str:
        matched = _REQUEST_LINE.fullmatch(line)
        if matched is None:
            return "the request line is malformed; it must be METHOD PATH HTTP/1.1"
        self._is_http_1_1 = matched[1] == b"1.1"
        self._lengths, self._codings = [], []
        self._part = _Part.FIELDS
        return ""

    def _read_field(self, line: bytes) -> str:
        given, colon, value = line.partition(b":")
        if not (colon and _NAME.fullmatch(given) and _VALUE.fullmatch(value)):
            return "the header has a malformed line: folded, with space before the colon, or with control characters"
        name, value = given.lower(), value.strip(b" \t")
        if name == b"content-length":
            self._lengths.append(value)
        elif name == b"transfer-encoding":
            self._codings.append(value)
        return ""

    def _end_head(self) -> str:
        if self._codings and self._lengths:
            return "it has both Content-Length and Transfer-Encoding; give one of them"
        if len(self._lengths) > 1:
            return "it has several Content-Length headers; give one"
        if self._lengths and not _LENGTH.fullmatch(self._lengths[0]):
            return "Content-Length is not a number; it must have digits only"
        if self._codings and [coding.lower() for coding in self._codings] != [b"chunked"]:
            return "Transfer-Encoding must be chunked only"
        if self._codings and not self._is_http_1_1:
            return "HTTP/1.0 has no Transfer-Encoding; use Content-Length or HTTP/1.1"
        self._left = int(self._lengths[0]) if self._lengths else 0
        self._part = _Part.CHUNK_SIZE if self._codings else _Part.BODY if self._left else _Part.REQUEST_LINE
        return ""

    def _read_chunk_size(self, line: bytes) -> str:
        if not _CHUNK_SIZE.fullmatch(line):
            return "a chunk's size is malformed; it must have hexadecimal digits only, without an extension"
        self._left = int(line, 16)
        self._part = _Part.CHUNK if self._left else _Part.LAST_LINE
        return ""
