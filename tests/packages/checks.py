"""What is checked of a package on one machine: installed, upgraded under traffic, removed, installed again, purged.

The host is looked at with ``ip``, ``ovs-vsctl``, ``systemctl``, ``find`` and packets.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.packages import older
from tests.packages.machine import Machine, until
from tests.packages.tally import Tally

SAMPLE = Path(__file__).parents[1] / "samples" / "ml2ovs_hybrid_port_create_2.json"
VIF = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
BRIDGE, PORT = "qbr2bc1ec8f-4b", "qvo2bc1ec8f-4b"
LINKS = {BRIDGE, "qvb2bc1ec8f-4b", PORT}
GUEST, HOST = "10.9.0.1", "10.9.0.2"
CONFIGURATION = "/etc/vifplug/vifplug.conf"
PINGS_PER_SECOND = 50
UNITS = ("vifplugd.service", "vifplugd.socket")
_SECONDS = 60.0
_PRUNED = ("/proc", "/sys", "/dev", "/run", "/srv", "/tmp", "/var/tmp", "/var/cache", "/var/log", "/var/lib/apt")
"""What is not of a package; /run is looked at by itself."""
_SAMPLE_REQUIREMENTS = """
import importlib.metadata, re, sys
sys.path.insert(0, "/usr/lib/vifplug/vendor")
for line in importlib.metadata.requires("vifplug"):
    name, _, lowest = line.partition(">=")
    if ";" in line: continue
    numbers = lambda text: [int(part) for part in re.findall(r"[0-9]+", text)[:3]]
    have = importlib.metadata.version(name)
    print(name, have, lowest, "ok" if numbers(have) >= numbers(lowest) else "TOO-OLD")
"""


def run(machine: Machine, old: Path, new: Path, tally: Tally) -> None:
    """Every check, in order; each stands on those before it."""
    fresh = files(machine)
    with tally.check("install"):
        machine.apt("install", f"/srv/{old.name}")
        after_install(machine)
    with tally.check("setup-host"):
        set_up(machine)
    with tally.check("plug"):
        plug(machine)
    with tally.check("requirements"):
        requirements(machine, tally)
    with pinged(machine, tally):
        with tally.check("upgrade"):
            upgrade(machine, new)
        with tally.check("remove"):
            remove(machine)
        with tally.check("install again"):
            install_again(machine, new)
        with tally.check("remove with the socket alone running"):
            machine.run("systemctl", "stop", "vifplugd.service")
            remove(machine)
            machine.apt("install", f"/srv/{new.name}")
    with tally.check("unplug and purge"):
        machine.run("vifplug", "--local", "unplug", VIF)
        assert not LINKS & links(machine).keys()
        purge(machine, fresh)


def files(machine: Machine) -> set[str]:
    """Every file of the machine, but for caches and logs."""
    prune = [word for path in _PRUNED for word in ("-path", path, "-prune", "-o")]
    found = set(machine.run("find", "/", *prune, "-print").splitlines())
    return {path for path in found if not path.startswith(("/var/lib/dpkg", "/etc/ld.so.cache"))}


def links(machine: Machine) -> dict[str, int]:
    """Index by name."""
    return {link["ifname"]: link["ifindex"] for link in json.loads(machine.run("ip", "-j", "link"))}


def vifplug(machine: Machine, *argv: str) -> Any:
    return json.loads(machine.run("vifplug", "-o", "json", *argv))


def states(machine: Machine, what: str) -> list[str]:
    """What systemctl says of the two units."""
    return machine.run("sh", "-c", f"systemctl {what} {' '.join(UNITS)} || true").split()


def after_install(machine: Machine) -> None:
    """Everything is there, and nothing was started."""
    assert states(machine, "is-enabled") == ["disabled", "disabled"]
    assert states(machine, "is-active") == ["inactive", "inactive"]
    assert machine.run("stat", "-c", "%U:%G %a", "/var/lib/vifplug") == "vifplug:vifplug 700\n"
    assert machine.run("dpkg-query", "-f", "${Conffiles}", "-W", "vifplug").split()[0] == CONFIGURATION
    listed = machine.run("dpkg", "-L", "vifplug").splitlines()
    for path in (
        "/usr/lib/systemd/network/70-vifplug.link",
        "/usr/share/doc/vifplug/sbom.cdx.json",
        "/usr/bin/vifplugd",
    ):
        assert path in listed, path
    assert "no VIFs" in machine.run("vifplug", "list")


def set_up(machine: Machine) -> None:
    """setup-host does the rest, once."""
    fresh = files(machine)
    planned = {step["step"]: step["status"] for step in vifplug(machine, "setup-host", "--dry-run")["steps"]}
    assert (planned["daemon"], planned["bridge"], planned["file"]) == ("needed", "manual", "done"), planned
    assert files(machine) == fresh
    done = vifplug(machine, "setup-host", "--create-bridge=netdev")["steps"]
    changed = [step["step"] for step in done if step["status"] == "changed"]
    assert changed == ["bridge", "daemon"], done
    again = vifplug(machine, "setup-host", "--create-bridge=netdev")["steps"]
    assert {step["status"] for step in again} == {"done"}, again
    assert states(machine, "is-enabled") == ["enabled", "enabled"]
    assert states(machine, "is-active") == ["active", "active"]


def plug(machine: Machine) -> None:
    """A VIF is plugged through the daemon."""
    (machine.root / "srv/port.json").write_text(SAMPLE.read_text())
    machine.run("vifplug", "--socket", "/run/vifplug/vifplug.sock", "plug", "/srv/port.json", "--mtu", "1450")
    assert links(machine).keys() >= LINKS
    assert machine.run("ovs-vsctl", "port-to-br", PORT) == "br-int\n"
    assert int(machine.run("ovs-vsctl", "get", "Interface", PORT, "ofport")) > 0


def requirements(machine: Machine, tally: Tally) -> None:
    """The libraries that vifplug finds are as new as setup.cfg asks for."""
    python = "/usr/lib/vifplug/bin/python" if (machine.root / "usr/lib/vifplug/bin").exists() else "/usr/bin/python3"
    lines = machine.run(python, "-c", _SAMPLE_REQUIREMENTS).splitlines()
    assert len(lines) > 10
    assert not [line for line in lines if not line.endswith(" ok")], lines
    tally.note("; ".join(line.removesuffix(" ok") for line in lines))


@contextmanager
def pinged(machine: Machine, tally: Tally) -> Iterator[None]:
    """Traffic through the VIF, from a guest in its bridge to a host on br-int; no packet is lost meanwhile."""
    for name, address, end in (("guest", GUEST, "g0"), ("host", HOST, "h0")):
        machine.run("ip", "netns", "add", name)
        machine.run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
        machine.run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        machine.run("ip", "-n", name, "link", "set", "eth0", "up")
        machine.run("ip", "link", "set", end, "up")
    machine.run("ip", "link", "set", "g0", "master", BRIDGE)
    machine.run("ovs-vsctl", "add-port", "br-int", "h0")
    until(
        lambda: machine.run("ip", "netns", "exec", "guest", "ping", "-c1", "-W1", HOST, check=False) == "", "a ping", 20
    )
    argv = ("ip", "netns", "exec", "guest", "ping", "-q", "-i", str(1 / PINGS_PER_SECOND), HOST)
    ping = subprocess.Popen(machine.argv(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        machine.run("pkill", "-INT", "-x", "ping")
        output, _ = ping.communicate(timeout=_SECONDS)
        with tally.check("ping over upgrade, removal and installation"):
            assert ping.returncode in (0, -signal.SIGINT), output
            sent, received = re.findall(r"(\d+) packets transmitted, (\d+) received", output)[0]
            tally.note(f"{sent} sent, {received} received")
            assert int(sent) > 5 * PINGS_PER_SECOND
            assert sent == received, output
        for name in ("guest", "host"):
            machine.run("ip", "netns", "del", name)
        machine.run("ovs-vsctl", "--if-exists", "del-port", "h0")


def _seen(machine: Machine) -> tuple[Any, dict[str, int], str]:
    """What must be as it was: the record, the links, the port."""
    record = vifplug(machine, "show", VIF)
    return (
        {key: record[key] for key in ("id", "vif_type", "address", "mtu", "devices", "ports", "instance")},
        {name: index for name, index in links(machine).items() if name in LINKS},
        machine.run("ovs-vsctl", "get", "Interface", PORT, "_uuid", "ofport", "external_ids"),
    )


def upgrade(machine: Machine, new: Path) -> None:
    """The daemon runs the new version; the VIF and its record are as they were; an edited configuration is kept."""
    machine.run("sh", "-c", f"printf '[daemon]\\nrepair_interval = 45\\n' >>{CONFIGURATION}")
    before, pid = _seen(machine), machine.run("systemctl", "show", "--value", "-p", "MainPID", UNITS[0])
    assert vifplug(machine, "host-info")["version"] == older.VERSION
    machine.apt("install", "-o", "Dpkg::Options::=--force-confdef", f"/srv/{new.name}")
    assert states(machine, "is-active") == ["active", "active"]
    assert machine.run("systemctl", "show", "--value", "-p", "MainPID", UNITS[0]) != pid
    info = vifplug(machine, "host-info")
    assert info["version"] != older.VERSION
    assert info["daemon"]["answers"]
    assert _seen(machine) == before
    assert vifplug(machine, "check")["clean"]
    assert "repair_interval = 45" in machine.run("cat", CONFIGURATION)
    assert states(machine, "is-enabled") == ["enabled", "enabled"]


def remove(machine: Machine) -> None:
    """Nothing of it is left but configuration and records, and the VIF works."""
    listed = set(machine.run("dpkg", "-L", "vifplug").splitlines())
    owned = {path for path in listed if "vifplug" in path and not path.startswith("/etc/vifplug")}
    machine.apt("remove", "vifplug")
    there = files(machine)
    assert not owned & there, owned & there
    named = {path for path in there if "vifplug" in path}
    left = {path for path in named if not path.startswith(("/etc/vifplug", "/var/lib/vifplug"))}
    assert not left, left
    assert machine.run("sh", "-c", "systemctl list-unit-files 'vifplug*' | grep -c vifplug || true").strip() == "0"
    for words in (("-u", "vifplug"), ("-f", "[v]ifplug")):
        assert "exit 1" in machine.run("pgrep", "-a", *words, check=False), machine.run("pgrep", "-a", *words)
    assert machine.run("find", "/run", "-name", "*vifplug*") == ""
    assert links(machine).keys() >= LINKS


def install_again(machine: Machine, new: Path) -> None:
    """The records are still there, and so is the VIF."""
    machine.apt("install", f"/srv/{new.name}")
    steps = vifplug(machine, "setup-host")["steps"]
    assert [step["step"] for step in steps if step["status"] == "changed"] == ["daemon"], steps
    assert [vif["id"] for vif in vifplug(machine, "list")["vifs"]] == [VIF]
    assert vifplug(machine, "check")["clean"]


def purge(machine: Machine, fresh: set[str]) -> None:
    """Nothing is left, the user and the records included. Configuration of the libraries' packages is theirs."""
    numbers = machine.run("id", "-u", "vifplug").strip(), machine.run("id", "-g", "vifplug").strip()
    machine.apt("purge", "--auto-remove", "vifplug")
    ours = {path for path in files(machine) - fresh if "vifplug" in path}
    assert not ours, ours
    assert machine.run("sh", "-c", "getent passwd vifplug; getent group vifplug; true") == ""
    of_user = ("-uid", numbers[0], "-o", "-gid", numbers[1])
    assert machine.run("find", "/", "-xdev", "(", *of_user, ")", "-print") == ""
