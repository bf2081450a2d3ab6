"""NetworkManager and firewalld as Debian ships them, beside VIFs."""

from __future__ import annotations

from pathlib import Path

import vifplug
from tests.host.checks.ring import SOCKET, check, device, end, run, shell, vif, wait_until
from tests.host.checks.traffic import ping, stations
from vifplug.api.remote import DaemonHost

NM_FILE = Path("/etc/NetworkManager/conf.d/vifplug.conf")


def findings(host: DaemonHost, name: str) -> list[str]:
    """What the doctor says in one check, but that all is well."""
    reported = [each for each in host.doctor().findings if each.check == name and each.status != "ok"]
    return [f"{each.status} {each.subject}: {each.reason}" for each in reported]


def network_manager(host: DaemonHost) -> None:
    """It leaves our devices alone, and is named where nothing tells it to."""
    vifs = [vif(kind, 0x401 + number) for number, kind in enumerate(("ovs-hybrid", "ovs", "bridge"))]
    with check("NetworkManager: every device of ours is unmanaged"):
        run("systemctl", "start", "NetworkManager")
        host.plug([vifplug.load(of) for of in vifs])
        names = {device(prefix, vifs[0]) for prefix in ("qbr", "qvb", "qvo")}
        names |= {device("tap", of) for of in vifs[1:]}

        def states() -> dict[str, str]:
            lines = run("nmcli", "-t", "-f", "DEVICE,STATE", "device").splitlines()
            return {name: state for name, _colon, state in (line.partition(":") for line in lines) if name in names}

        wait_until(lambda: states().keys() == names, "NetworkManager's devices")
        assert set(states().values()) == {"unmanaged"}, states()
        assert findings(host, "network-managers") == []
    with check("NetworkManager: the doctor says that its file is missing"):
        shipped = NM_FILE.read_text()
        NM_FILE.unlink()
        try:
            assert any("NetworkManager" in each for each in findings(host, "network-managers"))
        finally:
            NM_FILE.write_text(shipped)
    run("systemctl", "stop", "NetworkManager")
    with check("NetworkManager: VIFs are clean behind it"):
        assert host.check().clean
        host.unplug([of["id"] for of in vifs])


def firewalld(host: DaemonHost) -> None:
    """As shipped it rejects bridged frames: the doctor says so, and its remedy is one."""
    of = vif("ovs-hybrid", 0x410)
    host.plug([vifplug.load(of)])
    with stations(of):
        with check("firewalld: not running, frames pass"):
            shell("modprobe br_netfilter; sysctl -q net.bridge.bridge-nf-call-iptables=1")
            ping()
            assert findings(host, "firewall") == []
        with check("firewalld: as shipped, no frame passes, and the doctor says it is an error"):
            run("systemctl", "start", "firewalld")
            wait_until(lambda: "filter_FORWARD" in run("nft", "list", "tables", check=False) + run(
                "nft", "list", "chains", check=False), "firewalld's rules", 300)  # fmt: skip
            wait_until(lambda: not _answers(), "the reject")
            assert any(each.startswith("error inet firewalld") for each in findings(host, "firewall")), findings(
                host, "firewall"
            )
        with check("firewalld: the doctor's remedy lets frames pass, and silences it"):
            reported = [each for each in host.doctor().findings if each.check == "firewall"]
            shell(reported[0].remedy.partition("accept them: ")[2])
            wait_until(_answers, "an answer")
            assert findings(host, "firewall") == []
    shell("systemctl stop firewalld; nft flush ruleset; sysctl -q net.bridge.bridge-nf-call-iptables=0", check=False)
    host.unplug([of["id"]])


def _answers() -> bool:
    try:
        ping()
    except AssertionError:
        return False
    return True


def main() -> None:
    """Run the batch."""
    with vifplug.connect(SOCKET) as host:
        network_manager(host)
        firewalld(host)
    end()


if __name__ == "__main__":
    main()
