"""What framing.py lets pass has one meaning: h11 reads the same requests in it, with the same bodies."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from vifplug.daemon.http.framing import LINE_MAX, Framing

_PARTS = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n\r\n",
            b"\n\n",
            b" ",
            b"\t",
            b"0",
            b"2",
            b"a",
            b"{}",
            b";x",
            b",",
            b"\x00",
            b"+",
        ),
        *(b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n", b"POST /x HTTP/1.0\r\n", b"Host: x\r\n", b"Host: x\r\n\r\n"),
        *(b"Content-Length: ", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: "),
        *(b"2\r\n{}\r\n", b"0\r\n\r\n", b"chunked", b"identity"),
    ]
)


def _read(data: bytes) -> list[tuple[bytes, bytes]]:
    """Method and body of each request that h11 finds; it must find nothing wrong."""
    connection, found = h11.Connection(h11.SERVER), list[tuple[bytes, bytes]]()
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return found
        if isinstance(event, h11.Request):
            method, body = event.method, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            found.append((method, body))
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                return found
            connection.start_next_cycle()


@given(st.lists(_PARTS, max_size=24), st.integers(min_value=1, max_value=7))
def test_bytes_cut_anywhere_are_judged_alike(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    whole, cut = Framing(), Framing()
    passed = whole.take(data)
    assert b"".join(cut.take(data[n : n + size]) for n in range(0, len(data), size)) == passed
    assert bool(cut.fault) == bool(whole.fault)
    assert data.startswith(passed)


@given(st.lists(_PARTS, max_size=24))
def test_what_passes_holds_no_request_that_h11_alone_sees(parts: list[bytes]) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    framing = Framing()
    passed = framing.take(head + b"".join(parts))
    assert passed.startswith(head)
    try:
        found = _read(passed)
    except h11.RemoteProtocolError:
        return  # h11 asks for Host beside, for instance
    assert found[0] == (b"POST", b"{}")
    if not framing.fault:
        assert framing.take(b"") == b""


def test_line_without_end_is_bounded() -> None:
    framing = Framing()
    assert framing.take(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(2):
        framing.take(b"x" * LINE_MAX)
    assert "too long" in framing.fault
    assert framing.take(b"\r\n\r\n") == b""


def test_line_of_spaces_costs_no_time() -> None:
    """A pattern that may try each way to split them would take seconds."""
    framing = Framing()
    framing.take(b"GET / HTTP/1.1\r\nX:" + b" " * 15_000 + b"\x01\r\n")
    assert framing.fault
