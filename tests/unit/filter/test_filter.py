"""A filter as a resource, in plans and on the fake host; its rules, and their comparison."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest

import vifplug
from tests.support import builders
from vifplug import errors
from vifplug.netlink import nftables as nft
from vifplug.privileged.filters import rules, verbs
from vifplug.resources import kinds
from vifplug.resources.nftables.filter import BRIDGE, DEVICE, Filter, link_local, pairs
from vifplug.testing import FakeHost

MAC, OTHER = "fa:16:3e:95:3a:3d", "00:00:5e:00:01:0a"
FILTER = Filter(name="tap0", owner=builders.BRIDGE, place=DEVICE, address=MAC, allowed=(f"{MAC} 10.0.0.5",))


def test_record_of_a_filter_is_read_back() -> None:
    assert kinds.from_dict(kinds.to_dict(FILTER)) == FILTER


def test_each_mac_has_its_link_local_address() -> None:
    assert str(link_local(MAC)) == "fe80::f816:3eff:fe95:3a3d/128"
    assert pairs(MAC, (f"{OTHER} 10.0.0.6",)) == (
        (MAC, ipaddress.ip_network("fe80::f816:3eff:fe95:3a3d")),
        (OTHER, ipaddress.ip_network("fe80::200:5eff:fe00:10a")),
        (OTHER, ipaddress.ip_network("10.0.0.6")),
    )


def test_addresses_that_a_prefix_covers_are_left_out() -> None:
    """A set with intervals refuses two that overlap."""
    sources = {
        str(source) for _mac, source in pairs(MAC, (f"{MAC} 10.0.0.0/24", f"{MAC} 10.0.0.5", f"{MAC} fe80::/10"))
    }
    assert sources == {"10.0.0.0/24", "fe80::/10"}


@pytest.mark.parametrize("family", rules.FAMILIES)
def test_changed_rule_is_not_taken_for_ours(family: int) -> None:
    for chain, expected in rules.CHAINS[family].items():
        for number, rule in enumerate(expected):
            answer = bytes(4) + nft.rule("vifplug", chain, rule)
            assert nft.is_rule(answer, rule)
            assert [place for place, other in enumerate(expected) if nft.is_rule(answer, other)] == [number]


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "net:14ec4c8b-001b-49c3-89fb-bf84c4f41e24"},
        {"owner": "x"},
        {"name": "tap%d"},
        {"name": ""},
        {"place": "inet"},
        {"place": None},
        {"address": "01:00:00:00:00:01"},
        {"address": ""},
        {"allowed": "10.0.0.5"},
        {"allowed": ["10.0.0.5"]},
        {"allowed": [f"{MAC} 10.0.0.5/8"]},
        {"allowed": [f"{MAC} 10.0.0.5; flush ruleset"]},
        {"allowed": [7]},
        {"allowed": [f"{MAC} 10.0.0.5"] * 5000},
    ],
)
def test_helper_refuses_arguments_out_of_bounds(changes: dict[str, object]) -> None:
    right = {"name": "tap0", "owner": builders.BRIDGE, "place": BRIDGE, "address": MAC, "allowed": [f"{MAC} 10.0.0.5"]}
    assert verbs.wanted_of(right).device == "tap0"
    with pytest.raises(errors.PermissionDenied):
        verbs.wanted_of({**right, **changes})


def test_fake_host_filters() -> None:
    vif = builders.vif("bridge", allowed_addresses=[{"ip": "10.0.0.5"}])
    with FakeHost() as host:
        (report,) = host.plug([vif])
        assert report.warnings[0].endswith("its guest is not limited to them")
        host.enable_filter()
        assert [action.action for action in host.plan([vif]).actions] == ["put-filter"]
        (report,) = host.plug([vif])
        assert not report.warnings and host.check().clean
        host.flush_ruleset()
        (item,) = host.check().vifs[0].drift
        assert (item.attribute, item.desired) == ("filter", "fa:16:3e:95:3a:3d, 10.0.0.5")
        host.repair()
        assert host.check().clean
        host.unplug([vif.id])
        assert (host.list(), host.gc().orphans) == ([], ())


@pytest.mark.parametrize("addresses", [None, []])
def test_fake_host_keeps_recorded_addresses(addresses: list[object] | None) -> None:
    first = builders.vif("bridge", allowed_addresses=[{"ip": "10.0.0.5"}])
    then = builders.vif("bridge", allowed_addresses=addresses)
    with FakeHost() as host:
        host.enable_filter()
        host.plug([first])
        assert [action.action for action in host.plan([then]).actions] == ([] if addresses is None else ["put-filter"])


def test_refused_vif_changes_nothing() -> None:
    with FakeHost(datapath="netdev") as host:
        host.enable_filter()
        with pytest.raises(errors.InputError, match="plug it as ovs-hybrid"):
            host.plug([builders.vif("ovs", allowed_addresses=[{"ip": "10.0.0.5"}])])
        with pytest.raises(errors.InputError, match="set create_tap; or set port_security false"):
            host.plug([builders.vif("ovs", port_security=True, create_tap=False)])
        assert host.list() == []
        host.plug([builders.vif("ovs", allowed_addresses=[{"ip": "10.0.0.5"}], port_security=False)])


def test_vifs_type_is_public() -> None:
    assert dataclasses.is_dataclass(Filter) and vifplug.Vif.model_fields["allowed_addresses"].default is None
