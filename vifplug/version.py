"""Which vifplug this is."""

from __future__ import annotations


def installed() -> str:
    """The installed version; in words where there is only a source tree.

    Looked up when asked for: ``importlib.metadata`` takes longer to import than a daemon to answer.
    """
    import importlib.metadata

    try:
        return importlib.metadata.version("vifplug")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed: run from its source tree)"
