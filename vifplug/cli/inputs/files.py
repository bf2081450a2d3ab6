"""Files and stdin: read within a limit, and parsed as JSON or YAML."""

from __future__ import annotations

import os
import sys

from vifplug import errors, formats
from vifplug.cli import arguments

_SIZE_MAX = 64 * 2**20
"""Bytes; 60 VIFs of an os-vif list need a quarter of a million. The limit is for /dev/zero, not for a user."""
EMPTY = "is empty; give a JSON or YAML document with one VIF or a list of them"
_YAML_ENDINGS = (".yaml", ".yml")
_JSON_STARTS = '{["'


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
            f"{name!r} is not text in UTF-8 (byte {error.start}); give a JSON or YAML document", name
        ) from error
    if not text.strip():
        raise errors.InputError(f"{name!r} {EMPTY}", name)
    return text


def _bytes(path: str) -> bytes:
    if path == arguments.STDIN:
        return sys.stdin.buffer.read(_SIZE_MAX + 1)
    with open(path, "rb") as file:
        return file.read(_SIZE_MAX + 1)


def is_json(text: str, path: str) -> bool:
    """Whether a text is read as JSON: by its first character, unless the file's name ends like that of a YAML file."""
    return text.lstrip()[:1] in _JSON_STARTS and not path.lower().endswith(_YAML_ENDINGS)


def parse(text: str, path: str) -> object:
    """The content of a document.

    :raises errors.InputError: it is neither JSON nor YAML.
    """
    if is_json(text, path):
        return formats.parse(text)
    from vifplug.formats.text import yaml_text  # here, because PyYAML takes longer to import than a daemon to answer

    return yaml_text.parse(text)
