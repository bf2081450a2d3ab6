"""Runs ``driver.py`` under eventlet and gevent: ``python -m tests.greenlets``.

It makes an environment with both in .venv-greenlets, once, and serves the daemon's application over a fake host, in a
process of its own that is not patched.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import venv

from tests.support.daemon.daemon_calls import Daemon, served
from vifplug.config.options import Settings
from vifplug.daemon.http.protocol import Access

REPOSITORY = pathlib.Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".venv-greenlets"
DRIVER_SECONDS = 120


def python() -> str:
    """The environment's Python."""
    interpreter = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "stamp").exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        (ENVIRONMENT / ".gitignore").write_text("*\n")
        argv = [str(interpreter), "-m", "pip", "install", "-qq", "eventlet", "gevent", "--editable", str(REPOSITORY)]
        subprocess.run(argv, check=True)
        (ENVIRONMENT / "stamp").touch()
    return str(interpreter)


def main() -> int:
    """Run each; 0 if all behave as docs/reference/library-concurrency.md says."""
    interpreter, failed = python(), 0
    access = Access.of(Settings(admin_users=("root", str(os.geteuid()))))
    for library in ("eventlet", "gevent"):
        with tempfile.TemporaryDirectory() as directory:
            daemon = Daemon(pathlib.Path(directory), access=access)
            path = pathlib.Path(directory) / "s"
            with served(daemon.app, path):
                argv = [interpreter, str(pathlib.Path(__file__).with_name("driver.py")), library, str(path)]
                done = subprocess.run(argv, cwd=REPOSITORY, env={"PYTHONPATH": ""}, timeout=DRIVER_SECONDS)
                daemon.hub.close()
            print(f"{library}: {'passed' if done.returncode == 0 else f'FAILED ({done.returncode})'}")
            failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
