"""A guest on a VIF and a host on br-int, each in a network namespace; frames between them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import threading
from collections.abc import Iterator

from tests.host.checks.ring import MTU, NETWORK_BRIDGE, Row, device, run, shell

GUEST, HOST = "10.9.0.1", "10.9.0.2"
_TUNSETIFF = 0x400454CA
_TAP, _NO_PI, _VNET_HDR = 0x0002, 0x1000, 0x4000
_BYTES = 1 << 20


@contextlib.contextmanager
def stations(vif: Row) -> Iterator[None]:
    """The namespaces ``guest`` and ``host``, connected through the VIF."""
    tap, address = device("tap", vif), vif["address"]
    bridge = {"ovs-hybrid": device("qbr", vif), "bridge": NETWORK_BRIDGE}.get(vif["vif_type"])
    host = (
        f"ip link add host0 type veth peer name hostp; ip link set hostp master {bridge} up"
        if vif["vif_type"] == "bridge"
        else "ovs-vsctl add-port br-int host0 -- set Interface host0 type=internal"
    )
    try:
        shell(f"ip netns add guest; ip netns add host; {host}; ip link set host0 netns host")
        with contextlib.ExitStack() as stack:
            if vif["create_tap"]:
                stack.enter_context(_relay(tap))
            else:
                shell(f"ip link add {tap} type veth peer name eth0 netns guest; ip link set {tap} master {bridge} up")
            for name, link, ip in (("guest", "eth0", GUEST), ("host", "host0", HOST)):
                mac = f"address {address}" if name == "guest" else ""
                shell(
                    f"ip -n {name} link set {link} mtu {MTU} {mac} up; ip -n {name} address add {ip}/24 dev {link}; "
                    f"ip -n {name} link set lo up"
                )
            yield
    finally:
        guests_end = "" if vif["create_tap"] else f"ip link del {tap};"
        ours = "ip link del hostp;" if vif["vif_type"] == "bridge" else "ovs-vsctl --if-exists del-port host0;"
        shell(f"set +e; {ours} {guests_end} ip netns del guest; ip netns del host; true")


@contextlib.contextmanager
def _relay(tap: str) -> Iterator[None]:
    """As a VMM and its guest's card: frames between the host's tap and a tap in the guest's namespace."""
    shell("ip tuntap add relay0 mode tap vnet_hdr")
    ends = [_opened(tap), _opened("relay0")]
    shell("ip link set relay0 netns guest; ip -n guest link set relay0 name eth0")
    ended = threading.Event()
    thread = threading.Thread(target=_copy, args=(ends, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for end in ends:
            os.close(end)


def _opened(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _NO_PI | _VNET_HDR))
    return descriptor


def _copy(ends: list[int], ended: threading.Event) -> None:
    while not ended.is_set():
        for end in select.select(ends, [], [], 0.2)[0]:
            with contextlib.suppress(OSError):
                os.write(ends[1 - ends.index(end)], os.read(end, _BYTES))


def ping(size: int = 56) -> None:
    """From guest to host and back, unfragmented; AssertionError when nothing comes."""
    run("ip", "netns", "exec", "guest", "ping", "-M", "do", "-s", str(size), "-c3", "-W5", HOST)


def transfer() -> None:
    """A megabyte by TCP, which lost checksums or a wrong MTU would stop."""
    shell(
        "ip netns exec host timeout 60 nc -N -l 9999 >/run/received & sleep 2; "
        f"head -c 1000000 /dev/zero | ip netns exec guest timeout 60 nc -N {HOST} 9999; wait; "
        "test $(stat -c %s /run/received) = 1000000"
    )
