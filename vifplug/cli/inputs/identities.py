"""Ids that a file or the command line lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vifplug import errors, naming
from vifplug.cli import arguments
from vifplug.cli.inputs import files
from vifplug.cli.inputs.files import EMPTY


def ids(values: Iterable[str]) -> list[str]:
    """Ids of the command line: checked, in lower case, without duplicates.

    :raises errors.InputError: when an id is not a UUID.
    """
    return list(dict.fromkeys(arguments.canonical_id(value, "ID") for value in values))


def ids_of(path: str) -> list[str]:
    """The ids in a file: VIF documents in any format, a list of ids (JSON or YAML), or one id per line.

    A VIF is unplugged by its record, so its document needs only an id: the port may be unbound by now, or of a kind
    that vifplug cannot plug.
    """
    text = files.read(path)
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    given = [line for line in lines if line]
    if not given or naming.is_uuid(given[0].lower()) or not any(map(_is_of_a_document, given)):
        return ids(given)
    return ids(_identities(files.parse(text, path)))


def _is_of_a_document(line: str) -> bool:
    """Whether a line belongs to JSON or to a mapping or list of YAML; else it is meant as an id."""
    return line.startswith(("-", '"')) or any(character in line for character in "{}[]:")


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
