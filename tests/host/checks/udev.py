"""Taps beside the real udev: twenty plugs of each kind that makes one, with the .link file and without."""

from __future__ import annotations

from pathlib import Path

import vifplug
from tests.host.checks.ring import Row, check, device, end, links, run, tap_address, vif
from vifplug.api.local import LocalHost

LINK_FILE = Path("/etc/systemd/network/70-vifplug.link")
COUNT = 20


def wrong(vifs: list[Row]) -> dict[str, str]:
    """Taps that have another MAC than theirs."""
    there = links()
    found = {device("tap", of): there[device("tap", of)]["address"] for of in vifs}
    return {name: found[name] for name, of in zip(found, vifs, strict=True) if found[name] != tap_address(of)}


def twenty(host: LocalHost, kind: str, first: int) -> str:
    """Plug twenty, one by one, without a daemon that would put right what is wrong later; the file udev took."""
    vifs = [vif(kind, first + number) for number in range(COUNT)]
    for of in vifs:
        host.plug([vifplug.load(of)])
    try:
        found = wrong(vifs)
        assert not found, f"right after their plugs: {found}"
        run("udevadm", "settle")
        found = wrong(vifs)
        assert not found, f"once udev is at rest: {found}"
        reported = run("udevadm", "info", f"/sys/class/net/{device('tap', vifs[0])}")
        return next((line.partition("=")[2] for line in reported.splitlines() if "ID_NET_LINK_FILE=" in line), "none")
    finally:
        host.unplug([of["id"] for of in vifs])


def main() -> None:
    """Run the batch."""
    with check("udev: the .link file is installed"):
        assert LINK_FILE.exists(), f"no {LINK_FILE}"
    shipped = LINK_FILE.read_text() if LINK_FILE.exists() else ""
    run("systemctl", "stop", "vifplugd.socket", "vifplugd.service")
    try:
        with vifplug.local() as host:
            for place, kind in enumerate(("ovs", "bridge")):
                with check(f"udev: {COUNT} {kind} plugs with a tap, with the .link file: all right, by that file"):
                    taken = twenty(host, kind, 0x301 + 0x100 * place)
                    assert taken == str(LINK_FILE), f"udev took {taken}"
            LINK_FILE.unlink(missing_ok=True)
            run("udevadm", "control", "--reload")
            for place, kind in enumerate(("ovs", "bridge")):
                with check(f"udev: {COUNT} {kind} plugs with a tap, without the .link file: all right"):
                    taken = twenty(host, kind, 0x341 + 0x100 * place)
                    assert taken.endswith("99-default.link"), f"udev took {taken}"
            with check("udev: the doctor says that the .link file is missing"):
                found = [each for each in host.doctor().findings if each.check == "network-managers"]
                assert any("systemd-udevd" in each.reason for each in found), found
    finally:
        if shipped:
            LINK_FILE.write_text(shipped)
        run("udevadm", "control", "--reload")
        run("systemctl", "start", "vifplugd.socket", "vifplugd.service")
    end()


if __name__ == "__main__":
    main()
