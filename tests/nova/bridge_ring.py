"""The checks of mode bridge: vifplug's mechanism driver, and its agents on hosts hv1 (Nova's) and hv2 (a network
namespace of the world, with a probe on each network).

What is fetched is fetched by the probe, so that every frame passes the wire between the hosts.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.nova import services
from tests.nova.ring import Cloud, Ring, address, is_clean
from tests.nova.services import CheckError, run, stop, until
from tests.nova.two_hosts import (
    AGENTS,
    CONFIG,
    HOSTS,
    SETPRIV,
    Pinging,
    kill_agent,
    links,
    make_as_the_old_agent,
    on,
    start_agent,
    vifs,
)

TIMES = 5


class BridgeRing(Ring):
    """The checks, in the order in which they are run."""

    # -- how it is seen

    def _agents(self) -> list[Any]:
        return [agent for agent in self.cloud.api.network.agents() if agent.agent_type == "vifplug agent"]

    def _status(self, port_id: str) -> str:
        return str(self.cloud.api.network.get_port(port_id).status)

    def _until_status(self, port_id: str, status: str) -> None:
        until(lambda: self._status(port_id) == status, f"port {port_id} is {status}")

    @property
    def _port(self) -> Any:
        (port, *_more) = self.cloud.ports(self.server)
        return port

    def _probe(self, network: str) -> Any:
        return self.cloud.api.network.find_port(f"probe-{network}")

    def _pings(self, ip: str, *options: str, count: int = 3, network: str = "net1") -> bool:
        argv = ["ip", "netns", "exec", f"probe-{network}", "ping", "-c", str(count), "-W", "2", *options, ip]
        return subprocess.run(argv, capture_output=True).returncode == 0

    @contextlib.contextmanager
    def _pinging(self, ip: str) -> Iterator[Pinging]:
        """Ping a guest from the other host ten times a second meanwhile."""
        pinging = Pinging("probe-net1", ip)
        try:
            yield pinging
        finally:
            pinging.end()

    def _boot_on(self, network: str) -> Any:
        server = self.cloud.api.compute.create_server(
            name=f"bridge-{network}",
            image_id=self.cloud.api.image.find_image("guest").id,
            flavor_id=self.cloud.api.compute.find_flavor("tiny").id,
            networks=[{"uuid": self.cloud.network(network).id}],
        )
        return server

    # -- the checks

    def agents_are_alive(self) -> str:
        """the agents of both hosts are alive, with their mappings and their health"""
        found = until(lambda: len(self._agents()) == 2 and self._agents(), "both agents report")
        for agent in found:
            kept = agent.configuration
            if not agent.is_alive or kept["interface_mappings"] != {"physnet1": "eth1"}:
                raise CheckError(f"agent {agent.host}: {agent.is_alive}, {kept}")
            if kept["tunnel_types"] != ["vxlan"] or kept["vifplugd"] != "answers":
                raise CheckError(f"agent {agent.host}: {kept}")
        return ", ".join(f"{agent.host} {agent.configuration['vifs']}" for agent in found)

    def flat_network(self) -> None:
        """a server on a flat network is ACTIVE, its page is fetched across the wire; then nothing is left of it"""
        server = self.cloud.active(self._boot_on("flat1"))
        (port,) = self.cloud.ports(server)
        self.cloud.page(address(port), "flat1")
        if vifs("hv1")[port.id]["state"] != "active":
            raise CheckError(f"{vifs('hv1')[port.id]}")
        self.cloud.delete(server)
        until(lambda: port.id not in vifs("hv1"), "its VIF is gone")

    def vlan_network(self) -> str:
        """a port on a VLAN network is bound; without 8021q in the kernel its agent has one line about it"""
        port = self._probe("vlan1")
        if port.binding_vif_type != "tap":
            raise CheckError(f"it is {port.binding_vif_type}")
        probe = subprocess.run(
            "ip link add vt0 type veth peer vt1 && ip link add link vt0 name vt0.5 type vlan id 5; ip link del vt0",
            shell=True,
            capture_output=True,
        )
        if not probe.stderr:
            self._until_status(port.id, "ACTIVE")
            return "8021q is there"
        self._until_status(port.id, "DOWN")
        log = (services.ROOT / "log" / "vifplug-neutron-agent-hv2.log").read_text()
        if f"port {port.id} is not plugged: could not create vlan 'eth1.101'" not in log:
            raise CheckError("the agent's log does not name the reason")
        return "no 8021q here: proved in the booted host"

    def port_goes_down_with_its_tap(self) -> None:
        """the tap of a port is deleted: DOWN, and unplugged; made again: ACTIVE"""
        port = self._probe("net2")
        tap = f"tap{port.id[:11]}"
        on("hv2", "ip", "link", "set", tap, "name", "aside")
        self._until_status(port.id, "DOWN")
        until(lambda: port.id not in vifs("hv2"), "it is unplugged")
        on("hv2", "ip", "link", "set", "aside", "name", tap)
        self._until_status(port.id, "ACTIVE")

    def security_groups(self) -> None:
        """the rule for ICMP is deleted: no ping; made again: ping"""
        self.cloud.page(address(self._port))
        ip = address(self._port)
        if not self._pings(ip):
            raise CheckError("no ping with the rule")
        group = self.cloud.api.network.find_security_group("default", project_id=self.cloud.api.current_project_id)
        rule = {"direction": "ingress", "ether_type": "IPv4", "protocol": "icmp"}
        (there,) = self.cloud.api.network.security_group_rules(security_group_id=group.id, **rule)
        self.cloud.api.network.delete_security_group_rule(there)
        try:
            until(lambda: not self._pings(ip, count=1), "no ping without the rule", 60)
            self.cloud.page(ip)
        finally:
            self.cloud.api.network.create_security_group_rule(
                security_group_id=group.id, remote_ip_prefix="0.0.0.0/0", **rule
            )
        until(lambda: self._pings(ip, count=1), "ping with the rule", 60)

    def allowed_address_pairs(self) -> None:
        """another address of a port's guest is dropped, passes as an allowed address pair, and is dropped again"""
        probe, ip = self._probe("net1"), address(self._port)
        other = re.sub(r"\d+$", "250", ip)
        run("ip", "-n", "probe-net1", "addr", "add", f"{other}/24", "dev", "eth0")
        try:
            if self._pings(ip, "-I", other):
                raise CheckError("a foreign address passes")
            if not self._pings(ip):
                raise CheckError("its own does not")
            self.cloud.api.network.update_port(probe, allowed_address_pairs=[{"ip_address": other}])
            until(lambda: self._pings(ip, "-I", other, count=1), "the pair passes", 60)
            self.cloud.api.network.update_port(probe, allowed_address_pairs=[])
            until(lambda: not self._pings(ip, "-I", other, count=1), "it is dropped again", 60)
        finally:
            run("ip", "-n", "probe-net1", "addr", "del", f"{other}/24", "dev", "eth0")

    def admin_state(self) -> None:
        """the port is set down: its guest is cut off; set up: it is back"""
        port, ip = self._port, address(self._port)
        self.cloud.api.network.update_port(port, is_admin_state_up=False)
        until(lambda: not self._pings(ip, count=1), "no ping while it is down", 60)
        tap = json.loads(on("hv1", "ip", "-j", "link", "show", f"tap{port.id[:11]}"))[0]
        if "UP" in tap["flags"] or self._status(port.id) != "DOWN":
            raise CheckError(f"{tap['flags']}, {self._status(port.id)}")
        self.cloud.api.network.update_port(port, is_admin_state_up=True)
        until(lambda: self._pings(ip, count=1), "ping again", 60)
        self._until_status(port.id, "ACTIVE")

    def mtu(self) -> None:
        """the network's MTU is lowered and raised: the taps follow on both hosts"""
        network, ports = self.cloud.network("net1"), {"hv1": self._port, "hv2": self._probe("net1")}

        def are(size: int) -> bool:
            taps = (on(host, "ip", "-j", "link", "show", f"tap{port.id[:11]}") for host, port in ports.items())
            return all(json.loads(tap)[0]["mtu"] == size for tap in taps)

        before = network.mtu
        for size in (1400, before):
            self.cloud.api.network.update_network(network, mtu=size)
            until(lambda size=size: are(size), f"taps of MTU {size}", 60)  # type: ignore[misc]
        self._well()

    def port_is_deleted(self) -> None:
        """a port is deleted while its tap stays: the tap leaves the bridge; the network is deleted: nothing is left"""
        api = self.cloud.api.network
        network = api.create_network(name="passing")
        api.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24", is_dhcp_enabled=True)
        owner = {"device_owner": "compute:probe", "network_id": network.id}
        port = api.create_port(binding_host_id="hv2", **owner)
        tap, bridge = f"tap{port.id[:11]}", f"brq{network.id[:11]}"
        try:
            on("hv2", "ip", "tuntap", "add", tap, "mode", "tap")
            self._until_status(port.id, "ACTIVE")
            if not {bridge, f"vxlan-{api.get_network(network).provider_segmentation_id}"} <= links("hv2"):
                raise CheckError(f"bridge or VXLAN is missing: {links('hv2')}")
            number = api.get_network(network).provider_segmentation_id
            api.delete_port(port)
            until(lambda: port.id not in vifs("hv2"), "it is unplugged")
            if "master" in json.loads(on("hv2", "ip", "-j", "link", "show", tap))[0]:
                raise CheckError("its tap is still on the bridge")
        finally:
            on("hv2", "ip", "link", "delete", tap, check=False)
        api.delete_network(network)
        for host in HOSTS:
            until(lambda host=host: not {bridge, f"vxlan-{number}"} & links(host), f"nothing is left on {host}", 60)  # type: ignore[misc]

    def old_agents_host(self) -> str:
        """bridge, VXLAN and tap as the old agent made them, under a ping: none is lost, and they are taken over"""
        api = self.cloud.api.network
        network = api.create_network(name="inherited")
        api.create_subnet(network_id=network.id, ip_version=4, cidr="10.8.0.0/24", is_dhcp_enabled=True)
        owner = {"device_owner": "compute:probe", "network_id": network.id, "binding_host_id": "hv2"}
        dhcp = until(lambda: list(api.ports(network_id=network.id, status="ACTIVE")), "the DHCP port is ACTIVE")[0]
        kill_agent("hv2")
        port, later = (api.create_port(**owner) for _number in range(2))
        number, tap, bridge = (
            api.get_network(network).provider_segmentation_id,
            f"tap{port.id[:11]}",
            f"brq{network.id[:11]}",
        )
        try:
            make_as_the_old_agent(bridge, f"vxlan-{number}", tap, port)
            argv = ["ip", "netns", "exec", "inherited", "ping", "-c", "1", "-W", "2", address(dhcp)]
            until(lambda: subprocess.run(argv, capture_output=True).returncode == 0, "a first ping")
            before = on("hv2", "ip", "-j", "link", "show", "master", bridge)
            watch = subprocess.Popen([*HOSTS["hv2"][0], "ip", "monitor", "link"], stdout=subprocess.PIPE, text=True)
            pinging = Pinging("inherited", address(dhcp))
            start_agent("hv2")
            self._until_status(port.id, "ACTIVE")
            time.sleep(5)
            pinging.end()
            summary = pinging.require_all()
            watch.terminate()
            changed = [line for line in watch.communicate()[0].splitlines() if bridge in line or tap in line]
            if changed or on("hv2", "ip", "-j", "link", "show", "master", bridge) != before:
                raise CheckError(f"changes: {changed}")
            # It is the new agent's now: a second port joins, and the first one is set down.
            on("hv2", "ip", "tuntap", "add", f"tap{later.id[:11]}", "mode", "tap")
            self._until_status(later.id, "ACTIVE")
            (joined,) = json.loads(on("hv2", "ip", "-j", "link", "show", f"tap{later.id[:11]}"))
            if joined.get("master") != bridge:
                raise CheckError(f"the second tap is on {joined.get('master')}")
            api.update_port(port, is_admin_state_up=False)
            until(lambda: subprocess.run(argv, capture_output=True).returncode != 0, "it is cut off", 60)
        finally:
            for name in (tap, f"tap{later.id[:11]}", f"vxlan-{number}", bridge):
                on("hv2", "ip", "link", "delete", name, check=False)
            run("ip", "netns", "del", "inherited", check=False)
            if not services.is_alive(int((services.PIDS / AGENTS[1]).read_text())):
                start_agent("hv2")
        for each in (port, later):
            api.delete_port(each)
        api.delete_network(network)
        return summary

    def agents_killed(self) -> str:
        """both agents are killed with -9 and started under a ping of ten a second: none is lost"""
        ip = address(self._port)
        self.cloud.page(ip)
        with self._pinging(ip) as pinging:
            time.sleep(2)
            for host in HOSTS:
                kill_agent(host)
            time.sleep(3)
            for host in HOSTS:
                start_agent(host)
            time.sleep(30)
        self._well()
        return pinging.require_all()

    def servers_come_and_go_without_the_agent(self) -> str:
        """the agent is away for a minute: a server is deleted, another waits and is ACTIVE once it is back"""
        leaving = self.cloud.active(self._boot_on("net1"))
        (gone,) = self.cloud.ports(leaving)
        self.cloud.page(address(gone))
        kill_agent("hv1")
        self.cloud.delete(leaving)
        coming = self._boot_on("net1")
        time.sleep(60)
        if self.cloud.api.compute.get_server(coming.id).status == "ACTIVE" or gone.id not in vifs("hv1"):
            raise CheckError("it did not need the agent")
        began = time.monotonic()
        start_agent("hv1")
        coming = self.cloud.active(coming)
        seconds = time.monotonic() - began
        (port,) = self.cloud.ports(coming)
        self.cloud.page(address(port))
        until(lambda: gone.id not in vifs("hv1"), "the deleted server's VIF is gone", 60)
        self.cloud.delete(coming)
        is_clean()
        return f"ACTIVE {seconds:.0f} s after the agent's start"

    def vifplugd_away(self) -> str:
        """vifplugd is away under a ping, while a server is created: none is lost, and it is ACTIVE afterwards"""
        ip = address(self._port)
        self.cloud.page(ip)
        with self._pinging(ip) as pinging:
            stop("vifplugd", signal.SIGKILL)
            coming = self._boot_on("net1")
            time.sleep(25)
            if self._status(self._port.id) != "ACTIVE":
                raise CheckError("the running server's port is reported down")
            services.start_vifplugd()
            coming = self.cloud.active(coming)
        (port,) = self.cloud.ports(coming)
        self.cloud.page(address(port))
        self.cloud.delete(coming)
        until(lambda: port.id not in vifs("hv1"), "its VIF is gone", 60)
        return pinging.require_all()

    def message_bus_away(self) -> str:
        """RabbitMQ is stopped for 30 s under a ping: none is lost, and a server is ACTIVE afterwards"""
        ip = address(self._port)
        self.cloud.page(ip)
        pid = run("pidof", "beam.smp").split()[0]
        with self._pinging(ip) as pinging:
            run("kill", "-STOP", pid)
            time.sleep(30)
            run("kill", "-CONT", pid)
            coming = self.cloud.active(self._boot_on("net1"))
        (port,) = self.cloud.ports(coming)
        self.cloud.page(address(port))
        self.cloud.delete(coming)
        until(lambda: port.id not in vifs("hv1"), "its VIF is gone")
        return pinging.require_all()

    def wrong_configuration(self) -> str:
        """a second agent, a device and a tunnel's address that the host does not have: one line each, exit status 1"""
        argv = " ".join([*SETPRIV, "vifplug-neutron-agent", *CONFIG, "/etc/neutron/vifplug_agent_hv1.ini"])
        cases = {
            argv: "another vifplug-neutron-agent runs on this host",
            f"unshare -n {argv}": "maps 'physnet1' to device 'eth1', which this host does not have",
            f"unshare -n sh -c 'ip link add eth1 type bridge && exec {argv}'": "no device of this host has address",
        }
        for command, words in cases.items():
            ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
            line = ended.stderr.strip().splitlines()[-1]
            if ended.returncode != 1 or words not in line:
                raise CheckError(f"{ended.returncode}: {line}")
        return f"{len(cases)} cases"

    def tap_to_active(self) -> str:
        """from the tap to the port's ACTIVE, as the API shows it"""
        return tap_to_active(
            self.cloud, "hv1", lambda port: ["ip", "tuntap", "add", f"tap{port.id[:11]}", "mode", "tap"]
        )

    def delete(self) -> None:
        """the server is deleted, and nothing is left of it"""
        port = self._port
        self.cloud.delete(self.server)
        self._server = None
        until(lambda: port.id not in vifs("hv1") and f"tap{port.id[:11]}" not in links("hv1"), "nothing is left")
        is_clean()


def tap_to_active(cloud: Cloud, host: str, command: Callable[[Any], list[str]]) -> str:
    """Median and range of some ports, in milliseconds."""
    api, taken = cloud.api.network, []
    network = cloud.network("net1")
    for _number in range(TIMES):
        port = api.create_port(network_id=network.id, binding_host_id=host, device_owner="compute:probe")
        try:
            began = time.monotonic()
            run(*command(port))
            until(lambda port=port: api.get_port(port.id).status == "ACTIVE", "it is ACTIVE")  # type: ignore[misc]
            taken.append((time.monotonic() - began) * 1000)
        finally:
            run("ovs-vsctl", "--if-exists", "del-port", f"tap{port.id[:11]}")
            run("ip", "link", "delete", f"tap{port.id[:11]}", check=False)
            api.delete_port(port)
    return f"median {statistics.median(taken):.0f} ms, {min(taken):.0f} to {max(taken):.0f}, n = {TIMES}"


CHECKS: tuple[Callable[[BridgeRing], str | None], ...] = (
    *(BridgeRing.agents_are_alive, BridgeRing.boot, BridgeRing.flat_network, BridgeRing.vlan_network),
    *(BridgeRing.port_goes_down_with_its_tap, BridgeRing.security_groups, BridgeRing.allowed_address_pairs),
    *(BridgeRing.admin_state, BridgeRing.mtu, BridgeRing.port_is_deleted, BridgeRing.wrong_configuration),
    *(BridgeRing.soft_reboot, BridgeRing.hard_reboot, BridgeRing.compute_restarted, BridgeRing.attach_detach),
    *(
        BridgeRing.old_agents_host,
        BridgeRing.agents_killed,
        BridgeRing.servers_come_and_go_without_the_agent,
        BridgeRing.vifplugd_away,
    ),
    *(BridgeRing.message_bus_away, BridgeRing.tap_to_active, BridgeRing.delete),
)
