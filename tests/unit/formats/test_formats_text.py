"""JSON text, and whatever else arrives where JSON text should be."""

from __future__ import annotations

from typing import Any

import pytest

from vifplug import errors, formats
from vifplug.formats.text import json_text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"a": [1, 2.5, true, null, "x"]}', {"a": [1, 2.5, True, None, "x"]}),
        (b'"\xc3\xa9"', "é"),
        (b"\xef\xbb\xbf[]", []),
        ("\ufeff[]", []),
        (" \n[]\n", []),
        ("[" * 100 + "]" * 100, None),
    ],
)
def test_json_is_read(given: str | bytes, expected: Any) -> None:
    parsed = formats.parse(given)
    assert expected is None or parsed == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "the document is empty; it must be JSON with one VIF or a list of them"),
        (b" \n\t", "the document is empty; it must be JSON with one VIF or a list of them"),
        ("\ufeff", "the document is empty; it must be JSON with one VIF or a list of them"),
        (b"\xff\xfe\x00", "the document is not text in UTF-8 (at position 0); it must be JSON"),
        ("[\udcff]", "the document is not text in UTF-8 (at position 1); it must be JSON"),
        (b"\x00\x01", "the document is not JSON: expecting value, line 1 column 1"),
        ("id: x", "the document is not JSON: expecting value, line 1 column 1"),
        ('{"a": 1,\n "b" 2}', "the document is not JSON: expecting ':' delimiter, line 2 column 6"),
        ("{}\n{}", "the document is not JSON: extra data, line 2 column 1"),
        ("[" * 100_000, "JSON nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "JSON nested too deeply"),
        ('{"a":' * 100_000, "JSON nested too deeply"),
        ("[NaN]", "the document is not JSON: NaN is not a number JSON has"),
        ("-Infinity", "the document is not JSON: -Infinity is not a number JSON has"),
        ("[1e999]", "the document holds the number '1e999', which is too large"),
        ("1" * 5000, "the document holds a number of 5000 digits, which is too large"),
        ('{"id": 1, "id": 2}', "the document has the key 'id' twice in one object; give it once"),
    ],
    ids=range(17),
)
def test_what_is_not_json_is_refused(given: str | bytes, message: str) -> None:
    for read in (formats.parse, formats.load_all):
        with pytest.raises(errors.InputError) as refused:
            read(given)
        assert str(refused.value) == message


@pytest.mark.parametrize(
    "given", [b" " * (json_text.SIZE_MAX + 1), "é" * (json_text.SIZE_MAX // 2 + 1)], ids=["bytes", "utf-8"]
)
def test_text_too_large_is_refused(given: str | bytes) -> None:
    with pytest.raises(errors.InputError) as refused:
        formats.parse(given)
    assert str(refused.value) == "the document is larger than 16 MiB; it must be one VIF or a list of them"


def test_no_text_at_all_is_refused() -> None:
    with pytest.raises(errors.InputError) as refused:
        formats.parse(5)  # type: ignore[arg-type]
    assert str(refused.value) == "the document: 5: it must be JSON text, a str or bytes"
