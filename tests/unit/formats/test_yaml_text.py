"""YAML documents: what is text, what is refused, and that what is written is read again, also as YAML 1.1."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vifplug import errors
from vifplug.formats.text import yaml_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00:11:22:33:44:55", "00:11:22:33:44:55"),
        ("11:22:33:44:55:10", "11:22:33:44:55:10"),  # 8738813590 in YAML 1.1
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("True", "True"),
        ("0755", "0755"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("2026-12-01", "2026-12-01"),
        ("0000:3b:10.2", "0000:3b:10.2"),
        ("<<", "<<"),
        ("12345678-1234-4123-8123-123456789012", "12345678-1234-4123-8123-123456789012"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("1450", 1450),
        ("-1", -1),
        ("1.5", 1.5),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1450'", "1450"),
        ('"null"', "null"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_plain_scalar_is_what_json_would_read_or_text(text: str, value: object) -> None:
    assert yaml_text.parse(f"key: {text}") == {"key": value}


def test_keys_are_text() -> None:
    assert yaml_text.parse("{1: a, no: b, null: c, 'x': d}") == {"1": "a", "no": "b", "null": "c", "x": "d"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3 column 1: the key 'a' is there twice in one mapping; give it once"),
        ("a: &x 1\nb: *x\n", "line 1 column 4: anchors and aliases are not supported; write the value again"),
        ("a: &x [1]\n", "anchors and aliases are not supported"),
        ("a: !!python/object/apply:os.system [id]\n", "the tag tag:yaml.org,2002:python/object/apply:os.system is not"),
        ("a: !!binary aGk=\n", "the tag tag:yaml.org,2002:binary is not supported"),
        ("a: !!str 1\n", "the tag tag:yaml.org,2002:str is not supported"),
        ("? [1]\n: 2\n", "a key must be text"),
        ("{" * 101 + "a" + ": 1}" * 101, "a key must be text"),
        ("[" * 101 + "]" * 101, "it is nested too deeply"),
        ("- " * 101 + "1", "it is nested too deeply"),
        ("[" * 100_000, "exceeded maximum nesting depth"),  # libyaml reads ahead, and has a limit of its own
        ("- " * 100_000, "it is nested too deeply"),
        ("a: 1\n---\nb: 2\n", "2 YAML documents; give a list in place of '---'"),
        ("just words", "neither JSON nor a YAML mapping or list"),
        ("---\n", "neither JSON nor a YAML mapping or list"),
        ("a: [1", "neither JSON nor YAML: "),
        ("a: b: c", "neither JSON nor YAML: mapping values are not allowed in this context, line 1 column 5"),
        ("\tkey: 1", "neither JSON nor YAML: "),
        ("a: \x07", "neither JSON nor YAML: "),
        ("a: " + "x" * 2**20, "larger than 1 MiB of YAML"),
        ("# " + "\N{BULLET}" * 2**19 + "\na: 1", "larger than 1 MiB of YAML"),
    ],
    ids=lambda value: value[:30],
)
def test_what_json_does_not_have_is_refused(text: str, reason: str) -> None:
    with pytest.raises(errors.InputError) as raised:
        yaml_text.parse(text)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(errors.InputError):
        json.dumps(yaml_text.parse(text), allow_nan=False)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_what_is_written_is_read_again_and_is_ascii(value: dict[str, Any]) -> None:
    written = yaml_text.dumps(value)
    assert written.isascii()
    assert yaml.safe_load(written) == value


@pytest.mark.parametrize(
    "text", ["00:11:22:33:44:55", "11:22:33:44:55:10", "no", "0755", "2026-12-01", "null", "1e5", ""]
)
def test_text_that_yaml_reads_as_another_value_is_quoted(text: str) -> None:
    assert yaml_text.parse(yaml_text.dumps({"key": text})) == {"key": text}
    assert yaml.safe_load(yaml_text.dumps({"key": text})) == {"key": text}


def test_written_text_cannot_steer_a_terminal() -> None:
    written = yaml_text.dumps({"name": "\x1b[2J\u202evm\x9b", "lone": "\udcff"})
    assert written == 'name: "\\e[2J\\u202Evm\\x9B"\nlone: \\xff'
