"""OVN on one host: guests get their addresses from it, talk, and are kept from it by what OVN says."""

from __future__ import annotations

from tests.e2e.conftest import Evidence
from tests.e2e.guests import QemuGuest, must_talk
from tests.e2e.image import Image
from tests.e2e.judge import plug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, MTU, OVS, Request, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.ovn import SWITCH, Ovn
from tests.support.world.world import World

DHCP_MTU = 1400
ONE, OTHER, SERVER = "10.9.0.1", "10.9.0.2", "10.9.0.254"
_DHCP = {
    "server_id": SERVER,
    "server_mac": "fa:16:3e:00:00:fe",
    "router": SERVER,
    "lease_time": "3600",
    "mtu": str(DHCP_MTU),
}


def add_port(ovn: Ovn, request: Request, ip: str) -> None:
    """A logical port with what Neutron gives its own: an address by DHCP and no other to be used."""
    ovn.add_port(request.id, request.address, ip)
    ovn.nbctl("lsp-set-port-security", request.id, f"{request.address} {ip}")
    options = " ".join(f'{key}="{value}"' for key, value in _DHCP.items())
    uuid = ovn.nbctl("create", "DHCP_Options", "cidr=10.9.0.0/24", f"options={options}")
    ovn.nbctl("lsp-set-dhcpv4-options", request.id, uuid)


def acl(ovn: Ovn, priority: int, match: str, verdict: str) -> None:
    """A rule for what goes to the guest on OVS; on every host when this returns."""
    to = f'outport == "{OVS.id}" && {match}'
    ovn.nbctl("--wait=hv", "acl-add", SWITCH, "to-lport", str(priority), to, verdict)


def test_guests_have_from_ovn_their_addresses_and_their_limits(world: World, image: Image, evidence: Evidence) -> None:
    with (
        Ovn(world) as ovn,
        Vifplugd(world) as daemon,
        QemuGuest(world, image, HYBRID, "one", "dhcp", evidence.log("one")) as one,
        QemuGuest(world, image, OVS, "other", "dhcp", evidence.log("other")) as other,
    ):
        for request, ip in ((HYBRID, ONE), (OVS, OTHER)):
            add_port(ovn, request, ip)
        plug(world, HYBRID, OVS, wait="wired")
        for request in (HYBRID, OVS):
            assert ovn.claimant(request.id) == ovn.chassis.name
            ids = must_row(world, "Interface", request.port)["external_ids"]
            assert ids["ovn-installed"] == "true"
            evidence.note(f"Interface {request.port}: {ids}; Port_Binding up on chassis {ovn.chassis.name}")
        for guest in (one, other):
            guest.start()
        for guest, ip in ((one, ONE), (other, OTHER)):
            assert f"mtu {MTU}" in guest.console.await_ready()
            assert f"LEASED {ip}/24 mtu {DHCP_MTU} router {SERVER} from {SERVER}" in guest.run("lease")
            guest.ip = ip
        must_talk(one, other, DHCP_MTU)

        acl(ovn, 1001, "ip4", "drop")
        assert not one.pings(other.ip)
        acl(ovn, 1002, "icmp4", "allow-related")
        assert one.pings(other.ip)
        assert not one.fetches(other)
        acl(ovn, 1002, "tcp.dst == 80", "allow-related")
        assert one.fetches(other)
        # What the guest itself asks for is answered.
        ovn.nbctl("--wait=hv", "acl-add", SWITCH, "from-lport", "1002", f'inport == "{OVS.id}" && ip4', "allow-related")
        assert other.fetches(one)
        ovn.nbctl("--wait=hv", "acl-del", SWITCH)
        must_talk(one, other, DHCP_MTU)
        evidence.note(world.vifplug("list").stdout)

        for guest in (one, other):
            guest.stop()
        world.vifplug("unplug", HYBRID.id, OVS.id)
        wait_until(lambda: not any(ovn.claimant(one.id) for one in (HYBRID, OVS)), "OVN to let go of the ports")
        assert not daemon.vifs()
