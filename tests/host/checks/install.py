"""The steps of docs/how-to/install.md, word for word but for pip's; who may log in; what the doctor says."""

from __future__ import annotations

import json
from pathlib import Path

from tests.host.checks.ring import SOCKET, check, end, run, shell, vif, wait_until

CONFIGURATION = Path("/etc/vifplug/vifplug.conf")
MANUAL = Path("/usr/local/src/checkout/docs/how-to/install.md")
_OF_THE_IMAGE = ("python3 -m venv", "/opt/vifplug/bin/pip")


def steps() -> list[str]:
    """The commands of the section for those who do without setup-host."""
    section = MANUAL.read_text().partition("\n## By hand\n")[2].partition("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    return [line for line in lines if line and not line.startswith(_OF_THE_IMAGE)]


def main() -> None:
    """Run the batch."""
    shell("systemctl start openvswitch-switch; ovs-vsctl --may-exist add-br br-int")
    place = "/"
    for step in steps():
        if step.startswith("cd "):
            place = step.removeprefix("cd ")
            continue
        with check(f"install: {step.partition('#')[0].strip()}"):
            shell(f"cd {place}; {step}")
    # Emulated, vswitchd takes more than a minute to open the ports of all VIFs after the reboot; the default is 10 s.
    CONFIGURATION.write_text("[ovs]\ntimeout = 200\n")
    run("systemctl", "restart", "vifplugd.service")
    with check("install: setup-host finds nothing left to do"):
        planned = json.loads(run("vifplug", "-o", "json", "setup-host", "--dry-run"))["steps"]
        assert [step for step in planned if step["status"] == "needed"] == []
    with check("install: units are verified by systemd-analyze"):
        run("systemd-analyze", "verify", "vifplugd.service", "vifplugd.socket")
    with check("install: vifplugd is ordered before what starts guests"):
        before = run("systemctl", "show", "--value", "-p", "Before", "vifplugd.service").split()
        assert {"libvirtd.service", "virtqemud.service", "nova-compute.service"} <= set(before), before
        assert "openstack-nova-compute.service" in before
    with check("install: the doctor finds nothing"):
        reported = json.loads(run("vifplug", "--socket", SOCKET, "-o", "json", "doctor", check=False))
        assert [each for each in reported["checks"] if each["status"] in ("error", "warning")] == []
    with check("login: a member of the group is an operator, plugs and unplugs"):
        run("usermod", "--append", "--groups", "vifplug", "nova")
        Path("/run/vif.json").write_text(json.dumps(vif("ovs", 1)))
        run("su", "-", "nova", "-c", f"vifplug --socket {SOCKET} plug /run/vif.json")
        run("su", "-", "nova", "-c", f"vifplug --socket {SOCKET} unplug {vif('ovs', 1)['id']}")
    with check("login: a stranger is refused"):
        reported = shell(f"su - stranger -c 'vifplug --socket {SOCKET} list' 2>&1 && echo done || true")
        assert "done" not in reported, reported
    with check("status: systemd says what it serves"):
        status = run("systemctl", "show", "--value", "-p", "StatusText", "vifplugd.service").strip()
        assert status == f"serving on {SOCKET}", status
    wait_until(lambda: run("systemctl", "is-active", "vifplugd", check=False).strip() == "active", "vifplugd")
    end()


if __name__ == "__main__":
    main()
