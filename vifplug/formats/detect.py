"""Which format a document is in, told by its keys, and the VIFs it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vifplug.errors import InputError
from vifplug.formats import messages, native, neutron, nova, osvif
from vifplug.formats.quoting import quote
from vifplug.formats.reader import Entry, as_uuid
from vifplug.model import vif as model

AUTO = "auto"

_KEYS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Format:
    """One way others describe a VIF."""

    name: str
    keys: tuple[str, ...]
    """What a person looks for to know it."""
    recognises: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Entry], model.Vif]

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.keys)})"


_BY_NAME = {
    # In the order they are asked: the surest marks first.
    osvif.NAME: Format(osvif.NAME, osvif.KEYS, osvif.recognises, osvif.read),
    native.NAME: Format(native.NAME, native.KEYS, native.recognises, native.read),
    neutron.NAME: Format(neutron.NAME, neutron.KEYS, neutron.recognises, neutron.read),
    nova.NAME: Format(nova.NAME, nova.KEYS, nova.recognises, nova.read),
}
NAMES = (AUTO, native.NAME, neutron.NAME, nova.NAME, osvif.NAME)


def vifs(document: object, name: str) -> list[model.Vif]:
    """Every VIF of a document, in its order.

    :param name: one of NAMES.
    :raises InputError: for the first entry that is wrong, two of one id, or none at all.
    """
    if name not in NAMES:
        raise InputError(f"format: {quote(name)}: it must be one of {', '.join(NAMES)}")
    found: list[model.Vif] = []
    places: dict[str, str] = {}
    for path, item in _entries(document):
        read = _read(path, item, name)
        if read.id in places:
            raise messages.refusal(
                messages.join(path, "id"), read.id, f"{places[read.id]} has the same id; give each VIF once", read.id
            )
        places[read.id] = path
        found.append(read)
    if not found:
        raise InputError("the document holds no VIF; give one, or a list of them")
    return found


def _read(path: str, item: object, name: str) -> model.Vif:
    if item is None:
        raise messages.refusal(path, item, "this entry holds no VIF; leave it out, or give the VIF that belongs here")
    if not isinstance(item, Mapping):
        raise messages.refusal(path, item, f"it must be an object: {_expected(name)}")
    told = next((each for each in _BY_NAME.values() if each.recognises(item)), None)
    asked = told if name == AUTO else _BY_NAME[name]
    if asked is None or not asked.recognises(item):
        raise _unrecognised(path, item, name, told)
    identity = as_uuid(item.get("id"))
    return asked.read(Entry(item, path, identity or ""))


def _unrecognised(path: str, item: Mapping[Any, Any], name: str, told: Format | None) -> InputError:
    keys = ", ".join(messages.join("", key) for key in list(item)[:_KEYS_SHOWN])
    more = ", ..." if len(item) > _KEYS_SHOWN else ""
    holds = f"an object with the keys {keys}{more}" if keys else "an empty object"
    hint = f"; it looks like {told.name}" if told else ""
    return InputError(f"{path or 'the document'}: {holds}: it must be {_expected(name)}{hint}")


def _expected(name: str) -> str:
    if name != AUTO:
        return f"a VIF in the format {_BY_NAME[name]}"
    return "a VIF in one of the formats " + ", ".join(str(_BY_NAME[each]) for each in NAMES if each != AUTO)


def _entries(document: object) -> Iterator[tuple[str, object]]:
    """What a document lists, each with its path. A list within a list is an entry, and is refused as one."""
    if isinstance(document, list | tuple):
        for place, item in enumerate(document):
            yield from _unwrapped(f"[{place}]", item)
    else:
        yield from _unwrapped("", document)


def _unwrapped(path: str, item: object) -> Iterator[tuple[str, object]]:
    """Without the envelope that the networking API, or an os-vif list, puts around it."""
    if not isinstance(item, Mapping) or native.recognises(item) or nova.recognises(item):
        yield path, item
    elif neutron.MANY in item:
        where = messages.join(path, neutron.MANY)
        ports = item[neutron.MANY]
        if not isinstance(ports, list | tuple):
            raise messages.refusal(where, ports, "it must be a list of Neutron ports")
        yield from ((f"{where}[{place}]", port) for place, port in enumerate(ports))
    elif neutron.ONE in item:
        yield messages.join(path, neutron.ONE), item[neutron.ONE]
    elif (members := osvif.members(item)) is not None:
        where = messages.join(path, "objects")
        yield from ((f"{where}[{place}]", member) for place, member in enumerate(members))
    else:
        yield path, item
