"""The helper's end of the channel: what is too large is passed over, and the next message is found."""

from __future__ import annotations

import random
import socket
import threading
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from vifplug.privileged import arguments
from vifplug.privileged.helper import message_reader, serve
from vifplug.privileged.helper.message_reader import Malformed, Skipper, Unbounded

VALUES: tuple[Any, ...] = (
    *(None, True, 0, 127, -1, -32, -33, 255, 256, 65536, 2**32, 2**63, -(2**63), 1.5),
    *("", "a" * 31, "a" * 32, "a" * 300, "a" * 70_000, b"", b"b" * 300, b"b" * 70_000),
    *([], {}, [[]], [1, [2, {"a": [3]}]], {"a": {"b": {}}}, list(range(20)), list(range(70_000))),
    {str(number): number for number in range(70_000)},
    msgpack.ExtType(5, b"x"),
    msgpack.ExtType(5, b"x" * 300),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {str(value)[:20]}")
def test_end_of_a_value_is_found_however_it_is_cut(value: Any) -> None:
    data = msgpack.packb(value, use_bin_type=True)
    assert Skipper().end_in(data + b"\xc0") == len(data)
    cuts = random.Random(5)
    for _ in range(20):
        found, skim, at = None, Skipper(), 0
        while found is None:
            piece = (data + b"\xc0\xc0")[at : at + cuts.choice((1, 2, 7, max(1, len(data) // 3)))]
            found = skim.end_in(piece)
            at += len(piece) if found is None else found
        assert at == skim.size == len(data)
        if len(data) > 1000:
            break


@pytest.mark.parametrize("data", [b"\xc1", b"\x92\x01\xc1"])
def test_what_is_no_value_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        Skipper().end_in(data)


def stream_of(*messages: bytes) -> tuple[serve._Stream, threading.Thread]:
    ours, theirs = socket.socketpair()

    def send() -> None:
        with ours:
            for message in messages:
                ours.sendall(message)

    thread = threading.Thread(target=send)
    thread.start()
    return serve._Stream(theirs), thread


def packed(*arguments: Any, number: str = "n") -> bytes:
    data: bytes = msgpack.packb((number, (3, "verb", arguments, {})))
    return data


GOOD = packed({"name": "qvo"}, number="good")
TOO_MUCH = {
    "bytes": packed("x" * serve.MESSAGE_BYTES_MAX),
    "bytes by far": packed(b"x" * (30 << 20)),
    "values": packed(["ab"] * (message_reader.VALUES_MAX + 1)),
    "maps": packed([{}] * (message_reader.VALUES_MAX + 1)),
    "depth": b"\x92\xa1n" + b"\x91" * 5000 + b"\xc0",
    "a key that is no key": packed(b"?").replace(b"\xc4\x01?", b"\x81\x80\x01"),
    "an extension": packed(msgpack.ExtType(5, b"x")),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_is_too_much_is_refused_by_its_number_and_the_next_is_read(kind: str) -> None:
    stream, thread = stream_of(GOOD, TOO_MUCH[kind], GOOD, packed(list(range(30_000))), GOOD)
    assert stream.message() == (("good", (3, "verb", ({"name": "qvo"},), {})), len(GOOD))
    with pytest.raises(Unbounded) as caught:
        stream.message()
    assert caught.value.number == "n"
    assert stream.message()[0][0] == "good"
    assert stream.message()[0][1][2] == (tuple(range(30_000)),)
    assert stream.message()[0][0] == "good"
    with pytest.raises(EOFError):
        stream.message()
    thread.join()
    stream._sock.close()


@pytest.mark.parametrize("given", [float("nan"), float("inf"), -1, 10**9])
def test_time_to_wait_always_has_an_end(given: float) -> None:
    """No comparison with NaN is true: a verb that waited until it is over would never return."""
    assert arguments.seconds(given, 5.0) == 5.0
    assert arguments.seconds(0.5, 5.0) == 0.5
