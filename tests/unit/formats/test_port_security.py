"""Which addresses a guest may send from: in our own format, and of a Neutron port that no other program filters."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from tests.support import builders
from vifplug import errors, formats
from vifplug.model.vif import ALLOWED_MAX, Vif

SAMPLE = pathlib.Path(__file__).parents[2] / "samples" / "openstack_port_show_hybrid.json"
FIXED = [{"subnet_id": "x", "ip_address": "10.0.0.5"}, {"subnet_id": "y", "ip_address": "2001:DB8:0::5"}]
PAIRS = [
    {"ip_address": "192.168.7.9/24", "mac_address": "00:00:5E:00:01:0A"},
    {"ip_address": "10.0.0.77"},
]


def port(**changes: Any) -> dict[str, Any]:
    details = {"port_filter": False, "ovs_hybrid_plug": True, **changes.pop("details", {})}
    return {
        "id": builders.HYBRID,
        "mac_address": "fa:16:3e:eb:5e:26",
        "network_id": builders.NETWORK,
        "binding:vif_type": "ovs",
        "binding:vif_details": details,
        "fixed_ips": FIXED,
        "allowed_address_pairs": PAIRS,
        "port_security_enabled": True,
        **changes,
    }


def addresses(vif: Vif) -> list[tuple[str, str | None]] | None:
    return None if vif.allowed_addresses is None else [(entry.ip, entry.mac) for entry in vif.allowed_addresses]


def test_neutron_port_that_nothing_filters_has_its_addresses() -> None:
    (vif,) = formats.load_all(port())
    assert vif.port_security is True
    assert addresses(vif) == [
        ("10.0.0.5", "fa:16:3e:eb:5e:26"),
        ("2001:db8::5", "fa:16:3e:eb:5e:26"),
        ("192.168.7.0/24", "00:00:5e:00:01:0a"),
        ("10.0.0.77", "fa:16:3e:eb:5e:26"),
    ]


@pytest.mark.parametrize(
    "changes, security",
    [
        ({"details": {"port_filter": True}}, None),
        ({"port_security_enabled": False}, False),
        ({"details": {"port_filter": None}}, None),
    ],
)
def test_neutron_port_that_is_not_to_be_filtered_here(changes: dict[str, Any], security: bool | None) -> None:
    (vif,) = formats.load_all(port(**changes))
    assert (vif.port_security, vif.allowed_addresses) == (security, None)


def test_neutron_port_without_the_extension_is_secure() -> None:
    document = port(fixed_ips=[], allowed_address_pairs=None)
    del document["port_security_enabled"]
    (vif,) = formats.load_all(document)
    assert (vif.port_security, vif.allowed_addresses) == (True, ())


def test_openstacksdks_port_is_read_alike() -> None:
    document = json.loads(SAMPLE.read_text())
    document["binding_vif_details"]["port_filter"] = False
    (vif,) = formats.load_all(document)
    assert [ip for ip, _mac in addresses(vif) or []] == [entry["ip_address"] for entry in document["fixed_ips"]]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"fixed_ips": "10.0.0.5"}, "fixed_ips: '10.0.0.5': it must be a list"),
        ({"fixed_ips": ["10.0.0.5"]}, "fixed_ips: a list: its entry 0 must be an object"),
        (
            {"fixed_ips": [*FIXED, {"ip_address": "10.0.0.500"}]},
            "fixed_ips[2].ip_address: '10.0.0.500': it must be an IPv4 or IPv6 address, or a prefix such as "
            "10.0.0.0/24",
        ),
        (
            {"allowed_address_pairs": [{"ip_address": "10.0.0.7", "mac_address": "01:00:00:00:00:01"}]},
            "allowed_address_pairs[0].mac_address: '01:00:00:00:00:01': it is a multicast address; a VIF needs a "
            "unicast one (an even first byte)",
        ),
        (
            {"allowed_address_pairs": [{"mac_address": "00:00:5e:00:01:0a"}]},
            "allowed_address_pairs[0].ip_address: null: it must be an IPv4 or IPv6 address, or a prefix such as "
            "10.0.0.0/24",
        ),
        ({"port_security_enabled": "yes"}, "port_security_enabled: 'yes': it must be true or false"),
    ],
)
def test_wrong_address_of_a_port_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        formats.load_all(port(**changes))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "value, message",
    [
        ("10.0.0.5", "allowed_addresses: '10.0.0.5': it must be a list"),
        (["10.0.0.5"], "allowed_addresses[0]: '10.0.0.5': it must be an object"),
        (
            [{"ip": "10.0.0.5"}, {"ip": "fe80::1%eth0"}],
            "allowed_addresses[1].ip: 'fe80::1%eth0': it must be an IPv4 or IPv6 address, or a prefix such as "
            "10.0.0.0/24",
        ),
        (
            [{"ip": 167772165}],
            "allowed_addresses[0].ip: 167772165: it must be an IPv4 or IPv6 address, or a prefix such as 10.0.0.0/24",
        ),
        (
            [{"ip": "10.0.0.5", "mac": "x"}],
            "allowed_addresses[0].mac: 'x': it must be a MAC address such as fa:16:3e:eb:5e:26",
        ),
        (
            [{"address": "10.0.0.5", "ip": "10.0.0.5"}],
            "unknown key 'allowed_addresses[0].address'; valid keys: ip, mac",
        ),
        ([{}], "allowed_addresses[0].ip: it is missing, and a VIF needs it"),
        (
            [{"ip": "10.0.0.5"}] * (ALLOWED_MAX + 1),
            f"allowed_addresses: a list: it must have at most {ALLOWED_MAX} entries",
        ),
    ],
)
def test_wrong_address_of_our_own_format_is_named(value: Any, message: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        formats.load_all({**builders.document("bridge"), "allowed_addresses": value})
    assert str(caught.value) == message


def test_addresses_are_canonical() -> None:
    entries = [
        {"ip": "10.0.0.5/24"},
        {"ip": "2001:DB8::0:1"},
        {"ip": "10.0.0.5/32"},
        {"ip": "::/0", "mac": "FA:16:3E:00:00:01"},
    ]
    vif = builders.vif("bridge", allowed_addresses=entries)
    assert addresses(vif) == [
        ("10.0.0.0/24", None),
        ("2001:db8::1", None),
        ("10.0.0.5", None),
        ("::/0", "fa:16:3e:00:00:01"),
    ]
    assert Vif.model_validate_json(vif.model_dump_json()) == vif
