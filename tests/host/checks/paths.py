"""Every vif_type on the kernel's datapath: attributes, the QoS row, offloads, frames, a replug, an unplug."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import vifplug
from tests.host.checks.ring import (
    MTU,
    NETWORK_BRIDGE,
    SOCKET,
    Row,
    check,
    device,
    end,
    links,
    must_be_whole,
    port_of,
    row,
    rows,
    run,
    tap_address,
    vif,
)
from tests.host.checks.traffic import ping, stations, transfer
from vifplug.api.remote import DaemonHost

_DATABASES = ("/var/lib/openvswitch/conf.db", "/etc/openvswitch/conf.db")
_HEADERS = 28
"""Of an ICMP echo in IPv4."""


def database() -> str:
    """Where OVSDB's file is."""
    return next(os.path.realpath(path) for path in _DATABASES if os.path.exists(path))


def sysctl(link: str, key: str, family: str = "ipv6") -> str:
    """A link's own setting."""
    return Path(f"/proc/sys/net/{family}/conf/{link}/{key}").read_text().strip()


def must_be_a_bridge(link: Row, *, ageing: int | None) -> None:
    """As docs say of a qbr or brq."""
    data = link["linkinfo"]["info_data"]
    assert (data["stp_state"], data["forward_delay"], data["mcast_snooping"]) == (0, 0, 0), data
    assert ageing is None or data["ageing_time"] == ageing, data
    name = link["ifname"]
    assert (sysctl(name, "disable_ipv6"), sysctl(name, "arp_ignore", "ipv4")) == ("1", "1")
    assert (link["mtu"], "UP" in link["flags"]) == (MTU, True)


def must_have_attributes(of: Row) -> None:
    """Every attribute of every link, by ``ip`` and /proc."""
    there, alias = links(), f"vifplug:{of['id']}"
    if of["vif_type"] == "ovs-hybrid":
        qbr, qvb, qvo = (there[device(prefix, of)] for prefix in ("qbr", "qvb", "qvo"))
        must_be_a_bridge(qbr, ageing=0)
        assert qvb["master"] == qbr["ifname"]
        for end_ in (qvb, qvo):
            assert (end_["mtu"], end_["ifalias"], end_["promiscuity"] > 0) == (MTU, alias, True), end_
            assert {"UP", "PROMISC"} <= set(end_["flags"])
            assert sysctl(end_["ifname"], "disable_ipv6") == "1"
        assert qvo["master"] == "ovs-system"
    elif of["create_tap"]:
        tap = there[device("tap", of)]
        assert (tap["address"], tap["mtu"], tap["ifalias"]) == (tap_address(of), MTU, alias), tap
        assert "UP" in tap["flags"] and tap["linkinfo"]["info_data"]["persist"]
        assert (sysctl(tap["ifname"], "disable_ipv6"), sysctl(tap["ifname"], "accept_ra")) == ("1", "0")
        assert tap["master"] == (NETWORK_BRIDGE if of["vif_type"] == "bridge" else "ovs-system")
    if of["vif_type"] == "bridge":
        must_be_a_bridge(there[NETWORK_BRIDGE], ageing=None)


def must_have_rows(of: Row, port: str) -> None:
    """The port's rows, by OVSDB's own client."""
    interface, found = row("Interface", port), row("Port", port)
    ids = {"iface-id": of["id"], "iface-status": "active", "attached-mac": of["address"]}
    assert {key: interface["external_ids"].get(key) for key in ids} == ids
    assert found["external_ids"] == {"vifplug-vif": of["id"]}
    assert found["_uuid"] in row("Bridge", "br-int")["ports"]


@contextlib.contextmanager
def no_writes() -> Iterator[None]:
    """Nothing is written meanwhile: no news of a link, no transaction."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as monitor:
        monitor.bind((0, 1))
        monitor.settimeout(0.0)
        time.sleep(2)
        with contextlib.suppress(BlockingIOError):
            while monitor.recv(1 << 18):
                pass
        size = os.path.getsize(database())
        yield
        received = []
        with contextlib.suppress(BlockingIOError):
            while data := monitor.recv(1 << 18):
                received.append(struct.unpack_from("=IHHII", data)[1])
        assert received == [], f"{len(received)} messages of links"
        assert os.path.getsize(database()) == size, "OVSDB was written"


def qos_came_with_its_port(port: str) -> None:
    """The row and the port are in one transaction."""
    log = run("ovsdb-tool", "show-log", "-m", database())
    records = [record for record in log.split("\nrecord ") if f'name="{port}"' in record or f'"{port}"' in record]
    creating = [record for record in records if "insert" in record and "table Port" in record]
    assert creating and "table QoS" in creating[-1], creating[-1:] or "no transaction creates the port"


def examine(of: Row, host: DaemonHost) -> None:
    """All of one VIF."""
    kind = name = of["vif_type"]
    before_links, before_rows = links().keys(), [sorted(each["_uuid"] for each in rows(table)) for table in TABLES]
    vif_ = vifplug.load(of)
    with check(f"path: {name}: plugged"):
        host.plug([vif_])
        must_be_whole([of])
    port = port_of(of)
    with check(f"path: {name}: every attribute of every link"):
        must_have_attributes(of)
    if port is not None:
        with check(f"path: {name}: rows"):
            must_have_rows(of, port)
        with check(f"path: {name}: a port of the kernel's datapath"):
            assert f": {port}" in run("ovs-dpctl", "show"), run("ovs-dpctl", "show")
        with check(f"path: {name}: QoS row, in the transaction that creates the port"):
            (qos,) = [each for each in rows("QoS") if each["_uuid"] == row("Port", port)["qos"]]
            assert (qos["type"], qos["external_ids"]) == ("linux-noop", {"vifplug-vif": of["id"]})
            qos_came_with_its_port(port)
        if kind == "ovs-hybrid":  # a tap's are its VMM's to choose
            with check(f"path: {name}: offloads are left on"):
                assert "tx-checksumming: on" in run("ethtool", "-k", port)
    with check(f"path: {name}: frames pass: ping, ping of the whole MTU, a megabyte of TCP"), stations(of):
        ping()
        ping(MTU - _HEADERS)
        transfer()
    with check(f"path: {name}: a replug writes nothing"), no_writes():
        host.plug([vif_])
    with check(f"path: {name}: an unplug leaves nothing"):
        host.unplug([of["id"]])
        assert links().keys() == before_links
        assert [sorted(each["_uuid"] for each in rows(table)) for table in TABLES] == before_rows


TABLES = ("Port", "Interface", "QoS")


def main() -> None:
    """Run the batch."""
    with check("path: br-int is of the kernel's datapath"):
        assert row("Bridge", "br-int")["datapath_type"] == ""
        run("modinfo", "openvswitch")
    with vifplug.connect(SOCKET) as host:
        for number, kind in enumerate(("ovs-hybrid", "ovs", "bridge"), 0x101):
            examine(vif(kind, number), host)
        waiting = vif("ovs", 0x110, create_tap=False)
        with check("path: ovs without a tap: waits for the VMM's, and takes it"):
            host.plug([vifplug.load(waiting)])
            tap = device("tap", waiting)
            assert host.get(waiting["id"]).waiting_for
            run("ip", "tuntap", "add", tap, "mode", "tap")
            run("ip", "link", "set", tap, "up")
            time.sleep(5)
            number = row("Interface", tap)["ofport"]
            assert isinstance(number, int) and number > 0, number
            host.unplug([waiting["id"]])
            assert tap in links(), "the VMM's own tap went with the VIF"
            run("ip", "link", "del", tap)
    end()


if __name__ == "__main__":
    main()
