"""After the reboot: the unit behind vifplugd saw everything; all is clean; an unplug leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import vifplug
from tests.host.checks.fleet import LINKS, PORTS, VIFS
from tests.host.checks.ring import (
    SOCKET,
    check,
    end,
    expected_links,
    links,
    must_be_whole,
    note,
    port_of,
    rows,
    run,
    wait_until,
)


def main() -> None:
    """Run the batch."""
    with check("reboot: the unit ordered behind vifplugd ran"):
        wait_until(lambda: Path(f"{LINKS}.uptime").exists(), "its end", 600)
        wait_until(lambda: run("systemctl", "is-active", "vifplugd", check=False).strip() == "active", "vifplugd", 600)
    seen: set[str] = set()
    numbers: dict[str, object] = {}
    with check("reboot: what it saw can be read"):
        seen = {link["ifname"] for link in json.loads(Path(LINKS).read_text()) if link}
        numbers = dict(json.loads(Path(PORTS).read_text())["data"])
        uptime = Path(f"{LINKS}.uptime").read_text().strip()
        note(f"it saw {len(seen)} links and {len(numbers)} ports {uptime} s after the boot")
    with check("reboot: it saw every link"):
        missing = sorted(set().union(*map(expected_links, VIFS)) - seen)
        assert not missing, f"{len(missing)} are missing: {missing[:5]}"
    with check("reboot: it saw every ofport"):
        ports = [port for of in VIFS if (port := port_of(of))]
        missing = [port for port in ports if not isinstance(number := numbers.get(port), int) or number < 1]
        assert not missing, f"{len(missing)} of {len(ports)} have none: {missing[:5]}"
    with check("reboot: all is clean"), vifplug.connect(SOCKET) as host:
        must_be_whole(VIFS)
        assert host.check().clean
    with check("reboot: an unplug leaves nothing"), vifplug.connect(SOCKET) as host:
        host.unplug([of["id"] for of in VIFS])
        assert not set().union(*map(expected_links, VIFS)) & links().keys()
        assert {each["name"] for each in rows("Port")} == {"br-int"}
        assert rows("QoS") == []
    with check("reboot: nothing failed since the boot"):
        failed = run("systemctl", "--failed", "--no-legend", "--plain").split()
        assert not any("vifplug" in word for word in failed), failed
    end()


if __name__ == "__main__":
    main()
