"""A world whose Open vSwitch has DPDK, without huge pages and without hardware.

Its poll thread takes a processor for itself for as long as there is a port, and its memory is two gigabytes: one world
at a time, and briefly.
"""

from __future__ import annotations

import pytest

from tests.e2e.image import FILES
from tests.support.world.daemons import Daemon
from tests.support.world.world import World

DPDK = FILES / "dpdk"
SOCKETS = "sockets"
_OPTIONS = (
    # The plug-in of memory pools by its name: DPDK loads none from a directory that anybody may write to, such as /tmp.
    "dpdk-extra=--no-huge --legacy-mem -m 2048 --no-pci -d librte_mempool_ring.so.23",
    "dpdk-init=true",
    f"vhost-sock-dir={SOCKETS}",
)


class DpdkWorld(World):
    """A world with DPDK's ovs-vswitchd, and with a directory for sockets of guests."""

    def __init__(self) -> None:
        if not (DPDK / "ovs-vswitchd-dpdk").exists():
            pytest.skip(f"no Open vSwitch with DPDK in {DPDK}: tools/setup --e2e brings it")
        super().__init__()
        self.sockets = self.directory / SOCKETS
        self.sockets.mkdir()
        libraries = f"LD_LIBRARY_PATH={DPDK / 'lib'}"
        argv = ["env", libraries, str(DPDK / "ovs-vswitchd-dpdk"), f"unix:{self.socket}"]
        self.vswitchd = Daemon("vswitchd", argv, self.directory)

    def start_vswitchd(self) -> None:
        """Start it, as one that is to initialise DPDK."""
        options = [f'other_config:{key}="{value}"' for key, value in (option.split("=", 1) for option in _OPTIONS)]
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *options)
        super().start_vswitchd()
