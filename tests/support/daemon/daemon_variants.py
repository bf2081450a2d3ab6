"""Variants of the real daemon: with other constants, and without its reconciler.

``python -m tests.support.daemon.daemon_variants with-constants process.supervisor._SILENT_SECONDS=2 ... -- ARGUMENTS``
is vifplugd with shorter times, so that a test need not wait as long.

``python -m tests.support.daemon.daemon_variants without-reconciler CONFIG_FILE`` serves the HTTP API over this host
until it is ended: what a test damages stays damaged until a request repairs it.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.world import forked
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

MODULE = "tests.support.daemon.daemon_variants"
QUICK_RESTARTS = {
    "process.backoff._FIRST_SECONDS": 0.01,
    "process.backoff._SERVED_MAX_SECONDS": 0.1,
    "process.backoff._FAILED_MAX_SECONDS": 0.1,
}
"""A worker that ends repeatedly is restarted at once."""
END_SECONDS = 15.0
_WITH_CONSTANTS, _WITHOUT_RECONCILER = "with-constants", "without-reconciler"


def command_with_constants(constants: Mapping[str, float]) -> list[str]:
    """The command that starts a daemon with these constants of vifplug.daemon's modules, without vifplugd's own
    arguments."""
    words = [f"{name}={value}" for name, value in constants.items()]
    return [sys.executable, "-m", MODULE, _WITH_CONSTANTS, *words, "--"]


def daemon_with_constants(world: World, constants: Mapping[str, float], **daemon: object) -> Vifplugd:
    """A daemon with these constants of vifplug.daemon's modules; not started."""
    made = Vifplugd(world, **daemon)
    made.command = command_with_constants(constants)
    return made


@contextlib.contextmanager
def daemon_without_reconciler(world: World) -> Iterator[None]:
    """Serve at the socket of the world's present configuration."""
    with (world.directory / "quiet.log").open("w+") as log:
        process = world.forker(forked.DAEMON).start(
            MODULE,
            [_WITHOUT_RECONCILER, str(world.config_file)],
            (log.fileno(), log.fileno(), log.fileno()),
            namespace=world.namespace,
            environment=world.environment,
        )
    try:
        wait_until((world.directory / "vifplug.sock").exists, "the daemon's socket")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(END_SECONDS)


def _set(word: str) -> None:
    name, _equals, value = word.partition("=")
    module_name, _dot, constant = name.rpartition(".")
    module = importlib.import_module(f"vifplug.daemon.{module_name}")
    assert hasattr(module, constant), f"there is no {name} any more"
    setattr(module, constant, float(value))


def _run_with_constants(words: Sequence[str]) -> int:
    from vifplug.daemon.process import supervisor

    end = words.index("--")
    for word in words[:end]:
        _set(word)
    return supervisor.main(list(words[end + 1 :]))


class _NoReconciler:
    def status(self) -> dict[str, Any]:
        return {"ovsdb_connected": True, "compared_at": None, "queue": 0, "vifs": {}, "orphans": 0}


def _serve_without_reconciler(config_file: str) -> int:
    import uvicorn

    import vifplug
    from vifplug.config import options
    from vifplug.daemon.http.event_stream import Hub
    from vifplug.daemon.http.protocol import Access, CredentialedProtocol
    from vifplug.daemon.http.vifs import create_app
    from vifplug.daemon.metrics import Metrics

    settings = options.load(config_file)
    with vifplug.local(config_file) as host:
        metrics = Metrics()
        hub = Hub(host._context.store, metrics)
        app = create_app(host, Access.of(settings), _NoReconciler(), hub, metrics)
        uvicorn.run(
            app,
            uds=settings.socket,
            http=CredentialedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    return 0


def main() -> int:
    """The variant that the command line names, with its arguments."""
    variant, *words = sys.argv[1:]
    if variant == _WITH_CONSTANTS:
        return _run_with_constants(words)
    assert variant == _WITHOUT_RECONCILER, f"no variant {variant}"
    return _serve_without_reconciler(words[0])


if __name__ == "__main__":
    sys.exit(main())
