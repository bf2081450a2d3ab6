"""The daemon's HTTP face over this host, without its keeper: what a test damages stays damaged until it is asked for.

``python -m tests.functional.quiet_daemon CONFIG_FILE`` serves until it is ended.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.functional.daemons import wait_until
from tests.functional.world import REPOSITORY, World

END_SECONDS = 15.0


@contextlib.contextmanager
def quiet_daemon(world: World) -> Iterator[None]:
    """Serve at the socket of the world's configuration as it is now."""
    with world.namespace.entered(), (world.directory / "quiet.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.functional.quiet_daemon", str(world.config_file)],
            env=world.environment,
            cwd=REPOSITORY,
            stderr=log,
        )
    try:
        wait_until((world.directory / "vifplug.sock").exists, "the daemon's socket")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(END_SECONDS)


class _NoKeeper:
    def status(self) -> dict[str, Any]:
        return {"ovsdb_connected": True, "compared_at": None, "queue": 0, "vifs": {}, "orphans": 0}


def _serve(config_file: str) -> None:
    import uvicorn

    import vifplug
    from vifplug import config
    from vifplug.daemon.api import create_app
    from vifplug.daemon.events import Hub
    from vifplug.daemon.metrics import Metrics
    from vifplug.daemon.peers import Access, CredentialedProtocol

    settings = config.load(config_file)
    with vifplug.local(config_file) as host:
        metrics = Metrics()
        hub = Hub(host._plugger.store, metrics)
        app = create_app(host, Access.of(settings), _NoKeeper(), hub, metrics)
        uvicorn.run(
            app,
            uds=settings.socket,
            http=CredentialedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )


if __name__ == "__main__":
    _serve(sys.argv[1])
