"""Process 1 of the world: makes its mounts, then only reaps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

signal.signal(signal.SIGINT, signal.SIG_IGN)
subprocess.run(["bash", str(Path(sys.argv[1]) / "mounts.sh")], check=True)
Path("/run/ready").touch()
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.2)
