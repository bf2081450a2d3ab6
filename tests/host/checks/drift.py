"""The drift matrix: what somebody changes on links and rows of ours is put right by the daemon."""

from __future__ import annotations

from typing import Any

import vifplug
from tests.host.checks.ring import (
    NETWORK_BRIDGE,
    SOCKET,
    Row,
    check,
    device,
    end,
    expected_links,
    links,
    port_of,
    shell,
    tables,
    vif,
    wait_until,
)

_LINK_KEYS = ("ifname", "mtu", "address", "ifalias", "master")
_BRIDGE_KEYS = ("stp_state", "forward_delay", "ageing_time", "mcast_snooping")
_FLAGS = {"UP", "PROMISC"}
REPAIR_SECONDS = 120.0
DAMAGES: dict[str, tuple[str, ...]] = {
    "ovs-hybrid": (
        "ip link set {qvb} nomaster",
        "ip link set {qvb} down",
        "ip link set {qvo} down",
        "ip link set {qbr} down",
        "ip link set {qvo} promisc off",
        "ip link set {qvb} mtu 1400",
        "ip link set {qvo} mtu 1400",
        "ip link set {qvo} alias somebody",
        "ip link set {qbr} type bridge stp_state 1",
        "ip link set {qbr} type bridge ageing_time 30000",
        "ip link set {qbr} type bridge mcast_snooping 1",
        "echo 0 >/proc/sys/net/ipv6/conf/{qvo}/disable_ipv6",
        "ip link del {qvb}",
        "ip link del {qbr}",
        "ovs-vsctl del-port {qvo}",
        "ovs-vsctl remove Interface {qvo} external_ids iface-id",
        "ovs-vsctl set Interface {qvo} external_ids:attached-mac=02:00:00:00:00:99",
        "ovs-vsctl remove Port {qvo} external_ids vifplug-vif",
    ),
    "ovs": (
        "ip link set {tap} down",
        "ip link set {tap} mtu 1400",
        "ip link set {tap} address 02:00:00:00:00:77",
        "ip link del {tap}",
        "ovs-vsctl del-port {tap}",
        "ovs-vsctl set Interface {tap} external_ids:iface-id=x",
    ),
    "bridge": (
        "ip link set {tap} nomaster",
        "ip link set {tap} down",
        "ip link del {tap}",
        "ip link del {brq}",
        "ip link set {brq} down",
        "ip link set {brq} type bridge stp_state 1",
    ),
}


def state(of: Row) -> dict[str, Any]:
    """What of a VIF is to be as it was."""
    there = links()
    taken: dict[str, Any] = {}
    for name in sorted(expected_links(of)):
        link = there.get(name)
        if link is None:
            taken[name] = None
            continue
        data = link["linkinfo"].get("info_data", {})
        taken[name] = [
            {key: link.get(key) for key in _LINK_KEYS},
            {key: data[key] for key in _BRIDGE_KEYS if key in data},
            sorted(_FLAGS & set(link["flags"])),
        ]
        with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6") as setting:
            taken[name].append(setting.read())
    port = port_of(of)
    if port is not None:
        interfaces, ports, bridges = tables("Interface", "Port", "Bridge")
        members = next(each["ports"] for each in bridges if each["name"] == "br-int")
        taken["interface"] = [
            (each["external_ids"], each["error"], each["ofport"] != -1) for each in interfaces if each["name"] == port
        ]
        taken["port"] = [(each["external_ids"], each["_uuid"] in members) for each in ports if each["name"] == port]
    return taken


def main() -> None:
    """Run the batch."""
    with vifplug.connect(SOCKET) as host:
        for number, (kind, damages) in enumerate(DAMAGES.items(), 0x201):
            of = vif(kind, number)
            host.plug([vifplug.load(of)])
            names = {prefix: device(prefix, of) for prefix in ("qbr", "qvb", "qvo", "tap")} | {"brq": NETWORK_BRIDGE}
            before = state(of)
            for damage in damages:
                with check(f"drift: {kind}: {damage}"):
                    shell(damage.format(**names))
                    wait_until(lambda of=of, before=before: state(of) == before, "the repair", REPAIR_SECONDS)  # type: ignore[misc]
            with check(f"drift: {kind}: clean in the end"):
                assert host.check([of["id"]]).clean
            host.unplug([of["id"]])
    end()


if __name__ == "__main__":
    main()
