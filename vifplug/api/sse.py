"""Parses server-sent events from a stream of bytes, by the HTML standard. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_FRAME_MAX = 2**20
"""Bytes; an event has a few hundred. The limit is for another program on the socket, not for a daemon."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. A comment, which only shows that the other side is alive, does not count."""

    id: str | None
    """The id to resume from; None if the frame has none."""
    data: str
    """Its lines; empty if the frame has only an id."""


class Parser:
    """Splits a stream into frames, independently of how it was received. An unfinished frame is dropped."""

    def __init__(self) -> None:
        self._incomplete = b""
        self._id: str | None = None
        self._data: list[str] = []
        self._size = 0

    def feed(self, part: bytes) -> list[Frame]:
        """The frames that this part completes.

        :raises ValueError: it is not text, or a frame does not end.
        """
        *lines, self._incomplete = (self._incomplete + part).split(b"\n")
        if len(self._incomplete) > _FRAME_MAX:
            raise ValueError("a line without an end")
        return [frame for line in lines if (frame := self._line(line.removesuffix(b"\r"))) is not None]

    def _line(self, line: bytes) -> Frame | None:
        if not line:
            return self._end()
        if line.startswith(b":"):
            return None
        self._size += len(line)
        if self._size > _FRAME_MAX:
            raise ValueError("a frame without an end")
        name, _colon, value = line.decode().partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self._id = value
        elif name == "data":
            self._data.append(value)
        return None

    def _end(self) -> Frame | None:
        frame = Frame(self._id, "\n".join(self._data)) if self._data or self._id is not None else None
        self._id, self._data, self._size = None, [], 0
        return frame
