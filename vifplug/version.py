"""The version of vifplug."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn


def installed() -> str:
    """The installed version; a text if there is only a source tree.

    Read only when needed: importing ``importlib.metadata`` takes longer than a daemon's answer.
    """
    import importlib.metadata

    try:
        return importlib.metadata.version("vifplug")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed: run from its source tree)"


class Printed(argparse.Action):
    """``--version``: print it, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Called by the parser."""
        print(f"{parser.prog} {installed()}")
        parser.exit()
