"""The units as a real systemd runs them: everything that vifplugd does is possible inside, and little else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import faults
from tests.support.world.booted import LOG, Booted
from tests.support.world.daemons import wait_until

HYBRID = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
SOCKET = "/run/vifplug/vifplug.sock"
CAPABILITIES = {"chown": 0, "kill": 5, "setgid": 6, "setuid": 7, "net_admin": 12}


@pytest.fixture
def booted() -> Iterator[Booted]:
    """A machine whose Open vSwitch and vifplugd run."""
    with Booted() as machine:
        machine.run("systemctl", "start", "openvswitch-switch.service", "vifplugd.service")
        yield machine


BEHIND = """
[Unit]
DefaultDependencies=no
Requires=vifplugd.service
After=vifplugd.service
[Service]
Type=oneshot
ExecStart=/bin/sh -ec 'ip -j link >/run/behind.links; ovs-vsctl --columns=name,ofport list Interface >/run/behind.ports'
"""


def _curl(machine: Booted, path: str, *more: str, user: str | None = None) -> str:
    url = f"http://localhost{path}"
    return machine.run("curl", "-sS", "--unix-socket", SOCKET, *more, url, user=user).stdout


def _plug(machine: Booted, samples: Path) -> None:
    for name in ("ml2ovs_hybrid_port_create_2", "ovn_port_create_down", "nova_network_info_bridge"):
        machine.run("vifplug", "--socket", SOCKET, "plug", "--mtu", "1450", str(samples / f"{name}.json"))


def _host(machine: Booted) -> str:
    """Links with their indexes, and rows with their UUIDs: what must not change."""
    links = json.loads(machine.run("ip", "-j", "link").stdout)
    kept = [[link[key] for key in ("ifindex", "ifname", "mtu", "address")] + [link.get("master")] for link in links]
    rows = machine.run("ovs-vsctl", "--columns=_uuid,name,external_ids,tag", "list", "Port").stdout
    return json.dumps(kept) + rows


def _processes(machine: Booted) -> dict[str, dict[str, str]]:
    """Parent, worker and helper: what the kernel says of each."""
    group = machine.property("ControlGroup")
    found = {}
    for pid in machine.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs").stdout.split():
        lines = machine.run("cat", f"/proc/{pid}/status").stdout.splitlines()
        output = {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}
        is_main = pid == machine.property("MainPID")
        found["parent" if is_main else "helper" if output["Uid"].split()[0] == "0" else "worker"] = output
    return found


def _mask(*names: str) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


def test_daemon_does_all_its_work_inside_its_unit(booted: Booted, samples: Path) -> None:
    assert booted.property("StatusText") == f"serving on {SOCKET}"
    before = _host(booted)
    _plug(booted, samples)
    assert json.loads(_curl(booted, "/v1/check", "-d", "{}"))["clean"]
    assert booted.run("cat", "/proc/sys/net/ipv6/conf/qbr2bc1ec8f-4b/disable_ipv6").stdout == "1\n"
    booted.run("ip", "link", "set", "qvb2bc1ec8f-4b", "nomaster")
    wait_until(lambda: "master qbr2bc1ec8f-4b" in booted.run("ip", "link", "show", "qvb2bc1ec8f-4b").stdout, "a repair")
    vifs = json.loads(_curl(booted, "/v1/vifs"))["vifs"]
    booted.run("vifplug", "--socket", SOCKET, "unplug", *(vif["id"] for vif in vifs))
    assert _host(booted) == before


def test_each_process_has_no_more_than_it_needs(booted: Booted) -> None:
    wait_until(lambda: len(_processes(booted)) == 3, "parent, worker and helper")
    found = _processes(booted)
    for output in found.values():
        assert (output["NoNewPrivs"], output["Seccomp"]) == ("1", "2")
        assert int(output["CapBnd"], 16) == _mask(*CAPABILITIES)
    assert int(found["parent"]["CapEff"], 16) == _mask(*CAPABILITIES)
    assert int(found["worker"]["CapPrm"], 16) == 0
    assert int(found["helper"]["CapPrm"], 16) == _mask("net_admin")
    user = booted.run("id", "-u", "vifplug").stdout.strip()
    assert set(found["worker"]["Uid"].split()) == {user}
    assert booted.run("stat", "-c", "%U %a", "/var/lib/vifplug").stdout == "vifplug 700\n"
    assert booted.run("stat", "-c", "%U:%G %a", SOCKET).stdout == "root:vifplug 660\n"


def test_stop_start_and_kill_leave_the_host_as_it_is(booted: Booted, samples: Path) -> None:
    _plug(booted, samples)
    before = _host(booted)
    booted.run("systemctl", "stop", "vifplugd.service")
    assert booted.property("Result") == "success"
    assert _host(booted) == before
    # The socket is still there: whoever asks starts the service.
    assert json.loads(_curl(booted, "/healthz"))["status"] in ("ok", "degraded")
    wait_until(lambda: booted.property("ActiveState") == "active", "READY, which the first comparison is waited for")
    first = booted.property("MainPID")
    booted.run("kill", "-KILL", first)
    wait_until(lambda: booted.property("MainPID") not in ("0", first), "a restart by systemd")
    assert HYBRID in _curl(booted, "/v1/vifs")
    assert len(_processes(booted)) == 3
    assert json.loads(_curl(booted, "/v1/check", "-d", "{}"))["clean"]
    assert _host(booted) == before


def test_socket_is_for_members_of_its_group(booted: Booted) -> None:
    url = ("curl", "-sS", "--unix-socket", SOCKET, "http://localhost/v1/host")
    outsider = booted.run(*url, user="nobody", check=False)
    assert outsider.returncode != 0
    booted.run("useradd", "--groups", "vifplug", "--user-group", "--no-create-home", "nova")
    assert json.loads(booted.run(*url, user="nova").stdout)["level"] == "operate"


def test_files_of_others_are_not_given_to_the_daemons_user(booted: Booted) -> None:
    booted.run("systemctl", "stop", "vifplugd.socket", "vifplugd.service")
    booted.run("touch", "/etc/precious")
    booted.run("chown", "root:", "/var/lib/vifplug/locks")  # as root's command line left it in an older version
    booted.run("ln", "-s", "/etc/precious", "/var/lib/vifplug/link")
    booted.run("systemctl", "start", "vifplugd.service")
    assert booted.run("stat", "-c", "%U", "/etc/precious").stdout == "root\n"
    assert booted.run("stat", "-c", "%U", "/var/lib/vifplug/locks").stdout == "vifplug\n"


def test_ovsdb_by_tcp_needs_the_drop_in(booted: Booted, samples: Path) -> None:
    booted.run("ovs-appctl", "-t", "ovsdb-server", "ovsdb-server/add-remote", "ptcp:6640:127.0.0.1")
    booted.run("mkdir", "/etc/vifplug")
    booted.run("sh", "-c", "printf '[ovs]\nconnection = tcp:127.0.0.1:6640\n' >/etc/vifplug/vifplug.conf")
    booted.run("systemctl", "restart", "vifplugd.service")
    assert json.loads(_curl(booted, "/healthz"))["status"] == "degraded"
    booted.add_drop_in("inet", (samples.parents[1] / "etc/systemd/vifplugd-inet.conf").read_text())
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "restart", "vifplugd.service")
    wait_until(lambda: json.loads(_curl(booted, "/healthz"))["status"] == "ok", f"OVSDB by tcp: {LOG}")
    _plug(booted, samples)


def test_unit_ordered_behind_it_finds_every_link_and_port_after_a_boot(booted: Booted) -> None:
    (booted.directory / "units" / "behind.service").write_text(BEHIND)
    booted.run("systemctl", "daemon-reload")
    vifs = [faults.vif(kind, number, create_tap=True) for number, kind in enumerate(7 * faults.TYPES, 1)]
    document = booted.directory / "vifs.json"
    document.write_text(json.dumps([vif.model_dump(mode="json", exclude_none=True) for vif in vifs]))
    booted.run("vifplug", "--socket", SOCKET, "plug", str(document))
    booted.run("systemctl", "stop", "vifplugd.socket", "vifplugd.service")
    links = {faults.device(prefix, vif) for vif in vifs for prefix in ("qbr", "tap")}
    links |= {faults.device("qvb", vif) for vif in vifs} | {faults.NETWORK_BRIDGE}
    there = {link["ifname"] for link in json.loads(booted.run("ip", "-j", "link").stdout)}
    before = sorted(there - {"lo"})
    # As a boot does: the links are gone, the rows are not.
    for link in sorted(there & links):
        booted.run("ip", "link", "del", link)
    booted.run("systemctl", "start", "behind.service")
    seen = {link["ifname"] for link in json.loads(booted.run("cat", "/run/behind.links").stdout)}
    assert sorted(seen - {"lo"}) == before
    ports = booted.run("cat", "/run/behind.ports").stdout
    numbers = [line.split(":")[1].strip() for line in ports.splitlines() if line.startswith("ofport")]
    assert len(numbers) == 15 and all(number.isdigit() for number in numbers), ports


def test_units_that_start_guests_are_ordered_behind_it(booted: Booted) -> None:
    before = set(booted.property("Before").split())
    compute = {"nova-compute.service", "openstack-nova-compute.service"}
    assert compute | {"libvirtd.service", "virtqemud.service", "libvirt-guests.service"} <= before
