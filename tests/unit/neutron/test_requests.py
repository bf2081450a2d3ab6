"""A port's details -> the VIF that vifplugd plugs; and what a host can be joined to."""

from __future__ import annotations

from typing import Any

import pytest

from vifplug.doctor.host_info import HostInfo
from vifplug.errors import ConfigError, InputError
from vifplug.model.reports import VifReport
from vifplug.neutron import binding, host_setup, options, port_request
from vifplug.neutron.host_setup import HostSetup

PORT, NETWORK, MAC = "3fe5648f-4734-49a7-9fef-daa6f86f6799", "899b9b97-ffd5-4ae9-86fc-85fe844447d0", "fa:16:3e:00:00:01"
DETAILS: dict[str, Any] = {
    "device": "tap3fe5648f-47",
    "port_id": PORT,
    "network_id": NETWORK,
    "mac_address": MAC,
    "admin_state_up": True,
    "network_type": "vxlan",
    "segmentation_id": 100,
    "physical_network": None,
    "mtu": 1450,
    "fixed_ips": [{"subnet_id": "s", "ip_address": "10.1.0.5"}],
    "device_owner": "compute:nova",
    "allowed_address_pairs": [{"ip_address": "10.1.0.0/28", "mac_address": "fa:16:3e:00:00:02"}],
    "port_security_enabled": True,
}
SETUP = HostSetup(mappings={"physnet1": "eth1"}, tunnel_address="192.0.2.1", by_unicast=True, filters=True)


def requested(setup: HostSetup = SETUP, *, peers: tuple[str, ...] = (), prevents: bool = True, **changes: Any) -> Any:
    return port_request.request({**DETAILS, **changes}, setup, peers, prevents_spoofing=prevents)


def test_port_of_a_vxlan_network() -> None:
    vif = requested(peers=("192.0.2.3", "192.0.2.2"))
    assert (vif.id, vif.vif_type, vif.address, vif.create_tap, vif.join_tap, vif.tap_up) == (
        *(PORT, "bridge", MAC),
        *(False, True, True),
    )
    assert (vif.network.id, vif.network.mtu) == (NETWORK, 1450)
    uplink = vif.network.uplink
    assert (uplink.type, uplink.segmentation_id, uplink.peers, uplink.group) == (
        *("vxlan", 100),
        *(("192.0.2.2", "192.0.2.3"), None),
    )


def test_network_without_other_hosts_has_no_peers_yet() -> None:
    assert requested().network.uplink.peers == ()


def test_network_by_multicast_leaves_the_group_to_vifplugd() -> None:
    uplink = requested(HostSetup(tunnel_address="192.0.2.1")).network.uplink
    assert (uplink.type, uplink.peers, uplink.group) == ("vxlan", None, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"network_type": "local"}, None),
        ({"network_type": "flat", "physical_network": "physnet1", "segmentation_id": 0}, ("flat", "physnet1", None)),
        ({"network_type": "vlan", "physical_network": "physnet1", "segmentation_id": 5}, ("vlan", "physnet1", 5)),
    ],
)
def test_other_types_of_networks(changes: dict[str, Any], expected: tuple[Any, ...] | None) -> None:
    uplink = requested(**changes).network.uplink
    assert (uplink and (uplink.type, uplink.physical_network, uplink.segmentation_id)) == expected


@pytest.mark.parametrize(
    ("setup", "changes", "words"),
    [
        (SETUP, {"network_type": "flat", "physical_network": "other"}, "'other'.*does not list.*physnet1"),
        (HostSetup(), {"network_type": "vlan", "physical_network": "physnet1"}, "it lists: none"),
        (HostSetup(), {}, "no tunnel.*vxlan_local_ip"),
        (SETUP, {"network_type": "gre"}, "flat, vlan or vxlan"),
    ],
)
def test_network_that_the_host_cannot_be_joined_to(setup: HostSetup, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        requested(setup, **changes)


def test_guest_may_send_from_its_addresses_and_pairs() -> None:
    vif = requested()
    assert vif.port_security is True
    assert [(item.ip, item.mac) for item in vif.allowed_addresses] == [
        ("10.1.0.5", MAC),
        ("10.1.0.0/28", "fa:16:3e:00:00:02"),
    ]


@pytest.mark.parametrize("changes", [{"port_security_enabled": False}, {"device_owner": "network:dhcp"}])
def test_port_that_is_not_limited(changes: dict[str, Any]) -> None:
    vif = requested(**changes)
    assert (vif.port_security, vif.allowed_addresses) == (False, None)


def test_without_filters_the_request_has_no_addresses() -> None:
    for vif in (requested(prevents=False), requested(HostSetup(tunnel_address="192.0.2.1"))):
        assert (vif.port_security, vif.allowed_addresses) == (None, None)


def test_port_that_is_down_has_its_tap_down() -> None:
    assert requested(admin_state_up=False).tap_up is False


def test_tap_of_the_compute_service_is_left_to_it() -> None:
    vif = port_request.request(DETAILS, SETUP, (), prevents_spoofing=True, makes_own_tap=True)
    assert (vif.create_tap, vif.join_tap, vif.tap_up) == (None, None, None)


def test_peers_of_an_existing_request_are_replaced() -> None:
    changed = port_request.with_peers(requested(peers=("192.0.2.2",)), {"192.0.2.9"})
    assert changed.network.uplink is not None
    assert changed.network.uplink.peers == ("192.0.2.9",)
    local = requested(network_type="local")
    assert port_request.with_peers(local, {"192.0.2.9"}) is local


HOST = HostInfo(
    version="1",
    kernel="6",
    vif_types=("bridge",),
    mtu=1500,
    integration_bridge="br-int",
    physical_networks={"physnet1": "eth1"},
    vxlan_local_ip="192.0.2.1",
    filters=True,
)


def host(**changes: Any) -> HostInfo:
    return HostInfo(**{**{name: getattr(HOST, name) for name in HOST.__dataclass_fields__}, **changes})


def test_setup_of_a_host() -> None:
    setup = host_setup.of_host(HOST, l2_population=True, devices={"lo", "eth1"})
    assert setup == SETUP
    assert host_setup.configurations(setup) == {
        "interface_mappings": {"physnet1": "eth1"},
        "bridge_mappings": {},
        "filters": True,
        "tunneling_ip": "192.0.2.1",
        "tunnel_types": ["vxlan"],
        "l2_population": True,
    }


def test_host_without_a_tunnel_binds_no_vxlan_network() -> None:
    report = host_setup.configurations(
        host_setup.of_host(host(vxlan_local_ip=None), l2_population=False, devices={"eth1"})
    )
    assert binding.network_types(report) == ["local", "flat", "vlan"]
    assert binding.mappings(report) == {"physnet1": "eth1"}


@pytest.mark.parametrize(
    ("changes", "l2_population", "words"),
    [
        ({"physical_networks": {"physnet2": "eth7"}}, True, "'physnet2' to device 'eth7', which this host does not"),
        ({"vxlan_local_ip": None}, True, "l2_population is true, and .*vxlan_local_ip.* not set"),
        ({}, False, "vxlan_local_ip is 192.0.2.1, and nothing says to which hosts"),
    ],
)
def test_wrong_configuration_names_the_option(changes: dict[str, Any], l2_population: bool, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        host_setup.of_host(host(**changes), l2_population=l2_population, devices={"eth1"})
    assert "\n" not in str(caught.value)


def test_multicast_needs_no_l2_population() -> None:
    setup = host_setup.of_host(host(vxlan_group="239.1.1.1"), l2_population=False, devices={"eth1"})
    assert not setup.by_unicast


def test_health_counts_states_and_names_what_is_wrong() -> None:
    vifs = [
        VifReport(id="a", state="active"),
        VifReport(id="b", state="active"),
        VifReport(id="c", state="drifted", error="tap is down"),
    ]
    assert host_setup.health(vifs, "") == {
        "vifplugd": "answers",
        "vifs": {"active": 2, "drifted": 1},
        "troubled": {"c": "drifted: tap is down"},
    }
    assert host_setup.health(None, "no socket") == {"vifplugd": "away: no socket"}


def test_health_fits_into_neutrons_column() -> None:
    vifs = [VifReport(id=f"{number:036}", state="failed", error="x" * 5000) for number in range(100)]
    assert len(str(host_setup.health(vifs, ""))) < 2000


def test_options_have_one_group() -> None:
    ((group, listed),) = options.list_opts()
    assert group == "vifplug"
    assert len({option.dest for option in listed}) == len(listed)
