"""Some of the functional tests, in worlds of the kernel's datapath."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.host.checks.ring import check, end

FILES = ("test_world.py", "test_plug_hybrid.py", "test_plug_ovs.py", "test_plug_bridge.py")
CHECKOUT = "/root/checkout"


def main() -> None:
    """Run the batch: each file is a check."""
    environment = {**os.environ, "VIFPLUG_DATAPATH_TYPE": "system", "VIFPLUG_NO_SKIP": "1"}
    for file in FILES:
        with check(f"functional tests, kernel datapath: {file}"):
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-x", f"tests/functional/{file}"],
                cwd=CHECKOUT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-500:]
    end()


if __name__ == "__main__":
    main()
