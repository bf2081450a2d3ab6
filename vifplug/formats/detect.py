"""Detects a document's format by its keys, and reads its VIFs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vifplug.errors import InputError
from vifplug.formats import native, neutron, nova, osvif
from vifplug.formats.reader import Entry, as_uuid
from vifplug.model import messages
from vifplug.model import vif as model
from vifplug.model.quoting import quote

AUTO = "auto"

_KEYS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Format:
    """A format of VIF documents."""

    name: str
    keys: tuple[str, ...]
    """Its characteristic keys, for messages."""
    recognises: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Entry], model.Vif]

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.keys)})"


_BY_NAME = {
    # In the order of detection: the most specific keys first.
    osvif.NAME: Format(osvif.NAME, osvif.KEYS, osvif.recognises, osvif.read),
    native.NAME: Format(native.NAME, native.KEYS, native.recognises, native.read),
    neutron.NAME: Format(neutron.NAME, neutron.KEYS, neutron.recognises, neutron.read),
    nova.NAME: Format(nova.NAME, nova.KEYS, nova.recognises, nova.read),
}
NAMES = (AUTO, native.NAME, neutron.NAME, nova.NAME, osvif.NAME)


def vifs(document: object, name: str) -> list[model.Vif]:
    """Every VIF of a document, in its order.

    :param name: one of NAMES.
    :raises InputError: for the first invalid entry, for a duplicate id, or for a document without VIFs.
    """
    if name not in NAMES:
        raise InputError(f"format: {quote(name)}: it must be one of {', '.join(NAMES)}")
    vifs: list[model.Vif] = []
    paths: dict[str, str] = {}
    for path, item in _entries(document):
        vif = _read(path, item, name)
        if vif.id in paths:
            raise messages.refusal(
                messages.join(path, "id"), vif.id, f"{paths[vif.id]} has the same id; give each VIF once", vif.id
            )
        paths[vif.id] = path
        vifs.append(vif)
    if not vifs:
        raise InputError("the document holds no VIF; give one, or a list of them")
    return vifs


def _read(path: str, item: object, name: str) -> model.Vif:
    if item is None:
        raise messages.refusal(path, item, "this entry holds no VIF; remove it, or replace it by its VIF")
    if not isinstance(item, Mapping):
        raise messages.refusal(path, item, f"it must be an object: {_expected(name)}")
    detected = next((each for each in _BY_NAME.values() if each.recognises(item)), None)
    requested = detected if name == AUTO else _BY_NAME[name]
    if requested is None or not requested.recognises(item):
        raise _unrecognised(path, item, name, detected)
    identity = as_uuid(item.get("id"))
    return requested.read(Entry(item, path, identity or ""))


def _unrecognised(path: str, item: Mapping[Any, Any], name: str, detected: Format | None) -> InputError:
    keys = ", ".join(messages.join("", key) for key in list(item)[:_KEYS_SHOWN])
    more = ", ..." if len(item) > _KEYS_SHOWN else ""
    holds = f"an object with the keys {keys}{more}" if keys else "an empty object"
    hint = f"; it looks like {detected.name}" if detected else ""
    return InputError(f"{path or 'the document'}: {holds}: it must be {_expected(name)}{hint}")


def _expected(name: str) -> str:
    if name != AUTO:
        return f"a VIF in the format {_BY_NAME[name]}"
    return "a VIF in one of the formats " + ", ".join(str(_BY_NAME[each]) for each in NAMES if each != AUTO)


def _entries(document: object) -> Iterator[tuple[str, object]]:
    """The entries of a document, each with its path. A list within a list is an entry, which is refused later."""
    if isinstance(document, list | tuple):
        for place, item in enumerate(document):
            yield from _unwrapped(f"[{place}]", item)
    else:
        yield from _unwrapped("", document)


def _unwrapped(path: str, item: object) -> Iterator[tuple[str, object]]:
    """The entries without the envelope of the networking API, or of an os-vif list."""
    if not isinstance(item, Mapping) or native.recognises(item) or nova.recognises(item):
        yield path, item
    elif neutron.LIST in item:
        where = messages.join(path, neutron.LIST)
        ports = item[neutron.LIST]
        if not isinstance(ports, list | tuple):
            raise messages.refusal(where, ports, "it must be a list of Neutron ports")
        yield from ((f"{where}[{place}]", port) for place, port in enumerate(ports))
    elif neutron.SINGLE in item:
        yield messages.join(path, neutron.SINGLE), item[neutron.SINGLE]
    elif (members := osvif.members(item)) is not None:
        where = messages.join(path, "objects")
        yield from ((f"{where}[{place}]", member) for place, member in enumerate(members))
    else:
        yield path, item
