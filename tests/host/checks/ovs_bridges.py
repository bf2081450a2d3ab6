"""OVS bridges that vifplug makes on the kernel's datapath, a trunk's and a VIF's own: frames, repairs, ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import vifplug
from tests.host.checks.ring import (
    MTU,
    NETWORK,
    SOCKET,
    Row,
    check,
    device,
    end,
    links,
    row,
    rows,
    run,
    shell,
    vif,
    wait_until,
)
from tests.host.checks.traffic import ping, stations, transfer
from vifplug.api.contract import Host

TRUNK = f"tbr-{NETWORK}"[:14]
TABLES = ("Bridge", "Port", "Interface", "QoS")
_HEADERS = 28
"""Of an ICMP echo in IPv4."""
REPAIR_SECONDS = 120.0


def cases() -> dict[str, tuple[Row, str]]:
    """A VIF of each kind, and the bridge that is made for it."""
    parent = vif("ovs", 0x701, network={"mtu": MTU, "bridge": TRUNK})
    own = vif("ovs", 0x702, per_port_bridge=True)
    return {"trunk": (parent, TRUNK), "own bridge": (own, device("pb", own))}


def wire(bridge: str) -> None:
    """What Neutron's agent does for a trunk: a patch to the integration bridge."""
    if bridge == TRUNK:
        shell(
            f"""ovs-vsctl --may-exist add-port {bridge} tpt0 -- set Interface tpt0 type=patch options:peer=tpi0 \
            -- --may-exist add-port br-int tpi0 -- set Interface tpi0 type=patch options:peer=tpt0"""
        )


@contextlib.contextmanager
def wired(bridge: str) -> Iterator[None]:
    """The agent's patch, for a while."""
    wire(bridge)
    try:
        yield
    finally:
        shell("ovs-vsctl --if-exists del-port tpt0 -- --if-exists del-port tpi0")


def frames_pass() -> None:
    """A ping, one of the whole MTU, a megabyte of TCP."""
    ping()
    ping(MTU - _HEADERS)
    transfer()


def is_there(bridge: str, other_than: str = "") -> bool:
    """Whether there is such a bridge, with its local port's device."""
    there = [each for each in rows("Bridge") if each["name"] == bridge and each["_uuid"] != other_than]
    return bool(there) and bridge in links()


def examine(kind: str, of: Row, bridge: str) -> None:
    """All of one VIF; the daemon repairs but for one check."""
    before = links().keys(), [sorted(each["_uuid"] for each in rows(table)) for table in TABLES]
    with vifplug.connect(SOCKET) as host:
        with check(f"ovs bridges: {kind}: plugged into a bridge of the kernel's datapath, with its mark and a QoS row"):
            host.plug([vifplug.load(of)])
            found = row("Bridge", bridge)
            assert found["datapath_type"] == row("Bridge", "br-int")["datapath_type"] == "", found
            assert "vifplug-vif" in found["external_ids"]
            tap = device("tap", of)
            assert f": {tap}" in run("ovs-dpctl", "show")
            assert row("Port", tap)["_uuid"] in found["ports"]
            assert [each["type"] for each in rows("QoS")] == ["linux-noop"]
        with wired(bridge), stations(of):
            with check(f"ovs bridges: {kind}: frames pass: ping, ping of the whole MTU, a megabyte of TCP"):
                frames_pass()
            with check(f"ovs bridges: {kind}: deleted by hand, made again by the daemon, and frames pass"):
                was = row("Bridge", bridge)["_uuid"]
                run("ovs-vsctl", "del-br", bridge)
                wait_until(lambda: is_there(bridge, was), "the bridge", REPAIR_SECONDS)
                wire(bridge)
                wait_until(lambda: host.check([of["id"]]).clean, "a clean VIF", REPAIR_SECONDS)
                frames_pass()
    without_the_daemon(kind, of, bridge)
    with (
        check(f"ovs bridges: {kind}: a replug changes nothing, and an unplug leaves what was there before"),
        vifplug.connect(SOCKET, retry=120) as host,
    ):
        assert not host.plan([vifplug.load(of)]).actions
        host.unplug([of["id"]])
        wait_until(lambda: links().keys() == before[0], "the end of the links")
        assert [sorted(each["_uuid"] for each in rows(table)) for table in TABLES] == before[1]


def without_the_daemon(kind: str, of: Row, bridge: str) -> None:
    """What ``check`` names is repaired by a command."""
    run("systemctl", "stop", "vifplugd.socket", "vifplugd.service")
    try:
        with wired(bridge), stations(of), vifplug.local() as host:
            for damage, subject in damages(of, bridge):
                with check(f"ovs bridges: {kind}: {damage}: named, repaired, frames pass"):
                    named_and_repaired(host, of, bridge, damage, subject)
    finally:
        run("systemctl", "start", "vifplugd.socket", "vifplugd.service")


def damages(of: Row, bridge: str) -> list[tuple[str, str]]:
    """What another program does, and the name that ``check`` is to give."""
    deeds = [
        (f"ovs-vsctl del-br {bridge}", bridge),
        (f"ovs-vsctl del-port {device('tap', of)}", device("tap", of)),
        (f"ovs-vsctl set-fail-mode {bridge} secure", bridge),
    ]
    return deeds if bridge == TRUNK else [*deeds, (f"ovs-vsctl del-port ibp{of['id']}", f"ibp{of['id']}")]


def named_and_repaired(host: Host, of: Row, bridge: str, damage: str, subject: str) -> None:
    """One damage."""
    shell(damage)
    (checked,) = host.check([of["id"]]).vifs
    assert subject in {item.subject for item in checked.drift}, checked.drift
    host.repair([of["id"]])
    assert host.check([of["id"]]).clean
    wire(bridge)
    frames_pass()


def main() -> None:
    """The batch."""
    for kind, (of, bridge) in cases().items():
        examine(kind, of, bridge)
    end()


if __name__ == "__main__":
    main()
