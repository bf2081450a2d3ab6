"""YAML text <-> the values that JSON has, and no others.

A plain scalar is a number, true, false or null only where JSON would read it so (YAML 1.2's JSON schema); anything
else is text. YAML 1.1, which PyYAML resolves by itself, would read ``no`` as false, ``0755`` as 493, and the MAC
``11:22:33:44:55:10``, a number to the base of 60, as 8738813590. Tags, anchors, aliases and merge keys have no
counterpart in JSON and are refused: an alias can make a small text a huge document.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from vifplug.errors import InputError
from vifplug.model import printable
from vifplug.model.quoting import quote

SIZE_MAX_MIB = 1
SIZE_MAX = SIZE_MAX_MIB * 2**20
"""Bytes of UTF-8; PyYAML reads some hundred kilobytes in a second."""
DEPTH_MAX = 100
"""Of lists and mappings in each other."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIGITS_MAX = 300
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_CONSTANTS = {"null": None, "~": None, "": None, "true": True, "false": False}


class _Dumper(yaml.SafeDumper):
    """Without anchors for values that occur twice."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


# Text that this module would read as a number, such as 1e5, is quoted.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"{_NUMBER.pattern}\Z"), [*"-0123456789"])


def parse(text: str) -> object:
    """The content of a YAML document: a mapping, or a list.

    :raises InputError: it is too large, no YAML, nested too deeply, a scalar or several documents; for a duplicate key,
        and for what JSON does not have.
    """
    if len(text) > SIZE_MAX or len(text.encode()) > SIZE_MAX:
        raise InputError(f"the document is larger than {SIZE_MAX_MIB} MiB of YAML; give JSON, or fewer VIFs at once")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise InputError(
            f"the document is neither JSON nor YAML: {error.problem}{_place(error.problem_mark)}"
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"the document is neither JSON nor YAML: {' '.join(str(error).split())}") from None
    return builder.document()


def dumps(value: Any) -> str:
    """A value as YAML, in ASCII: any other character is escaped. A YAML 1.1 reader reads the same."""
    text = yaml.dump(printable.document(value), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=1000)
    return text.removesuffix("\n...\n").rstrip("\n")


def _place(mark: Any) -> str:
    return f", line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""


class _Builder:
    """Builds values from PyYAML's events; not recursive, so no depth exhausts the stack."""

    def __init__(self) -> None:
        self._documents: list[Any] = []
        self._open: list[tuple[Any, str | None]] = []
        """The lists and mappings that are open, and the key that waits for its value."""

    def document(self) -> object:
        if len(self._documents) > 1:
            raise InputError(f"the text holds {len(self._documents)} YAML documents; give a list in place of '---'")
        content = self._documents[0] if self._documents else None
        if not isinstance(content, dict | list):
            raise InputError("the document is neither JSON nor a YAML mapping or list; give one VIF or a list of them")
        return content

    def take(self, event: Any) -> None:
        """The next event of the parser."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._refuse(event, "anchors and aliases are not supported; write the value again")
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            if event.tag is not None and event.tag != "!":
                self._refuse(event, f"the tag {event.tag} is not supported")
            if len(self._open) >= DEPTH_MAX:
                self._refuse(event, "it is nested too deeply")
            self._open_new(event, [] if isinstance(event, yaml.SequenceStartEvent) else {})
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._open.pop()

    def _take_scalar(self, event: Any) -> None:
        if self._awaits_key():
            self._take_key(event)
            return
        # (True, False): a plain scalar without a tag; (False, True): a quoted one.
        if not any(event.implicit):
            self._refuse(event, f"the tag {event.tag} is not supported")
        self._add(_plain(event.value) if event.implicit[0] else event.value)

    def _take_key(self, event: Any) -> None:
        container, _key = self._open[-1]
        if event.value in container:
            self._refuse(event, f"the key {quote(event.value)} is there twice in one mapping; give it once")
        self._open[-1] = (container, event.value)

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1][0], dict) and self._open[-1][1] is None

    def _open_new(self, event: Any, container: Any) -> None:
        if self._awaits_key():
            self._refuse(event, "a key must be text")
        self._add(container)
        self._open.append((container, None))

    def _add(self, value: Any) -> None:
        if not self._open:
            self._documents.append(value)
            return
        container, key = self._open[-1]
        if isinstance(container, list):
            container.append(value)
        else:
            container[key] = value
            self._open[-1] = (container, None)

    def _refuse(self, event: Any, reason: str) -> NoReturn:
        raise InputError(f"the YAML document{_place(event.start_mark)}: {reason}")


def _plain(text: str) -> Any:
    """The value of a scalar without quotes."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > _DIGITS_MAX or not _NUMBER.fullmatch(text):
        return text
    return int(text) if _INTEGER.fullmatch(text) else _finite(text)


def _finite(text: str) -> float | str:
    value = float(text)
    # A hexadecimal name such as 12e456 is text, as every number that JSON cannot hold.
    return value if abs(value) != float("inf") else text
