"""macvtap on a kernel that has VLAN devices: made, shared, in use by guests, repaired, gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import vifplug
from tests.host.checks.ring import NETWORK, Row, check, end, links, run, shell
from tests.support.faults import faults
from vifplug import errors
from vifplug.api.local import LocalHost

NIC, NAME, MTU = "nic0", "nic0.100", 1450
PEER, GUEST = "10.77.0.1", "10.77.0.2"
CONFIGURATION = Path("/run/vifplug-macvtap/vifplug.conf")


def vif(number: int, **more: object) -> vifplug.Vif:
    """A VIF in VLAN 100 of the NIC."""
    document: Row = {
        "id": f"{number:08x}-77c4-4b1e-8a51-6f0e5c9d77aa",
        "vif_type": "macvtap",
        "address": f"fa:16:3e:77:00:{number:02x}",
        "network": {"id": NETWORK, "mtu": MTU},
        "macvtap": {"source": NIC, "vlan": 100},
        **more,
    }
    return vifplug.load(document)


@contextlib.contextmanager
def nic() -> Iterator[None]:
    """A NIC whose other end is a host with an address in VLAN 100."""
    shell(
        f"""ip netns add peer; ip netns add guest
        ip link add {NIC} type veth peer name wire0 netns peer
        ip link set {NIC} up
        ip -n peer link set wire0 up
        ip -n peer link add link wire0 name wire0.100 type vlan id 100
        ip -n peer addr add {PEER}/24 dev wire0.100
        ip -n peer link set wire0.100 up"""
    )
    try:
        yield
    finally:
        shell(f"ip link del {NIC} || true; ip netns del peer; ip netns del guest", check=False)


def guest_pings(address: str) -> None:
    """A guest's device on the VLAN device, in a namespace of its own, as a macvtap in a guest is."""
    shell(
        f"""ip link add link {NAME} name g0 address {address} type macvlan mode bridge
        ip link set g0 netns guest
        ip -n guest addr add {GUEST}/24 dev g0
        ip -n guest link set g0 up
        ip netns exec guest ping -c 2 -W 20 {PEER}
        ip -n guest link del g0"""
    )


def checks(host: LocalHost) -> None:
    """All of them, in this order."""
    first, second = vif(1), vif(2)
    with check("macvtap: the VLAN device has its id, its lower device, MTU and mark, no IPv6, and is up"):
        host.plug([first])
        link = links()[NAME]
        data = link["linkinfo"]
        assert (data["info_kind"], data["info_data"]["id"], data["info_data"]["protocol"]) == ("vlan", 100, "802.1Q")
        assert (link["link"], link["mtu"], link["ifalias"]) == (NIC, MTU, f"vifplug:net:{NETWORK}")
        assert "UP" in link["flags"]
        assert Path(f"/proc/sys/net/ipv6/conf/{NAME}/disable_ipv6").read_text().strip() == "1"
    with check("macvtap: a guest on it pings a host in the VLAN"):
        guest_pings(first.address)
    with check("macvtap: a second VIF of the network shares it, and a replug changes nothing"):
        index = links()[NAME]["ifindex"]
        host.plug([second])
        assert not host.plan([first, second]).actions
        assert links()[NAME]["ifindex"] == index
        assert host.check().clean
    with check("macvtap: what another program changes is named and repaired"):
        shell(f"ip link set {NAME} mtu 1400 down")
        (checked,) = host.check([first.id]).vifs
        assert {item.attribute for item in checked.drift} == {"mtu", "up"}, checked.drift
        host.repair([first.id])
        guest_pings(first.address)
    with check("macvtap: a deleted VLAN device is named and made again, and the guest's frames pass"):
        run("ip", "link", "del", NAME)
        (checked,) = host.check([first.id]).vifs
        assert [(item.subject, item.attribute) for item in checked.drift] == [(NAME, "present")]
        host.repair([first.id, second.id])
        assert host.check().clean
        guest_pings(second.address)


def checks_of_the_end(host: LocalHost, before: dict[str, Row]) -> None:
    """Those of what is left, and of what is refused."""
    first, second = vif(1), vif(2)
    with check("macvtap: it goes with the last VIF, and nothing else has changed"):
        host.unplug([first.id])
        assert NAME in links()
        host.unplug([second.id])
        assert set(links()) == set(before)
        assert {key: links()[NIC][key] for key in ("mtu", "flags", "address")} == {
            key: before[NIC][key] for key in ("mtu", "flags", "address")
        }
    with check("macvtap: a VLAN device of another program's is used and left"):
        shell(f"ip link add link {NIC} name {NAME} type vlan id 100; ip link set {NAME} up")
        index = links()[NAME]["ifindex"]
        host.plug([first])
        host.unplug([first.id])
        assert links()[NAME]["ifindex"] == index
        run("ip", "link", "del", NAME)
    with check("macvtap: one of that name with another VLAN is a Conflict, and stays"):
        shell(f"ip link add link {NIC} name {NAME} type vlan id 200")
        refused(host, first, errors.Conflict, NAME)
        assert links()[NAME]["linkinfo"]["info_data"]["id"] == 200
        run("ip", "link", "del", NAME)
    with check("macvtap: a device that is down, not listed or not there is refused in words, and nothing is made"):
        run("ip", "link", "set", NIC, "down")
        refused(host, first, errors.Conflict, f"ip link set {NIC} up")
        run("ip", "link", "set", NIC, "up")
        refused(host, vif(3, macvtap={"source": "lo", "vlan": 5}), errors.InputError, "physical_networks")
        refused(host, vif(3, macvtap={"source": "nic7", "vlan": 5}), errors.ResourceMissing, "no device 'nic7'")
        assert set(links()) == set(before)
        assert not host.list()


def opened() -> LocalHost:
    """The library in this process, with the batch's store and configuration."""
    return vifplug.local(str(CONFIGURATION))


def failures() -> None:
    """An error in place of each step of a plug, and after the last."""
    one = vif(1)
    with opened() as host:
        steps = len(host.plan([one]).actions)
    for after in range(steps + 1):
        with check(f"macvtap: a failure after {after} of {steps} steps of a plug: nothing is left"), opened() as host:
            before = links()
            try:
                with faults.cut(after, faults.raising(errors.LinkError("injected"))):
                    host.plug([one])
            except errors.LinkError as error:
                assert error.message == "injected", error
            else:
                raise AssertionError("it did not fail")
            assert links() == before
            assert not host.list() and host.check().clean
    for after in range(steps + 1):
        kills(after, steps)


def kills(after: int, steps: int) -> None:
    """Caller and helper killed before a step of a plug and of an unplug, or after the last."""
    one, before = vif(1), links()
    with check(f"macvtap: killed after {after} of {steps} steps of a plug: settled by the next command"):
        faults.killed(opened, lambda host: host.plug([one]), after)
        with opened() as host:
            host.repair()
            assert (NAME in links()) is bool(host.list())
            assert host.check().clean
            host.plug([one])
            guest_pings(one.address)
            host.unplug([one.id])
        assert set(links()) == set(before)
    with check(f"macvtap: killed after {after} of {steps} steps of an unplug: ended by the next one"):
        with opened() as host:
            host.plug([one])
        faults.killed(opened, lambda host: host.unplug([one.id]), after)
        with opened() as host:
            host.unplug([one.id])
            assert not host.list() and host.check().clean
        assert set(links()) == set(before)


def refused(host: LocalHost, what: vifplug.Vif, kind: type[errors.VifplugError], words: str) -> None:
    """A plug that is refused with one clear line."""
    try:
        host.plug([what])
    except kind as error:
        assert words in str(error), error
        assert "\n" not in str(error)
    else:
        raise AssertionError("it was plugged")


def main() -> None:
    """The batch. Its own library, store and configuration: the daemon is not asked."""
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(
        f"[DEFAULT]\nstate_dir = {CONFIGURATION.parent}/state\n[bridge]\nphysical_networks = physnet1:{NIC}, p2:nic7\n"
    )
    with nic(), vifplug.local(str(CONFIGURATION)) as host:
        before = links()
        checks(host)
        checks_of_the_end(host, before)
    with nic():
        failures()
    end()


if __name__ == "__main__":
    main()
