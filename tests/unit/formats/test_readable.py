"""Names of any bytes are made printable, and what is text already stays as it is."""

from __future__ import annotations

import json
import os

import pytest

from vifplug import naming
from vifplug.cli import tables
from vifplug.model import printable as readable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"br\xff", "br\\xff"),
        (b"\xc3(", "\\xc3("),
        ("Grüße \N{GRINNING FACE}".encode(), "Grüße \N{GRINNING FACE}"),
        (b"a\x1bb", "a\x1bb"),
        (b"", ""),
    ],
)
def test_bytes_that_are_no_utf_8_are_written_out(name: bytes, shown: str) -> None:
    read = naming.decoded(name)
    assert naming.encoded(read) == name == os.fsencode(read)
    assert readable.text(read) == shown
    assert readable.text(shown) == shown


def test_document_without_lone_surrogates_is_as_ever() -> None:
    document = {"name": "\N{GRINNING FACE}", "list": ["a\\ud8", 1, None, True, 0.5]}
    assert readable.dumps(document) == json.dumps(document)
    assert readable.dumps(document, indent=2) == json.dumps(document, indent=2)


def test_lone_surrogates_in_any_place_are_written_out() -> None:
    document = {"\udcff": ["\udcfe\N{GRINNING FACE}", {"x": "\ud800"}], "y": ("\udc80",)}
    found = json.loads(readable.dumps(document))
    json.dumps(found, ensure_ascii=False).encode()
    assert found == {"\\xff": ["\\xfe\N{GRINNING FACE}", {"x": "\\ud800"}], "y": ["\\x80"]}


def test_terminal_gets_neither_bytes_nor_control_characters() -> None:
    assert tables.printable("a\udcff\x1b[31m\n\u202e") == "a\\xff\\x1b[31m\\n\\u202e"


@pytest.mark.parametrize("name", ["", "x" * 16, "a/b", "a\0", "é" * 8, "\ud800"])
def test_name_that_no_link_can_have(name: str) -> None:
    assert not naming.may_be_a_link(name)


@pytest.mark.parametrize("name", ["a", "x" * 15, "%", "a b", "\udcff" * 15, "a:b"])
def test_name_that_a_link_of_others_may_have(name: str) -> None:
    assert naming.may_be_a_link(name)
