"""OVSDB's messages in pieces: cut anywhere, several in one piece, and what is no JSON."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ovs.jsonrpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vifplug.privileged.ovsdb.jsonrpc import Parser, Session

TEXT = st.text(alphabet=st.sampled_from('ab{}[]",\\:é\u2603\n '), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(TEXT, VALUES, max_size=4) | st.lists(VALUES, max_size=4)


def read(pieces: list[str]) -> list[Any]:
    """As python-ovs' ``Connection.recv`` feeds a parser: what it leaves of a piece goes to the next message's."""
    messages: list[Any] = []
    parser = Parser()
    for piece in pieces:
        rest = piece
        while rest:
            taken = parser.feed(rest)
            assert taken == len(rest) or parser.is_done()
            rest = rest[taken:]
            if parser.is_done():
                messages.append(parser.finish())
                parser = Parser()
    return messages


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.lists(st.integers(1, 9), min_size=1), st.booleans())
def test_messages_cut_anywhere(messages: list[Any], lengths: list[int], ascii_only: bool) -> None:
    stream = "".join(json.dumps(message, ensure_ascii=ascii_only) for message in messages)
    pieces: list[str] = []
    position = 0
    while position < len(stream):
        length = lengths[len(pieces) % len(lengths)]
        pieces.append(stream[position : position + length])
        position += length
    assert read(pieces) == messages


def test_an_unfinished_message_is_not_done() -> None:
    parser = Parser()
    text = '{"id": 1, "result": [{"rows": ["}"'
    assert parser.feed(text) == len(text)
    assert not parser.is_done()


@pytest.mark.parametrize("text", ["{]", '{"a" 1}', "[1,,2]", "]", "HTTP/1.1 400 Bad Request", '{"a": nothing}'])
def test_what_is_no_json_is_a_sentence(text: str) -> None:
    (reported,) = read([text])[:1]
    assert isinstance(reported, str)  # which python-ovs takes for an error, and ends the connection
    assert reported.startswith("not JSON: ")


# -- questions beside the IDL's own ---------------------------------------------------------------------------


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Session, socket.socket]]:
    """A connected session, and the server's end of it."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "db.sock"))
        listening.listen()
        session = Session(ovs.jsonrpc.Session.open(f"unix:{tmp_path / 'db.sock'}"), [f"unix:{tmp_path / 'db.sock'}"])
        deadline = time.monotonic() + 10
        while not session.is_connected():
            session.run()
            assert time.monotonic() < deadline
        peer, _address = listening.accept()
        with peer:
            yield session, peer
        session.close()


def answered(peer: socket.socket, **output: Any) -> Any:
    """Answer the next request; its id."""
    request = json.loads(peer.recv(65536))
    peer.sendall(json.dumps({"id": request["id"], "result": None, "error": None} | output).encode())
    return request["id"]


def test_answer_wakes_only_its_requester(ends: tuple[Session, socket.socket]) -> None:
    session, peer = ends
    answer = session.ask("transact", ["Open_vSwitch"])
    assert answer is not None
    answered(peer, result=[{}])
    peer.sendall(json.dumps({"id": None, "method": "update3", "params": []}).encode())
    message = session.recv()
    assert message.method == "update3", "the IDL hears of all but the answer"
    assert answer.wait(0)


def test_update_before_an_answer_is_read_first(ends: tuple[Session, socket.socket]) -> None:
    session, peer = ends
    answer = session.ask("transact", ["Open_vSwitch"])
    assert answer is not None
    peer.sendall(json.dumps({"id": None, "method": "update3", "params": []}).encode())
    answered(peer, result=[{}])
    assert session.recv().method == "update3"
    with pytest.raises(TimeoutError):
        answer.wait(0)
    assert session.recv() is None
    assert answer.wait(0)


@pytest.mark.parametrize("ending", ["an error", "the end"])
def test_failed_answer_is_reported_too(ends: tuple[Session, socket.socket], ending: str) -> None:
    session, peer = ends
    answer = session.ask("transact", ["Open_vSwitch"])
    assert answer is not None
    if ending == "an error":
        answered(peer, error="not leader")
        assert session.recv() is None
    else:
        threading.Timer(0.05, session.fail_pending).start()
    assert not answer.wait(5)


def test_nothing_is_asked_without_a_connection_or_behind_what_is_not_sent(ends: tuple[Session, socket.socket]) -> None:
    session, peer = ends
    while not session.get_backlog():
        session.send(ovs.jsonrpc.Message.create_notify("x" * 65536, []))
    assert session.ask("transact", []) is None
    peer.close()
    deadline = time.monotonic() + 10
    while session.is_connected():
        session.run()
        session.recv()
        assert time.monotonic() < deadline
    assert session.ask("transact", []) is None
