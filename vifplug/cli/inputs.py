"""What FILE and ID say: VIFs to plug, ids to work on. Everything is read and checked before the host is opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vifplug import errors, formats
from vifplug.cli import arguments

if TYPE_CHECKING:
    from vifplug.model.vif import Vif

_SIZE_MAX = 64 * 2**20
"""Bytes; 60 VIFs of an os-vif list need a quarter of a million. It stops /dev/zero, not a user."""
EMPTY = "is empty; give a JSON document with one VIF or a list of them"
_UNREAD_MAX = 2**20
"""Characters of a document that the daemon reads; it takes no request of more than 4 MiB, and a document may hold much
that no VIF needs."""


def read(path: str) -> str:
    """The text of a file, or of stdin for ``-``.

    :raises errors.InputError: when there is none.
    """
    name = "stdin" if path == arguments.STDIN else path
    try:
        data = _bytes(path)
    except (OSError, ValueError, AttributeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is closed"
        raise errors.InputError(f"cannot read {name!r}: {reason}", name) from error
    if len(data) > _SIZE_MAX:
        raise errors.InputError(f"{name!r} is larger than {_SIZE_MAX // 2**20} MiB; it holds no VIFs", name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.InputError(
            f"{name!r} is not text in UTF-8 (byte {error.start}); give a JSON document", name
        ) from error
    if not text.strip():
        raise errors.InputError(f"{name!r} {EMPTY}", name)
    return text


def _bytes(path: str) -> bytes:
    if path == arguments.STDIN:
        return sys.stdin.buffer.read(_SIZE_MAX + 1)
    with open(path, "rb") as file:
        return file.read(_SIZE_MAX + 1)


def vifs(options: arguments.Options) -> Sequence[Vif]:
    """The VIFs that ``plug`` was given, with what the options add; ``check`` them before they are plugged.

    Where the daemon can read them as well, they are unread as yet: a model takes longer to import than a VIF to plug.
    """
    text = read(options.file or arguments.STDIN)
    document = formats.parse(text)
    instance = {"uuid": options.instance_uuid, "name": options.instance_name} if options.instance_uuid else None
    given: dict[str, Any] = {"format": options.format or "auto", "instance": instance, "mtu": options.mtu}
    is_amended = options.create_tap or (options.instance_name is not None and instance is None)
    is_small = len(text) <= _UNREAD_MAX and text.isascii()  # others take up to 12 letters each on their way
    if document and isinstance(document, list | dict) and not is_amended and is_small:
        return formats.Document(document, **given)
    found = formats.load_all(document, **given)
    if options.create_tap:
        found = [vif.model_copy(update={"create_tap": True}) for vif in found]
    check(found)
    if options.instance_name and not instance:
        return [_named(vif, options.instance_name) for vif in found]
    return found


def ids_if_many(vifs: Sequence[Vif]) -> list[str]:
    """The ids of many; none where it can be told unread that there is but one."""
    if isinstance(vifs, formats.Document) and vifs.is_single:
        return []
    return [vif.id for vif in vifs]


def check(found: Sequence[Vif]) -> None:
    """See that they can be read and that there is a driver for each.

    :raises errors.InputError: when they cannot be plugged.
    """
    from vifplug.drivers.registry import driver_for  # here, because only who reads them by himself needs it

    for vif in found:
        driver_for(vif.vif_type, vif.id)


def _named(vif: Vif, name: str) -> Vif:
    if vif.instance is None:
        raise errors.InputError(
            f"--instance-name {name!r}: the document names no instance for VIF {vif.id}; give --instance-uuid as well",
            vif.id,
        )
    return vif.model_copy(update={"instance": vif.instance.model_copy(update={"name": name})})


def ids(values: Iterable[str]) -> list[str]:
    """Ids of the command line, checked, in lower case, each once.

    :raises errors.InputError: when one is no UUID.
    """
    return list(dict.fromkeys(arguments.canonical_id(value, "ID") for value in values))


def ids_of(path: str) -> list[str]:
    """The ids a file holds: of VIF documents in any format, a JSON list of ids, or one id a line.

    A VIF is unplugged by its record, so no more than its id is asked of its document: the port may be
    unbound by now, or be of a kind that would not be plugged today.
    """
    text = read(path)
    if text.lstrip()[0] not in '[{"':
        lines = (line.split("#")[0].strip() for line in text.splitlines())
        return ids(line for line in lines if line)
    return ids(_identities(formats.parse(text)))


def ids_to_keep(path: str) -> list[str]:
    """The ids of a file that says which VIFs or instances there are, as ``ids_of``; a comment alone is an empty list.

    :raises errors.InputError: for an empty file: it is what a list command leaves that failed.
    """
    try:
        return ids_of(path)
    except errors.InputError as error:
        if error.message.endswith(EMPTY):
            raise errors.InputError(
                f"{path!r} is empty, as a list is whose command failed; to keep no VIF without a guest, write a "
                "comment (# and text) into it",
                path,
            ) from error
        raise


def _identities(document: Any) -> Iterator[str]:
    if isinstance(document, dict) and isinstance(document.get("ports"), list):
        document = document["ports"]
    for place, entry in enumerate(document if isinstance(document, list) else [document]):
        yield _identity(entry, f"entry {place} of the file")


def _identity(entry: Any, name: str) -> str:
    for wrapper in ("port", "versioned_object.data"):
        if isinstance(entry, dict) and isinstance(entry.get(wrapper), dict):
            entry = entry[wrapper]
    identity = entry.get("id") if isinstance(entry, dict) else entry
    if not isinstance(identity, str):
        raise errors.InputError(f"{name} has no id; give VIF documents, or ids", name)
    return identity
