"""The daemon's HTTP face over this host, without its keeper: what a test damages stays damaged until it is asked for.

``python -m tests.functional.quiet_daemon CONFIG_FILE`` serves until it is ended.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

from tests.functional import forked
from tests.functional.daemons import wait_until
from tests.functional.world import World

END_SECONDS = 15.0


@contextlib.contextmanager
def quiet_daemon(world: World) -> Iterator[None]:
    """Serve at the socket of the world's configuration as it is now."""
    with (world.directory / "quiet.log").open("w+") as log:
        process = world.forker(forked.DAEMON).start(
            "tests.functional.quiet_daemon",
            [str(world.config_file)],
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


class _NoKeeper:
    def status(self) -> dict[str, Any]:
        return {"ovsdb_connected": True, "compared_at": None, "queue": 0, "vifs": {}, "orphans": 0}


def main() -> int:
    """Serve with the configuration file that the command line names."""
    import uvicorn

    import vifplug
    from vifplug.config import options
    from vifplug.daemon.http.event_stream import Hub
    from vifplug.daemon.http.protocol import Access, CredentialedProtocol
    from vifplug.daemon.http.vifs import create_app
    from vifplug.daemon.metrics import Metrics

    config_file = sys.argv[1]
    settings = options.load(config_file)
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
