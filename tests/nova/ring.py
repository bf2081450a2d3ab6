"""The checks of ``tools/test --nova``, inside a world of ``run.sh``'s: ``python -m tests.nova.ring MODE [CHECK...]``.

One line a check on standard output. What is looked at is looked at with ip, ovs-vsctl, virsh and curl.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openstack

from tests.nova import services
from tests.nova.services import CheckError, run, start, stop, until

KILLS = 10
TIMED = 3
_INSERTED = re.compile(r"\binsert\b.*\btap[0-9a-f]{8}-")
PAGE_BYTES = sum(len(f"{number}\n") for number in range(1, 60001))
_PLUG = re.compile(r"^(\S+ \S+) .* os_vif \[.*?\] (Plugging|Unplugging|Successfully (?:un)?plugged) vif")


class Cloud:
    """The OpenStack, as its user sees it.

    :param mode: ovs, ovn or bridge.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        names = {"project_name": "admin", "user_domain_name": "Default", "project_domain_name": "Default"}
        where = {"auth_url": "http://controller:5000/v3", "region_name": "RegionOne"}
        self.api: Any = openstack.connect(username="admin", password="admin", **names, **where)
        self._count = 0

    def boot(self, *, wait: bool = True) -> Any:
        """A new server on net1."""
        self._count += 1
        server = self.api.compute.create_server(
            name=f"ring-{self.mode}-{self._count}",
            image_id=self.api.image.find_image("guest").id,
            flavor_id=self.api.compute.find_flavor("tiny").id,
            networks=[{"uuid": self.network("net1").id}],
        )
        return self.active(server) if wait else server

    def network(self, name: str) -> Any:
        return self.api.network.find_network(name)

    def active(self, server: Any) -> Any:
        """The server once it is ACTIVE."""

        def look() -> Any:
            found = self.api.compute.get_server(server.id)
            if found.status == "ERROR":
                raise CheckError(f"server {server.id} is in ERROR: {(found.fault or {}).get('message')}")
            return found if found.status == "ACTIVE" and not found.task_state else None

        return until(look, f"server {server.id} is ACTIVE")

    def ports(self, server: Any) -> list[Any]:
        return list(self.api.network.ports(device_id=server.id))

    def delete(self, server: Any) -> None:
        """Delete it and wait until Nova knows nothing of it."""
        self.api.compute.delete_server(server.id)
        until(lambda: self.api.compute.find_server(server.id) is None, f"server {server.id} is deleted")

    def page(self, address: str, network: str = "net1") -> None:
        """Fetch the guest's page from its network, all of it."""
        namespace = f"qdhcp-{self.network(network).id}" if self.mode == "ovs" else f"probe-{network}"
        # A guest that boots answers no SYN, and the kernel's next may be 8 s away: a new connection is sooner.
        curl = ["curl", "-s", "--connect-timeout", "2", "-m", "20", f"http://{address}/"]
        fetch = ["ip", "netns", "exec", namespace, *curl]

        def look() -> bool:
            return len(subprocess.run(fetch, capture_output=True).stdout) == PAGE_BYTES

        until(look, f"the page of the guest at {address}")


def address(port: Any) -> str:
    return str(port.fixed_ips[0]["ip_address"])


def is_clean() -> None:
    """``vifplug check`` finds nothing."""
    result = subprocess.run(["/usr/local/bin/vifplug", "check"], capture_output=True, text=True)
    if result.returncode:
        raise CheckError(f"vifplug check exited {result.returncode}: {result.stdout}{result.stderr}")


def vifplug_json(*argv: str) -> Any:
    return json.loads(run("/usr/local/bin/vifplug", *argv, "-o", "json"))


def left_of(port_id: str) -> str:
    """What ip and ovs-vsctl show of a port."""
    links = [line for line in run("ip", "-o", "link").splitlines() if port_id[:11] in line]
    rows = run("ovs-vsctl", "--bare", "--columns=name", "find", "Interface", f"external_ids:iface-id={port_id}")
    return "\n".join([*links, *rows.split()])


def nothing_left(*port_ids: str) -> None:
    for port_id in port_ids:
        until(lambda port_id=port_id: not left_of(port_id), f"nothing is left of port {port_id}", 60)  # type: ignore[misc]
    known = [vif["id"] for vif in vifplug_json("list")["vifs"]]
    if set(known) & set(port_ids):
        raise CheckError(f"vifplug still records {known}")


class Ring:
    """The checks, in the order in which they are run; a server is carried from one to the next."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._server: Any = None

    @property
    def server(self) -> Any:
        if self._server is None:
            self._server = self.cloud.boot()
        return self._server

    def _well(self) -> None:
        (port, *_more) = self.cloud.ports(self.server)
        self.cloud.page(address(port))
        is_clean()

    def boot(self) -> str:
        """a server is ACTIVE, its page is fetched"""
        self.cloud.active(self.server)
        self._well()
        (port,) = self.cloud.ports(self.server)
        (vif,) = [vif for vif in vifplug_json("list")["vifs"] if vif["id"] == port.id]
        return f"{vif['vif_type']}, {vif['state']}"

    def soft_reboot(self) -> None:
        """the guest's page again after a soft reboot"""
        self.cloud.api.compute.reboot_server(self.server.id, "SOFT")
        time.sleep(2)
        self.cloud.active(self.server)
        self._well()

    def hard_reboot(self) -> None:
        """and after a hard reboot, which unplugs and plugs"""
        self.cloud.api.compute.reboot_server(self.server.id, "HARD")
        time.sleep(2)
        self.cloud.active(self.server)
        self._well()

    def stop_start(self) -> None:
        """stopped, its VIF is named as without a guest; started, the page again"""
        (port,) = self.cloud.ports(self.server)
        self.cloud.api.compute.stop_server(self.server.id)
        until(lambda: self.cloud.api.compute.get_server(self.server.id).status == "SHUTOFF", "it is stopped")
        is_clean()
        listed = vifplug_json("list")["vifs"]
        if [vif for vif in listed if vif["id"] == port.id and not vif["absent_since"]]:
            raise CheckError("the stopped server's VIF has no absent_since")
        self.cloud.api.compute.start_server(self.server.id)
        self.cloud.active(self.server)
        self._well()

    def attach_detach(self) -> None:
        """a second interface comes, serves the page, goes, and nothing of it is left"""
        net = self.cloud.network("net2")
        interface = self.cloud.api.compute.create_server_interface(self.server, net_id=net.id)
        (port,) = [port for port in self.cloud.ports(self.server) if port.network_id == net.id]
        self.cloud.page(address(port), "net2")
        is_clean()
        self.cloud.api.compute.delete_server_interface(interface, server=self.server)
        until(lambda: len(self.cloud.ports(self.server)) == 1, "the port is detached")
        nothing_left(port.id)
        self._well()

    def compute_restarted(self) -> None:
        """nova-compute is killed and started: no port is made again"""
        before = self._numbers()
        self._restart_compute()
        if self._numbers() != before:
            raise CheckError(f"ofports or ifindexes changed: {before}, {self._numbers()}")
        self._well()

    def compute_before_vifplugd(self) -> None:
        """nova-compute is started while vifplugd is away: it waits"""
        stop("nova-compute", signal.SIGKILL)
        stop("vifplugd")
        size = services.NOVA_LOG.stat().st_size
        start("nova-compute", *services.COMPUTE)
        until(lambda: "repeated for up to" in self._log(size), "the plugin repeats")
        services.start_vifplugd()
        self._await_compute(size)
        self._well()

    def killed_in_mid_plug(self) -> str:
        """the worker is killed with -9 as the VIF's first device or row appears: ACTIVE"""
        for number in range(1, KILLS + 1):
            until(services.vifplugd_answers, "vifplugd answers")
            killed = threading.Event()
            watch = threading.Thread(target=self._kill_at_first_sight, args=(killed,), daemon=True)
            watch.start()
            server = self.cloud.boot()
            if not killed.is_set():
                raise CheckError(f"server {number}: the worker was not killed")
            ports = self.cloud.ports(server)
            self.cloud.page(address(ports[0]))
            is_clean()
            self.cloud.delete(server)
            nothing_left(*(port.id for port in ports))
        return f"{KILLS} of {KILLS}"

    def _kill_at_first_sight(self, killed: threading.Event) -> None:
        worker = services.worker()
        if self.cloud.mode == "ovs":
            argv, word = ["ip", "-o", "monitor", "link"], re.compile(r"\bqbr[0-9a-f]{8}-")
        else:
            database = ("unix:/run/openvswitch/db.sock", "Open_vSwitch")
            argv, word = ["ovsdb-client", "monitor", *database, "Interface", "name"], _INSERTED
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if word.search(line) and "Deleted" not in line:
                os.kill(worker, signal.SIGKILL)
                killed.set()
                break
        process.kill()
        process.communicate()

    def deleted_while_vifplugd_is_away(self) -> None:
        """its VIF is left and named; gc --keep shows it, and --delete unplugs it and no other"""
        server = self.cloud.boot()
        (port,) = self.cloud.ports(server)
        stop("vifplugd")
        self.cloud.delete(server)
        services.start_vifplugd()

        def absent() -> bool:
            return port.id in {vif["id"] for vif in vifplug_json("list", "--absent-for", "0")["vifs"]}

        until(absent, "the VIF is named as without a guest")
        is_clean()
        keep = Path("/tmp/keep")
        servers = [each.id for each in self.cloud.api.compute.servers(all_projects=True)]
        keep.write_text("\n".join(["# the servers that there are", *servers]))
        shown = vifplug_json("gc", "--keep", str(keep), "--absent-for", "0")
        if [vif["vif_id"] for vif in shown["absent"]] != [port.id] or shown["unplugged"]:
            raise CheckError(f"gc --keep shows {shown}")
        gone = vifplug_json("gc", "--keep", str(keep), "--absent-for", "0", "--delete")
        if [vif["vif_id"] for vif in gone["unplugged"]] != [port.id]:
            raise CheckError(f"gc --keep --delete unplugged {gone['unplugged']}")
        nothing_left(port.id)
        self._well()

    def delete(self) -> None:
        """the server is deleted, and nothing is left"""
        ports = [port.id for port in self.cloud.ports(self.server)]
        self.cloud.delete(self.server)
        self._server = None
        nothing_left(*ports)
        is_clean()
        if vifplug_json("list")["vifs"]:
            raise CheckError(f"vifplug still records {vifplug_json('list')['vifs']}")

    def beside_os_vif(self) -> str:
        """plug and unplug times out of Nova's log, by vifplug and by os-vif's own plugin"""
        ours = self._timed()
        config = Path("/etc/nova/nova.conf")
        text = config.read_text()
        try:
            config.write_text(text.replace("take_ovs = true", "take_ovs = false"))
            self._restart_compute()
            theirs = self._timed()
        finally:
            config.write_text(text)
            self._restart_compute()
        return "; ".join(f"{verb}: {ours[verb]:.0f} ms, os-vif {theirs[verb]:.0f} ms" for verb in ours)

    def tap_to_active(self) -> str:
        """from a port of br-int to ACTIVE, as the API shows it; for comparison with mode bridge"""
        from tests.nova.bridge_ring import tap_to_active

        def command(port: Any) -> list[str]:
            name, ids = f"tap{port.id[:11]}", f"external_ids:iface-id={port.id}"
            mac = f'external_ids:attached-mac="{port.mac_address}"'
            return ["ovs-vsctl", "add-port", "br-int", name, "--", "set", "interface", name, "type=internal", ids, mac]

        return tap_to_active(self.cloud, "hv1", command)

    def _timed(self) -> dict[str, float]:
        """Median milliseconds of plugs and unplugs of some servers."""
        size = services.NOVA_LOG.stat().st_size
        for _number in range(TIMED):
            self.cloud.delete(self.cloud.boot())
        began: dict[str, float] = {}
        seconds: dict[str, list[float]] = {"plug": [], "unplug": []}
        for line in self._log(size).splitlines():
            found = _PLUG.match(line)
            if found is None:
                continue
            when = _seconds(found[1])
            verb = "unplug" if "nplug" in found[2] and not found[2].endswith(" plugged") else "plug"
            if found[2].startswith("Successfully"):
                seconds[verb].append(when - began[verb])
            else:
                began[verb] = when
        return {verb: statistics.median(found) * 1000 for verb, found in seconds.items()}

    @staticmethod
    def _log(size: int) -> str:
        with open(services.NOVA_LOG, errors="replace") as log:
            log.seek(size)
            return log.read()

    def _restart_compute(self) -> None:
        stop("nova-compute", signal.SIGKILL)
        size = services.NOVA_LOG.stat().st_size
        start("nova-compute", *services.COMPUTE)
        self._await_compute(size)

    def _await_compute(self, size: int) -> None:
        """Until its first audit: init_host is over, and it takes work."""
        until(lambda: "Final resource view" in self._log(size), "nova-compute has started")

    @staticmethod
    def _numbers() -> list[str]:
        ports = run(
            "ovs-vsctl", "--bare", "--columns=name,ofport", "find", "Interface", "external_ids:iface-status=active"
        )
        links = [line.split(": ")[:2] for line in run("ip", "-o", "link").splitlines()]
        return [ports, *(f"{number} {name}" for number, name in links if name[:3] in ("qbr", "qvb", "qvo", "tap"))]


CHECKS: tuple[Callable[[Ring], str | None], ...] = (
    *(Ring.boot, Ring.soft_reboot, Ring.hard_reboot, Ring.stop_start, Ring.attach_detach, Ring.compute_restarted),
    *(Ring.compute_before_vifplugd, Ring.killed_in_mid_plug, Ring.deleted_while_vifplugd_is_away, Ring.delete),
    *(Ring.beside_os_vif, Ring.tap_to_active),
)


def _seconds(text: str) -> float:
    """Of a log line's date and time, seconds."""
    date, _, clock = text.partition(" ")
    return time.mktime(time.strptime(f"{date} {clock[:8]}", "%Y-%m-%d %H:%M:%S")) + float(f"0{clock[8:]}")


def main(mode: str, wanted: list[str]) -> int:
    """Run the checks; 1 when one failed. A check that was named and is none fails, too."""
    ring, failed = Ring(Cloud(mode)), False
    checks: tuple[Callable[[Any], str | None], ...] = CHECKS
    if mode == "bridge":
        from tests.nova import bridge_ring

        ring, checks = bridge_ring.BridgeRing(ring.cloud), bridge_ring.CHECKS
    unknown = set(wanted) - {check.__name__ for check in checks}
    if unknown:
        sys.exit(
            f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(each.__name__ for each in checks)}"
        )
    for check in checks:
        if wanted and check.__name__ not in wanted:
            continue
        began = time.monotonic()
        try:
            result = check(ring)
            outcome, note = "ok", f" ({result})" if result else ""
        except Exception as error:
            outcome, note, failed = "FAILED", f": {type(error).__name__}: {' '.join(str(error).split())[:600]}", True
        seconds = time.monotonic() - began
        print(f"{outcome:6} {mode} {check.__name__}: {check.__doc__}{note} [{seconds:.0f} s]", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
