"""The two hosts of mode bridge, inside the world: hv1, where Nova's guests are, and hv2, a network namespace."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import Any

from tests.nova import services
from tests.nova.ring import address
from tests.nova.services import CheckError, run, start, stop

AGENTS = ("vifplug-neutron-agent-hv1", "vifplug-neutron-agent-hv2")
SETPRIV = ("setpriv", "--reuid=neutron", "--regid=neutron", "--init-groups", "env", "HOME=/var/lib/neutron")
CONFIG = ("--config-file", "/etc/neutron/vifplug-neutron-agent.conf", "--config-file")
HOSTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hv1": ((), ()),
    "hv2": (("ip", "netns", "exec", "hv2"), ("--config-file", "/etc/vifplug/hv2.conf")),
}
"""How a command is run on a host, and how its vifplugd is found."""


class Pinging:
    """A ping ten times a second from a network namespace, until its end."""

    def __init__(self, namespace: str, ip: str) -> None:
        argv = ["ip", "netns", "exec", namespace, "ping", "-i", "0.1", "-W", "5", ip]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._numbers: list[int] = []

    def end(self) -> None:
        """End it; once."""
        self._process.send_signal(signal.SIGINT)
        self._numbers = [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", self._process.communicate()[0])]

    def require_all(self) -> str:
        """The count of answers; all up to the last one came. The request under way at the end is not awaited."""
        lost = set(range(1, max(self._numbers, default=0) + 1)) - set(self._numbers)
        if lost or not self._numbers:
            raise CheckError(f"{len(lost)} pings were lost: {sorted(lost)[:20]}")
        return f"{len(self._numbers)} of {len(self._numbers)} pings"


def on(host: str, *argv: str, check: bool = True) -> str:
    """A command's output on a host."""
    return run(*HOSTS[host][0], *argv, check=check)


def vifs(host: str) -> dict[str, Any]:
    """vifplug's VIFs of a host, by id."""
    answer = on(host, "/usr/local/bin/vifplug", *HOSTS[host][1], "list", "-o", "json")
    return {vif["id"]: vif for vif in json.loads(answer)["vifs"]}


def start_agent(host: str) -> None:
    """Start the agent of a host."""
    argv = [*SETPRIV, "vifplug-neutron-agent", *CONFIG, f"/etc/neutron/vifplug_agent_{host}.ini"]
    start(f"vifplug-neutron-agent-{host}", *HOSTS[host][0], *argv)


def kill_agent(host: str) -> None:
    """Kill the agent of a host with -9, the parent first and then its children."""
    pid = int((services.PIDS / f"vifplug-neutron-agent-{host}").read_text())
    children = run("ps", "-o", "pid=", "--ppid", str(pid), check=False).split()
    for each in (str(pid), *children):
        run("kill", "-9", each, check=False)
    stop(f"vifplug-neutron-agent-{host}", signal.SIGKILL)


def make_as_the_old_agent(bridge: str, vxlan: str, tap: str, port: Any) -> None:
    """On hv2: what Neutron's Linux bridge agent of 2024.1 made with l2_population, and a guest's tap."""
    number, mac, ip = vxlan.partition("-")[2], port.mac_address, address(port)
    for command in (
        f"ip link add {bridge} mtu 1450 type bridge forward_delay 0 stp_state 0",
        f"ip link add {vxlan} mtu 1450 type vxlan id {number} dev u1 local 10.79.0.3 dstport 8472",
        f"bridge fdb append 00:00:00:00:00:00 dev {vxlan} dst 10.79.0.2",
        f"ip link set {vxlan} master {bridge} up",
        f"ip link add {tap} mtu 1450 type veth peer name eth0",
        f"ip link set {tap} master {bridge} up",
        f"ip link set {bridge} up",
    ):
        on("hv2", *command.split())
    run("ip", "netns", "add", "inherited")
    on("hv2", "ip", "link", "set", "eth0", "netns", "inherited")
    run("ip", "-n", "inherited", "link", "set", "eth0", "address", mac, "mtu", "1450", "up")
    run("ip", "-n", "inherited", "addr", "add", f"{ip}/24", "dev", "eth0")


def links(host: str) -> set[str]:
    """The names of a host's links."""
    return {link["ifname"] for link in json.loads(on(host, "ip", "-j", "link"))}
