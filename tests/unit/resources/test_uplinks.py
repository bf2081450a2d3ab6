"""The values of a request's uplink, and what the configuration adds to them."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

import vifplug
from vifplug.config import options as config
from vifplug.drivers import uplinks
from vifplug.drivers.contract import Options
from vifplug.errors import ConfigError, InputError
from vifplug.model.uplink import Uplink
from vifplug.testing import FakeHost

VXLAN: dict[str, Any] = {"type": "vxlan", "segmentation_id": 5}
FLAT: dict[str, Any] = {"type": "flat", "physical_network": "physnet1"}


def vif(number: int = 1, **uplink: Any) -> vifplug.Vif:
    return vifplug.load(
        {
            **{"id": f"{number:08x}-df3e-4999-932a-1263b7886e5a", "vif_type": "bridge"},
            **{"address": f"fa:16:3e:b9:2c:{number:02x}"},
            "network": {"id": "899b9b97-ffd5-4ae9-86fc-85fe844447d0", "uplink": uplink},
        }
    )


@pytest.mark.parametrize(
    ("uplink", "words"),
    [
        ({"type": "gre"}, "uplink.type: 'gre': it must be flat, vlan or vxlan"),
        ({}, "uplink.type: it is missing"),
        ({"type": "flat"}, "physical_network: null: it must be a name of [bridge] physical_networks"),
        ({**FLAT, "segmentation_id": 5}, "segmentation_id: 5: it is for uplinks of type vlan and vxlan only"),
        ({**FLAT, "peers": ["192.0.2.1"]}, "peers: a list: it is for uplinks of type vxlan only; leave it out"),
        ({**VXLAN, "segmentation_id": True}, "segmentation_id: true: it must be a VXLAN's number"),
        ({**VXLAN, "segmentation_id": "5"}, "segmentation_id: '5': it must be a VXLAN's number"),
        ({**VXLAN, "group": "192.0.2.1"}, "group: '192.0.2.1': it must be a multicast address such as 239.1.1.1"),
        ({**VXLAN, "group": "239.1.1.1", "peers": ["192.0.2.1"]}, "peers: a list: it excludes group: give either"),
        ({**VXLAN, "peers": ["192.0.2.1"] * 4097}, "peers: a list: it must have at most 4096 addresses"),
        ({**VXLAN, "peers": ["239.1.1.1"]}, "peers: a list: 239.1.1.1 is not the address of a host"),
        *(
            ({**VXLAN, "peers": [peer]}, f"peers: a list: {peer} is not the address of a host")
            for peer in ("::ffff:c000:209", "::c000:209", "255.255.255.255", "0.0.0.5", "fe80::5")
        ),
        ({**VXLAN, "peers": ["192.0.2.1"], "local_ip": "192.0.2.1"}, "local_ip: '192.0.2.1': it is also one of peers"),
        ({**VXLAN, "peers": ["192.0.2.1", "fd00::1"]}, "peers: a list: all must be IPv4, or all IPv6"),
        ({**VXLAN, "peers": ["fe80::1%eth1"]}, "peers[0]: 'fe80::1%eth1': it must be an IPv4 or IPv6 address"),
        ({**VXLAN, "peers": ["fd00::1"], "local_ip": "192.0.2.1"}, "local_ip: '192.0.2.1': it must be of the same"),
        ({**VXLAN, "local_ip": "127.0.0.1"}, "local_ip: '127.0.0.1': it must be the address of a host"),
        ({**VXLAN, "port": 65536}, "port: 65536: it must be a whole number from 1 to 65535"),
        ({**VXLAN, "ttl": 0}, "ttl: 0: it must be a whole number from 1 to 255"),
        ({**VXLAN, "tos": 256}, "tos: 256: it must be a whole number from 0 to 255"),
        ({**VXLAN, "udp_checksum": 1}, "udp_checksum: 1: it must be true or false"),
    ],
)
def test_wrong_uplink_is_refused_with_its_field(uplink: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        vif(**uplink)
    assert f"network.{words}" in str(caught.value) or f"network.uplink.{words}" in str(caught.value)


def test_uplink_is_for_bridge_vifs_only() -> None:
    document = {**vif(**FLAT).model_dump(exclude_none=True), "vif_type": "ovs"}
    with pytest.raises(InputError, match=r"network\.uplink: it is for VIFs of type bridge only; leave it out"):
        vifplug.load(document)


def test_peers_are_a_set() -> None:
    named = Uplink(**VXLAN, peers=["192.0.2.3", "192.0.2.2", "192.0.2.3"])
    assert named.peers == ("192.0.2.2", "192.0.2.3")
    assert named == Uplink.model_validate_json(named.model_dump_json())


@pytest.mark.parametrize(
    ("uplink", "options", "overhead"),
    [
        (None, Options(), 0),
        (Uplink(**FLAT), Options(), 0),
        (Uplink(**VXLAN, peers=["192.0.2.2"]), Options(), 50),
        (Uplink(**VXLAN, peers=["fd00::2"]), Options(), 70),
        (Uplink(**VXLAN), Options(vxlan_group="239.1.1.0/24"), 50),
        (Uplink(**VXLAN), Options(vxlan_group="ff05::/120"), 70),
        (Uplink(**VXLAN, group="239.1.1.1"), Options(vxlan_group="ff05::/120"), 50),
    ],
)
def test_headers_of_a_vxlan_are_taken_off_the_default_mtu(uplink: Any, options: Options, overhead: int) -> None:
    assert uplinks.overhead(uplink, options) == overhead


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("vxlan_local_ip = 239.1.1.1", r"\[bridge\] vxlan_local_ip '239.1.1.1' is not an address of this host"),
        ("vxlan_local_ip = eth1", r"\[bridge\] vxlan_local_ip 'eth1' is not an address of this host"),
        ("vxlan_group = 192.0.2.1", r"\[bridge\] vxlan_group '192.0.2.1' is neither a multicast address"),
        ("vxlan_group = 239.1.1.1/24", r"\[bridge\] vxlan_group '239.1.1.1/24' is neither"),
        ("addressed_devices = eth2", r"addressed_devices: 'eth2' is not a device of \[bridge\] physical_networks"),
    ],
)
def test_wrong_option_is_refused_with_its_value(tmp_path: pathlib.Path, line: str, words: str) -> None:
    file = tmp_path / "vifplug.conf"
    file.write_text(f"[bridge]\nphysical_networks = physnet1:eth1\n{line}\n")
    with pytest.raises(ConfigError, match=words):
        config.load(str(file))


def test_options_become_settings_and_limits_of_the_helper(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "vifplug.conf"
    file.write_text(
        "[bridge]\nphysical_networks = physnet1:eth1\naddressed_devices = eth1\nvxlan_local_ip = FD00:0::1\n"
        "vxlan_group = ff05::/120\n"
    )
    settings = config.load(str(file))
    assert (settings.addressed_devices, settings.vxlan_local_ip) == (("eth1",), "fd00::1")
    assert settings.vxlan_group == "ff05::/120"
    assert settings.configurable == ("eth1", "local/fd00::1")


def test_fake_host_takes_uplinks_of_its_physical_networks() -> None:
    with FakeHost(physical_devices={"physnet1": "eth1"}) as host:
        host.plug([vif(1, **FLAT), vif(2, **FLAT)])
        (devices,) = {tuple((d.name, d.kind, d.master) for d in report.devices[-1:]) for report in host.list()}
        assert devices == (("eth1", "nic", "brq899b9b97-ff"),)
        host.unplug([report.id for report in host.list()])
        assert host.applied[-2].text == "put back nic eth1: master none"
    with FakeHost() as host, pytest.raises(InputError, match="does not list; it lists: none"):
        host.plug([vif(**FLAT)])
