"""Finds the end of a msgpack value without building it, so that a value that is too large is skipped in bounded memory.

The formats are those of the msgpack specification (github.com/msgpack/msgpack, spec.md).
"""

from __future__ import annotations

VALUES_MAX, DEPTH_MAX = 100_000, 32
"""Limits of one message. A plan of 1,000 actions has 30,000 values; ours are 8 levels deep."""
_PASSED_MAX = 20_000_000
"""Values that are skipped, at some 5 million a second, before the channel is closed."""

_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4}
_FIXED |= {0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
"""The number of bytes that follow a value's first byte."""
_COUNTED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNTED |= {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""The number of bytes of the length that follows."""
_EXTENSIONS, _ARRAYS, _MAPS = (0xC7, 0xC8, 0xC9), (0xDC, 0xDD), (0xDE, 0xDF)


class Malformed(Exception):
    """The received data is not a value."""


class Unbounded(Exception):
    """A message exceeds a limit.

    :param number: the message's, if it is known.
    """

    def __init__(self, number: str | None, text: str) -> None:
        super().__init__(text)
        self.number = number


class Skipper:
    """Skips one value that comes in pieces."""

    def __init__(self) -> None:
        self.size = self.values = 0
        self.excess = ""
        """The limit that was exceeded."""
        self._left: list[int] = [1]
        """The number of values to come, for each open container."""
        self._skip = 0
        self._header = b""

    def end_in(self, piece: bytes | bytearray) -> int | None:
        """The number of bytes of a piece that belong to the value, if it ends there.

        :raises Malformed: it is not a value.
        """
        data = self._header + bytes(piece)
        before, self._header = len(self._header), b""
        at = 0
        while self._left:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                if self._skip:
                    break
                self._close()
                continue
            header = self._read(data, at)
            if header == 0:
                self._header = data[at:]
                at = len(data)
                break
            at += header
        self.size += at - before
        return None if self._left else at - before

    def _read(self, data: bytes, at: int) -> int:
        """Read a value's head; its length in bytes, 0 if it is incomplete."""
        if at >= len(data):
            return 0
        first = data[at]
        length, inside, follows = 1, 0, 0
        if first in _COUNTED:
            width = _COUNTED[first]
            length += width
            if at + length > len(data):
                return 0
            count = int.from_bytes(data[at + 1 : at + length], "big")
            inside = count if first in _ARRAYS else 2 * count if first in _MAPS else 0
            follows = 0 if first in (*_ARRAYS, *_MAPS) else count + (first in _EXTENSIONS)
        elif 0x80 <= first <= 0x8F:
            inside = 2 * (first & 0x0F)
        elif 0x90 <= first <= 0x9F:
            inside = first & 0x0F
        elif 0xA0 <= first <= 0xBF:
            follows = first & 0x1F
        elif first in _FIXED:
            follows = _FIXED[first]
        elif first == 0xC1:
            raise Malformed("a byte that cannot start a value")
        self._count(inside)
        if inside:
            self._left.append(inside)
        elif follows:
            self._skip = follows
        else:
            self._close()
        return length

    def _count(self, inside: int) -> None:
        self.values += 1
        if self.values > _PASSED_MAX:
            raise Malformed(f"more than {_PASSED_MAX} values in one message")
        if self.values + inside > VALUES_MAX:
            self.excess = self.excess or f"a message of more than {VALUES_MAX} values"
        if len(self._left) > DEPTH_MAX:
            self.excess = self.excess or f"a message more than {DEPTH_MAX} deep"
            if len(self._left) > 10_000:
                raise Malformed("a message that is nested without end")

    def _close(self) -> None:
        """A value has ended, and with the last one of a container that container."""
        while self._left:
            self._left[-1] -= 1
            if self._left[-1]:
                return
            self._left.pop()
