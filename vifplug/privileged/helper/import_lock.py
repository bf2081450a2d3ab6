"""Blocks imports: they are possible while the helper starts, and refused from before its first request on.

oslo.privsep imports the module that a request names before it checks that the name is an entry point
(daemon.Daemon._process_cmd), so a compromised caller could make root import any module on the path.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_NEEDED_LATER = (
    # codecs and error reporting that the standard library imports on first use
    "encodings.idna",
    "encodings.ascii",
    "encodings.latin_1",
    "stringprep",
    "traceback",
    "linecache",
    "tokenize",
    "unicodedata",
    "vifplug.errors",
    "vifplug.privileged.apply",
    "vifplug.privileged.diagnostics",
    "vifplug.privileged.filters.verbs",
    "vifplug.privileged.links.verbs",
    "vifplug.privileged.ovsdb.verbs",
    "vifplug.privileged.probing",
    "vifplug.privileged.switching",
    "vifplug.privileged.vswitchd",
    "vifplug.privileged.helper.startup",
    "ovs.jsonrpc",
    "ovs.stream",
    "ovs.socket_util",
    "ovs.fatal_signal",
    "ovsdbapp.exceptions",
)


class _Closed(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        raise ImportError(f"import of {fullname!r} refused: the privileged helper imports nothing after its start")


def close() -> None:
    """Import what later calls need, then refuse every further import. Repeated calls have no effect."""
    if is_closed():
        return
    for name in _NEEDED_LATER:
        importlib.import_module(name)
    sys.meta_path.insert(0, _Closed())


def is_closed() -> bool:
    """Whether imports are refused in this process."""
    return any(isinstance(finder, _Closed) for finder in sys.meta_path)
