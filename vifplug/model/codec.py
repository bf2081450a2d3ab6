"""Dataclass <-> JSON, for every answer and report; the dataclass determines the keys. Pure.

``Value`` gives a frozen dataclass ``as_json`` and ``from_json``. A field's metadata describes deviations:

- ``HIDDEN``: not in the JSON.
- ``NEEDED``: the JSON must have it, although the dataclass has a default.
- ``omitted_with("absent")``: left out of the JSON when the field of that name is None; ``OMITTED``, when it is None
  itself.
- ``named("checks")``: the key, if it is not the field's name.

Properties in a class's ``COMPUTED`` are written before the fields, and not read back. Writer and reader of a class are
compiled once, from its type hints. Nothing heavy is imported here: it would delay each start of the command line.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

HIDDEN: Mapping[str, Any] = {"hidden": True}
NEEDED: Mapping[str, Any] = {"needed": True}
OMITTED: Mapping[str, Any] = {"omitted": True}

_Convert = Callable[[Any], Any]


def omitted_with(attribute: str) -> Mapping[str, Any]:
    """The metadata of a field that is omitted if another one is None."""
    return {"omitted_with": attribute}


def named(key: str, **more: Any) -> Mapping[str, Any]:
    """The metadata of a field with another JSON key."""
    return {"name": key, **more}


class Value:
    """A dataclass with a JSON form."""

    __slots__ = ()
    COMPUTED: ClassVar[tuple[str, ...]] = ()
    """Properties that are part of the JSON."""
    __pydantic_config__: ClassVar[dict[str, Any]] = {"use_attribute_docstrings": True, "extra": "forbid"}
    """For the daemon's OpenAPI description, which pydantic derives from these classes; a plain dict needs no import."""

    def as_json(self) -> dict[str, Any]:
        """The JSON object: one key a field, in order."""
        written = {name: getattr(self, name) for name in self.COMPUTED}
        for attribute, key, _needed, beside, write, _read in fields_of(type(self)):
            if beside is not None and getattr(self, beside) is None:
                continue
            value = getattr(self, attribute)
            written[key] = value if value is None or write is None else write(value)
        return written

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The value from the output of ``as_json``; unknown keys, which a later version may have added, are ignored.

        :raises KeyError, TypeError, ValueError: for anything else.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"not a JSON object for a {cls.__name__}: {data!r:.80}")
        given: dict[str, Any] = {}
        for field in fields_of(cls):
            if field.key in data:
                value = data[field.key]
                given[field.attribute] = value if field.read is None else field.read(value)
            elif field.is_needed:
                raise KeyError(field.key)
        return cls(**given)


class Keyed(Value, Mapping[str, Any]):
    """A value that was a plain map before it had a type: it can still be read as a map, with the keys of its JSON."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        return self.as_json()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_json())

    def __len__(self) -> int:
        return len(self.as_json())


class Field(typing.NamedTuple):
    """The writing and reading of a ``Value``'s field."""

    attribute: str
    key: str
    """The key in the JSON."""
    is_needed: bool
    omitted_with: str | None
    """The field that must not be None for it to be written."""
    write: _Convert | None
    """None if the JSON is the value itself."""
    read: _Convert | None


_fields: dict[type[Value], Sequence[Field]] = {}
"""By class, once it was written or read. Two threads may both compute one."""


def fields_of(cls: type[Value]) -> Sequence[Field]:
    """The fields of a class that are in its JSON, in order."""
    known = _fields.get(cls)
    if known is None:
        hints = typing.get_type_hints(cls)
        fields = (_field(field, hints[field.name]) for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        known = _fields[cls] = [field for field in fields if field is not None]
    return known


def _field(field: dataclasses.Field[Any], hint: Any) -> Field | None:
    about = field.metadata
    if about.get("hidden"):
        return None
    has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    write, read = _converters(hint)
    return Field(
        attribute=field.name,
        key=about.get("name", field.name),
        is_needed=bool(about.get("needed")) or not has_default,
        omitted_with=field.name if about.get("omitted") else about.get("omitted_with"),
        write=write,
        read=read,
    )


def _converters(hint: Any) -> tuple[_Convert | None, _Convert | None]:
    """The writing and reading of a type; None if the value is its own JSON."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        real = [argument for argument in arguments if argument is not types.NoneType]
        write, read = _converters(real[0]) if len(real) == 1 else (None, None)
        return write, None if read is None else functools.partial(_or_none, read)
    if isinstance(hint, type) and issubclass(hint, Value):
        return hint.as_json, hint.from_json
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict, _mapping
    if isinstance(origin, type) and issubclass(origin, Sequence):
        write, read = _converters(arguments[0])
        return functools.partial(_written, write), functools.partial(_items, read)
    return None, None


def _written(write: _Convert | None, value: Sequence[Any]) -> list[Any]:
    return list(value) if write is None else [write(item) for item in value]


def _or_none(read: _Convert, value: object) -> Any:
    return None if value is None else read(value)


def _items(read: _Convert | None, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"not a JSON list: {value!r:.80}")
    return tuple(value) if read is None else tuple(map(read, value))


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"not a JSON object: {value!r:.80}")
    return dict(value)
