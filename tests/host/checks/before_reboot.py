"""What is to come through a reboot: twenty VIFs of each kind, and a unit that looks as soon as vifplugd is started."""

from __future__ import annotations

from pathlib import Path

import vifplug
from tests.host.checks.fleet import LINKS, PORTS, VIFS
from tests.host.checks.ring import SOCKET, check, end, must_be_whole, run

TOGETHER = 5
"""Emulated, vswitchd needs more than a minute to open the ports of all of them."""
UNIT = f"""
[Unit]
After=vifplugd.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'ip -d -j link >{LINKS}; \\
  ovs-vsctl --timeout=10 -f json --columns=name,ofport list Interface >{PORTS}; \\
  cut -d" " -f1 /proc/uptime >{LINKS}.uptime'
[Install]
WantedBy=multi-user.target
"""


def main() -> None:
    """Run the batch."""
    with check(f"reboot: {len(VIFS)} VIFs are plugged"), vifplug.connect(SOCKET) as host:
        for first in range(0, len(VIFS), TOGETHER):
            host.plug([vifplug.load(of) for of in VIFS[first : first + TOGETHER]])
        must_be_whole(VIFS)
    Path("/etc/systemd/system/behind.service").write_text(UNIT)
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "behind.service")
    run("sync")
    end()


if __name__ == "__main__":
    main()
