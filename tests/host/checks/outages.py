"""Open vSwitch restarted, killed, wiped, and its module reloaded, under VIFs and the real systemd."""

from __future__ import annotations

import contextlib

import vifplug
from tests.host.checks.paths import database
from tests.host.checks.ring import KINDS, SOCKET, Row, check, end, is_whole, must_be_whole, shell, vif, wait_until
from tests.host.checks.traffic import ping, stations

UNITS = "openvswitch-switch.service ovs-vswitchd.service ovsdb-server.service"
REPAIR_SECONDS = 300.0
# `systemctl stop openvswitch-switch` returns before the daemons have ended: they are stopped by name.
WAYS = {
    "restarted": "systemctl restart openvswitch-switch",
    "vswitchd killed": "pkill -KILL -x ovs-vswitchd; systemctl restart ovs-vswitchd",
    "ovsdb-server killed": "pkill -KILL -x ovsdb-server; systemctl restart openvswitch-switch",
    "wiped": "systemctl stop {units}; rm -f {database}; systemctl start openvswitch-switch; ovs-vsctl add-br br-int",
    "module reloaded": "systemctl stop {units}; ovs-dpctl del-dp ovs-system || true; modprobe -r openvswitch; "
    "modprobe openvswitch; systemctl start openvswitch-switch",
}


def clean(vifs: list[Row]) -> bool:
    """Whether the daemon, and who looks for himself, find everything."""
    with contextlib.suppress(vifplug.errors.VifplugError), vifplug.connect(SOCKET) as host:
        return host.check().clean and is_whole(vifs)
    return False


def main() -> None:
    """Run the batch."""
    vifs = [vif(kind, 0x601 + number) for number, kind in enumerate(KINDS)]
    with vifplug.connect(SOCKET) as host:
        host.plug([vifplug.load(of) for of in vifs])
    for name, way in WAYS.items():
        with check(f"outages: Open vSwitch {name}: all is repaired, and frames pass"):
            shell(way.format(units=UNITS, database=database()))
            with contextlib.suppress(AssertionError):
                wait_until(lambda: clean(vifs), "the repair", REPAIR_SECONDS)
            must_be_whole(vifs)
            with stations(vifs[0]):
                ping()
    with vifplug.connect(SOCKET) as host:
        with check("outages: clean in the end"):
            assert host.check().clean
        host.unplug([of["id"] for of in vifs])
    end()


if __name__ == "__main__":
    main()
