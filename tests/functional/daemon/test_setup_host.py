"""`vifplug setup-host` on a machine with the real systemd, checked by systemctl, stat, id and ovs-vsctl."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world.booted import REPOSITORY, Booted

VIFPLUG = str(Path(sys.executable).parent / "vifplug")
HYBRID = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
SOCKET = "/run/vifplug/vifplug.sock"
SERVICE = "/etc/systemd/system/vifplugd.service"
PORT = REPOSITORY / "tests" / "samples" / "ml2ovs_hybrid_port_create_2.json"


@pytest.fixture
def bare() -> Iterator[Booted]:
    with Booted(bare=True) as machine:
        yield machine


def steps(machine: Booted, *options: str) -> dict[str, str]:
    """Runs setup-host; the status of each step, by its subject."""
    printed = json.loads(machine.run(VIFPLUG, "-o", "json", "setup-host", *options).stdout)
    return {step["subject"]: step["status"] for step in printed["steps"]}


def files(machine: Booted) -> str:
    """Every file where setup-host may write, with its owner, mode and time of change."""
    places = ("/etc", "/usr/local", "/var/lib/vifplug", "/run/vifplug")
    found = machine.run("find", *places, "-printf", "%p %u %g %m %s %C@\n", check=False).stdout.splitlines()
    return "\n".join(sorted(line for line in found if ".sqlite" not in line and "/run/vifplug" not in line))


def links(machine: Booted) -> set[str]:
    return {link["ifname"] for link in json.loads(machine.run("ip", "-j", "link").stdout)}


def test_setup_host_leads_from_nothing_to_a_plugged_vif_and_back(bare: Booted) -> None:
    bare.run("useradd", "--no-create-home", "nova")
    before = files(bare)
    assert steps(bare, "--dry-run")["br-int"] == "skipped"  # Open vSwitch does not run yet
    assert files(bare) == before

    bare.run("systemctl", "start", "openvswitch-switch.service")
    bare.run("ovs-vsctl", "del-br", "br-int")
    assert steps(bare, "--dry-run")["br-int"] == "manual"
    done = steps(bare, "--operator", "nova", "--create-bridge", "netdev")
    assert not {"needed", "failed", "manual"} & set(done.values()), done
    assert (done["br-int"], done[SERVICE], done["nova"]) == ("changed", "changed", "changed")
    assert bare.run("systemctl", "is-enabled", "vifplugd.service", "vifplugd.socket").stdout == "enabled\nenabled\n"
    assert bare.property("ActiveState") == "active"
    assert bare.run("stat", "-c", "%U:%G %a", "/var/lib/vifplug").stdout == "vifplug:vifplug 700\n"
    assert bare.run("ovs-vsctl", "get", "Bridge", "br-int", "datapath_type").stdout == "netdev\n"

    # Through the daemon's socket, as a user who may: membership of the group decides.
    url = f"http://localhost/v1/vifs/{HYBRID}?mtu=1450"
    bare.run("curl", "-fsS", "--unix-socket", SOCKET, "-X", "PUT", "--data-binary", f"@{PORT}", url, user="nova")
    assert "qbr2bc1ec8f-4b" in links(bare)
    assert bare.run("ovs-vsctl", "port-to-br", "qvo2bc1ec8f-4b").stdout == "br-int\n"

    settled, pid = files(bare), bare.property("MainPID")
    assert set(steps(bare, "--operator", "nova").values()) == {"done"}
    assert (files(bare), bare.property("MainPID")) == (settled, pid)

    bare.run("sh", "-c", f"echo '# of an older version' >>{SERVICE}")
    assert {subject for subject, status in steps(bare).items() if status == "changed"} == {SERVICE, "vifplugd.service"}
    assert bare.property("MainPID") not in ("0", pid)
    bare.run("cmp", SERVICE, str(REPOSITORY / "etc/systemd/vifplugd.service"))
    bare.run("grep", "-q", "of an older version", f"{SERVICE}.old")

    undone = steps(bare, "--undo")
    assert (undone[SERVICE], undone["vifplugd.service"], undone["/var/lib/vifplug"]) == (
        "changed",
        "changed",
        "skipped",
    )
    assert bare.run("systemctl", "is-active", "vifplugd.service", "vifplugd.socket", check=False).stdout.split() == [
        "inactive",
        "inactive",
    ]
    left = {line.split()[0] for line in files(bare).splitlines()} - {line.split()[0] for line in before.splitlines()}
    named = {path for path in left if "vifplug" in path and not path.startswith("/var/lib/vifplug")}
    assert named <= {f"{SERVICE}.old"}, named
    assert "qbr2bc1ec8f-4b" in links(bare)  # the guest keeps its network
    assert HYBRID in bare.run(VIFPLUG, "--local", "list").stdout
