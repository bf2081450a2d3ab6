"""The uplink of a bridge that filters by VLAN: it carries every VLAN tagged, and is put back."""

from __future__ import annotations

import socket
import subprocess
import time

from tests.host.checks.ring import check, end, links, run, shell, wait_until
from tests.host.checks.vlan_bridges import MARKER, MTU, WIRE, configure, fail, guests, opened, vif, vlans
from vifplug.api.local import LocalHost


def with_uplink(host: LocalHost) -> None:
    """A device of a physical network as the uplink of the bridge: it carries the VLANs tagged."""
    uplink = {"type": "flat", "physical_network": "physnet1"}
    mine = vif(5, 5, network={"bridge": "br-uplink", "mtu": MTU, "uplink": uplink})
    shell(f"ip link add {WIRE} type veth peer name wirep; ip link set {WIRE} up; ip link set wirep up")
    before = {key: value for key, value in links()[WIRE].items() if key != "stats64"}

    def tagged() -> bool:
        return vlans().get(WIRE) == {vlan: [] for vlan in range(1, 4095)}

    with check("vlan bridges: an uplink has every VLAN tagged, and frames leave and arrive in the guest's"):
        host.plug([mine])
        assert tagged() and links()[WIRE]["master"] == "br-uplink"
        assert not host.plan([mine]).actions
        frame = b"\xff" * 6 + bytes.fromhex("fa163eb10077") + b"\x81\x00\x00\x05\x88\xb5" + MARKER.ljust(60)
        with guests(mine) as (guest,), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as peer:
            peer.bind(("wirep", 0))
            for vlan in (b"\x00\x06", b"\x00\x05"):
                peer.send(frame.replace(b"\x81\x00\x00\x05", b"\x81\x00" + vlan))
                if vlan == b"\x00\x06":
                    time.sleep(1)
                    assert not guest.marked, "a frame of VLAN 6 has arrived"
            wait_until(lambda: guest.marked, "a frame of VLAN 5", 60)
            heard = subprocess.Popen(
                ["timeout", "60", "tcpdump", "-c1", "-eni", "wirep", "vlan", "5"], stdout=subprocess.PIPE, text=True
            )
            guest.send_always()
            assert "vlan 5" in heard.communicate()[0]
    for command in ("bridge vlan del vid 5 dev {0}", "bridge vlan add vid 7 pvid untagged dev {0}"):
        with check(f"vlan bridges: {command.format('UPLINK')}: named and repaired"):
            shell(command.format(WIRE))
            (checked,) = host.check([mine.id]).vifs
            assert [(item.subject, item.attribute) for item in checked.drift] == [(WIRE, "bridge_vlan")], checked.drift
            host.repair()
            assert tagged() and host.check().clean
    with check("vlan bridges: the uplink is as it was behind the last VIF, and after a failed plug"):
        host.unplug([mine.id])
        for after in range(1 + len(host.plan([mine]).actions)):
            fail(mine, after)
            now = {key: links()[WIRE].get(key) for key in before}
            assert {key: now[key] for key in ("flags", "mtu", "address")} == {
                key: before[key] for key in ("flags", "mtu", "address")
            }
            assert links()[WIRE].get("master") is None and "br-uplink" not in links()
    run("ip", "link", "del", WIRE)


def main() -> None:
    """The batch."""
    configure()
    with opened() as host:
        with_uplink(host)
    end()


if __name__ == "__main__":
    main()
