"""VIFs by the names that people use: the beginning of an id, a device, a MAC, an instance.

``resolved`` and ``of_instance`` decide, and are pure. A whole id needs no list of VIFs, so it costs no call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from vifplug import errors, naming
from vifplug.cli.arguments.values import near

if TYPE_CHECKING:
    from vifplug.api.contract import Host
    from vifplug.model.reports import VifReport

T = TypeVar("T")
_SHOWN_MAX = 10
_SEEN_IN = "'vifplug list -o wide' shows those that are plugged"


def with_ids(host: Host, words: Sequence[str], act: Callable[[list[str]], T]) -> T:
    """Call ``act`` with the ids of the VIFs that words name.

    :raises errors.UnknownVif: a word names no VIF; nothing was touched.
    :raises errors.InputError: a word names several VIFs; nothing was touched.
    """
    ids = whole_ids(words)
    if ids is None:
        return act(resolved(words, host.list()))
    try:
        return act(ids)
    except errors.UnknownVif as unknown:
        # It may be the UUID of an instance.
        named = resolved(words, host.list(), absent=True)
        if named == ids:
            raise
        return _again(act, named, unknown)


def _again(act: Callable[[list[str]], T], ids: list[str], unknown: errors.UnknownVif) -> T:
    try:
        return act(ids)
    except errors.UnknownVif as error:
        raise error from unknown


def ids_or_absent(host: Host, words: Sequence[str]) -> list[str]:
    """The ids of the VIFs that words name; a whole id may be that of a VIF that is not plugged.

    :raises errors.UnknownVif, errors.InputError: as ``with_ids``, for any other word.
    """
    return whole_ids(words) or resolved(words, host.list(), absent=True)


def with_id(host: Host, word: str, act: Callable[[str], T]) -> T:
    """The same for a verb of one VIF."""
    return with_ids(host, [word], lambda ids: act(ids[0]))


def whole_ids(words: Sequence[str]) -> list[str] | None:
    """The ids, each once, if every word is a whole one."""
    lowered = dict.fromkeys(word.lower() for word in words)
    return [*lowered] if all(map(naming.is_uuid, lowered)) else None


def resolved(words: Sequence[str], vifs: Sequence[VifReport], *, absent: bool = False) -> list[str]:
    """The ids of the VIFs that words name, in their order, each once. Pure.

    :param absent: a UUID that names no VIF is the id of one that is not plugged.
    :raises errors.UnknownVif: for the first word that names none.
    :raises errors.InputError: for the first word that names several; it lists them.
    """
    return list(dict.fromkeys(_resolved(word, vifs, absent=absent) for word in words))


def _resolved(word: str, vifs: Sequence[VifReport], *, absent: bool) -> str:
    lowered = word.lower()
    if naming.is_uuid(lowered) and (absent or any(vif.id == lowered for vif in vifs)):
        instances = [vif for vif in vifs if vif.instance is not None and vif.instance.uuid == lowered]
        if not instances or any(vif.id == lowered for vif in vifs):
            return lowered
    named = [vif for vif in vifs if _names(vif, word)]
    if len(named) == 1:
        return named[0].id
    if not named:
        raise errors.UnknownVif(
            f"{word!r} names no VIF of this host by id, device, MAC or instance{near(word, _all_names(vifs))}; "
            f"{_SEEN_IN}",
            word,
        )
    raise errors.InputError(
        f"{word!r} names {len(named)} VIFs: {_listed(named)}; give more of the id, or a name that only one of them has",
        word,
    )


def _names(vif: VifReport, word: str) -> bool:
    """Whether a word names a VIF. No kind of name comes before another: where two of them fit, the word is refused."""
    lowered = word.lower()
    return vif.id.startswith(lowered) or word in _own_names(vif) or lowered in (vif.address, *_instance_uuid(vif))


def _own_names(vif: VifReport) -> Iterator[str]:
    """The names that have to be given in their own case."""
    yield from (device.name for device in vif.devices)
    yield from (port.name for port in vif.ports)
    if vif.waiting_for:
        yield vif.waiting_for
    if vif.instance is not None and vif.instance.name:
        yield vif.instance.name


def _instance_uuid(vif: VifReport) -> Iterator[str]:
    if vif.instance is not None:
        yield vif.instance.uuid


def _all_names(vifs: Sequence[VifReport]) -> list[str]:
    """Every name, for a suggestion."""
    names = [name for vif in vifs for name in (vif.id, *_own_names(vif), *([vif.address] if vif.address else ()))]
    return [*dict.fromkeys(names)]


def _listed(vifs: Sequence[VifReport]) -> str:
    more = f" and {len(vifs) - _SHOWN_MAX} more" if len(vifs) > _SHOWN_MAX else ""
    return ", ".join(map(_described, vifs[:_SHOWN_MAX])) + more


def _described(vif: VifReport) -> str:
    device = vif.waiting_for or next((device.name for device in vif.devices), None)
    instance = (vif.instance.name or vif.instance.uuid) if vif.instance is not None else None
    details = ", ".join(text for text in (vif.vif_type, device, instance) if text)
    return f"{vif.id} ({details})" if details else vif.id


def of_instance(word: str, vifs: Sequence[VifReport]) -> list[str]:
    """The ids of an instance's VIFs; none for the UUID of an instance without one. Pure.

    :raises errors.UnknownVif: no VIF is of an instance with this name.
    :raises errors.InputError: several instances have this name.
    """
    lowered = word.lower()
    of_uuid = [vif.id for vif in vifs if lowered in _instance_uuid(vif)]
    if of_uuid or naming.is_uuid(lowered):
        return of_uuid
    named = [vif for vif in vifs if vif.instance is not None and vif.instance.name == word]
    uuids = sorted({vif.instance.uuid for vif in named if vif.instance is not None})
    if not uuids:
        known = [vif.instance.name for vif in vifs if vif.instance is not None and vif.instance.name]
        raise errors.UnknownVif(f"no VIF of this host has an instance named {word!r}{near(word, known)}", word)
    if len(uuids) > 1:
        raise errors.InputError(
            f"{len(uuids)} instances are named {word!r}: {', '.join(uuids)}; give the UUID of one of them", word
        )
    return [vif.id for vif in named]
