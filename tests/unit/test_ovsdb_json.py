"""OVSDB's messages in pieces: cut anywhere, several in one piece, and what is no JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vifplug.privileged.ovsdb_json import Parser

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
    (told,) = read([text])[:1]
    assert isinstance(told, str)  # which python-ovs takes for an error, and ends the connection
    assert told.startswith("not JSON: ")
