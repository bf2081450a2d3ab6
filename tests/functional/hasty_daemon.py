"""The real daemon with other constants, so that a test need not wait for as long as a person would.

``python -m tests.functional.hasty_daemon process.supervisor._SILENT_SECONDS=2 ... -- ARGUMENTS OF VIFPLUGD``
"""

from __future__ import annotations

import importlib
import sys

from tests.functional.vifplugd import Vifplugd
from tests.functional.world import World

QUICK_RESTARTS = {
    "process.backoff._FIRST_SECONDS": 0.01,
    "process.backoff._SERVED_MAX_SECONDS": 0.1,
    "process.backoff._FAILED_MAX_SECONDS": 0.1,
}
"""A worker that ends again and again is started again at once."""


def hasty(world: World, constants: dict[str, float], **daemon: object) -> Vifplugd:
    """A daemon with these constants of vifplug.daemon's modules; not started."""
    made = Vifplugd(world, **daemon)
    words = [f"{name}={value}" for name, value in constants.items()]
    made.command = [sys.executable, "-m", "tests.functional.hasty_daemon", *words, "--"]
    return made


def _set(word: str) -> None:
    name, _equals, value = word.partition("=")
    module_name, _dot, constant = name.rpartition(".")
    module = importlib.import_module(f"vifplug.daemon.{module_name}")
    assert hasattr(module, constant), f"there is no {name} any more"
    setattr(module, constant, float(value))


def main() -> int:
    """The daemon, from the command line."""
    from vifplug.daemon.process import supervisor

    words = sys.argv[1:]
    end = words.index("--")
    for word in words[:end]:
        _set(word)
    return supervisor.main(words[end + 1 :])


if __name__ == "__main__":
    sys.exit(main())
