"""FILE and ID arguments: VIFs to plug, ids to work on. They are read and checked before the host is opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vifplug import errors, formats
from vifplug.cli import arguments

if TYPE_CHECKING:
    from vifplug.model.vif import Vif

_SIZE_MAX = 64 * 2**20
"""Bytes; 60 VIFs of an os-vif list need a quarter of a million. The limit is for /dev/zero, not for a user."""
EMPTY = "is empty; give a JSON document with one VIF or a list of them"
_UNREAD_MAX = 2**20
"""Characters of a document that is sent to the daemon unread. The daemon takes no request of more than 4 MiB, and a
larger document may hold much that no VIF needs."""


def read(path: str) -> str:
    """The text of a file, or of stdin for ``-``.

    :raises errors.InputError: when it cannot be read, is too large, not UTF-8, or empty.
    """
    name = "stdin" if path == arguments.STDIN else path
    try:
        data = _bytes(path)
    except (OSError, ValueError, AttributeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is closed"
        raise errors.InputError(f"cannot read {name!r}: {reason}", name) from error
    if len(data) > _SIZE_MAX:
        raise errors.InputError(f"{name!r} is larger than {_SIZE_MAX // 2**20} MiB", name)
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
    """The VIFs of ``plug``'s document, with the values of the options; ``check`` them before plugging.

    If the daemon can read the document, it is not read here: importing the model takes longer than a plug.
    """
    text = read(options.file or arguments.STDIN)
    document = formats.parse(text)
    instance = {"uuid": options.instance_uuid, "name": options.instance_name} if options.instance_uuid else None
    network_text = read(options.network) if options.network is not None else ""
    network = formats.parse(network_text) if network_text else None
    parameters: dict[str, Any] = {"format": options.format or "auto", "instance": instance, "mtu": options.mtu}
    parameters["network"] = network
    changes: dict[str, Any] = {"create_tap": True} if options.create_tap else {}
    changes |= {} if options.vlan is None else {"vlan": options.vlan}
    is_amended = bool(changes) or (options.instance_name is not None and instance is None)
    sent = text + network_text
    is_small = len(sent) <= _UNREAD_MAX and sent.isascii()  # JSON escapes take up to 12 characters for any other
    if document and isinstance(document, list | dict) and not is_amended and is_small:
        return formats.Document(document, **parameters)
    loaded = formats.load_all(document, **parameters)
    if changes:
        loaded = [_amended(vif, changes) for vif in loaded]
    check(loaded)
    if options.instance_name and not instance:
        return [_named(vif, options.instance_name) for vif in loaded]
    return loaded


def _amended(vif: Vif, changes: Mapping[str, Any]) -> Vif:
    """A VIF with the values of options.

    :raises errors.InputError: it cannot have them.
    """
    from vifplug.model import messages  # here, because only a command that reads the VIFs needs it

    amended = vif.model_copy(update=changes)
    messages.recheck(amended, f"VIF {vif.id}")
    return amended


def ids_if_many(vifs: Sequence[Vif]) -> list[str]:
    """The ids of several VIFs; an empty list if the unread document shows that there is only one."""
    if isinstance(vifs, formats.Document) and vifs.is_single:
        return []
    return [vif.id for vif in vifs]


def check(vifs: Sequence[Vif]) -> None:
    """Check that the VIFs can be read and that each has a driver.

    :raises errors.InputError: when they cannot be plugged.
    """
    from vifplug.drivers.registry import driver_for  # here, because only a command that reads the VIFs needs it

    for vif in vifs:
        driver_for(vif.vif_type, vif.id)


def _named(vif: Vif, name: str) -> Vif:
    if vif.instance is None:
        raise errors.InputError(
            f"--instance-name {name!r}: the document has no instance for VIF {vif.id}; give --instance-uuid as well",
            vif.id,
        )
    return vif.model_copy(update={"instance": vif.instance.model_copy(update={"name": name})})


def ids(values: Iterable[str]) -> list[str]:
    """Ids of the command line: checked, in lower case, without duplicates.

    :raises errors.InputError: when an id is not a UUID.
    """
    return list(dict.fromkeys(arguments.canonical_id(value, "ID") for value in values))


def ids_of(path: str) -> list[str]:
    """The ids in a file: VIF documents in any format, a JSON list of ids, or one id per line.

    A VIF is unplugged by its record, so its document needs only an id: the port may be unbound by now, or of a kind
    that vifplug cannot plug.
    """
    text = read(path)
    if text.lstrip()[0] not in '[{"':
        lines = (line.split("#")[0].strip() for line in text.splitlines())
        return ids(line for line in lines if line)
    return ids(_identities(formats.parse(text)))


def ids_to_keep(path: str) -> list[str]:
    """The ids of existing VIFs or instances in a file, as ``ids_of``; a file with only a comment is an empty list.

    :raises errors.InputError: for an empty file: a failed list command leaves one.
    """
    try:
        return ids_of(path)
    except errors.InputError as error:
        if error.message.endswith(EMPTY):
            raise errors.InputError(
                f"{path!r} is empty, perhaps because the command that lists the ids failed; to keep no VIF without a "
                "guest, write a comment (# and text) into it",
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
        raise errors.InputError(f"{name} has no id; give VIF documents or ids", name)
    return identity
