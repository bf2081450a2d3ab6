"""The bundle for a bug report: what vifplug knows of a host, as files in one archive, without secrets.

Documented in docs/reference/doctor.md; a secret is the value of every option whose name says so, and user and password
in every URL.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import time
from collections.abc import Mapping

from vifplug.errors import InputError

_SECRET = re.compile(
    r"^(\s*[\w.-]*(?:token|password|passwd|secret|key)[\w.-]*\s*[=:]\s*)(.*(?:\n[ \t]+\S.*)*)$",
    re.IGNORECASE | re.MULTILINE,
)
"""Such an option with its value; the indented lines that follow continue it (oslo.config)."""
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@")
REMOVED = "(removed)"


def without_secrets(text: str) -> str:
    """A configuration file's text without the values of secret options, and without credentials in URLs."""
    return _CREDENTIALS.sub(rf"\1{REMOVED}@", _SECRET.sub(rf"\1{REMOVED}", text))


def write(path: str, files: Mapping[str, str]) -> None:
    """Write a new tar.gz that only this user may read.

    :param files: contents by name.
    :raises InputError: the file exists, or cannot be written.
    """
    directory = os.path.basename(path).split(".")[0] or "vifplug"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise InputError(f"--report {path}: the file exists; give another name", path) from error
    except OSError as error:
        raise InputError(f"--report {path}: it cannot be written: {error.strerror}", path) from error
    with os.fdopen(descriptor, "wb") as target, tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            content = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"{directory}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
