"""The one rule of ownership that both sides of the privilege boundary run."""

from __future__ import annotations

import pytest

from vifplug import naming
from vifplug.resources import kinds, ownership
from vifplug.resources.ownership import Claim, SeenLink, SeenPort

VIF, OTHER, NETWORK = (f"{digit * 8}-d1c4-4b1e-8a51-6f0e5c9d77aa" for digit in "123")
MAC, FOREIGN = "fa:16:3e:00:00:01", "02:00:00:00:00:99"
ROLES = (("qbr", VIF), ("qvb", VIF), ("qvo", VIF), ("tap", VIF), ("brq", f"net:{NETWORK}"))


def link(role: str, owner: str, **changes: object) -> SeenLink:
    """A link as it is made, with something changed."""
    address = naming.tap_address(MAC) if role == "tap" else naming.birth_address(owner, role)
    made = SeenLink(
        name=ownership.derived_name(owner, role),
        kind=kinds.kind_of_role(role),
        alias=naming.alias(owner),
        address=address,
        persistent=role == "tap",
    )
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("role, owner", ROLES)
def test_mark_needs_a_second_sign(role: str, owner: str) -> None:
    claim = Claim(owner=owner, role=role)
    assert ownership.link_is_ours(link(role, owner), claim)
    assert ownership.link_is_ours(link(role, owner, address=FOREIGN), claim)
    copied = link(role, owner, address=FOREIGN, name="theirs")
    assert not ownership.link_is_ours(copied, claim)
    assert ownership.link_is_ours(copied, claim._replace(known=True))
    assert not ownership.link_is_ours(link(role, owner, kind="vxlan"), claim._replace(known=True))
    assert not ownership.link_is_ours(link(role, owner, alias=naming.alias(OTHER), address=FOREIGN), claim)


@pytest.mark.parametrize("role, owner", ROLES)
def test_unmarked_link_is_ours_by_its_birth_or_as_seen_before(role: str, owner: str) -> None:
    claim = Claim(owner=owner, role=role, address=naming.tap_address(MAC))
    assert ownership.link_is_ours(link(role, owner, alias=""), claim) is (role != "tap")
    bare = link(role, owner, alias="theirs", address=FOREIGN)
    assert not ownership.link_is_ours(bare, claim)
    assert ownership.link_is_ours(bare, claim._replace(known=True))


@pytest.mark.parametrize("role, owner", [each for each in ROLES if each[0] != "tap"])
def test_birth_mac_alone_proves_nothing(role: str, owner: str) -> None:
    """An id can be searched for whose hash is a given MAC: here it is the link of another name that has that MAC."""
    claim = Claim(owner=owner, role=role)
    victim = link(role, owner, name="theirs", alias="")
    for alias in ("", "theirs", naming.alias(OTHER)):
        assert not ownership.link_is_ours(victim._replace(alias=alias), claim)
        assert not ownership.link_is_renamed(victim._replace(alias=alias), claim)
        assert ownership.link_is_ours(victim._replace(alias=alias), claim._replace(known=True))
        assert ownership.link_is_ours(link(role, owner, alias=alias), claim)
    assert ownership.link_is_ours(victim._replace(alias=naming.alias(owner)), claim)


def test_name_that_a_networks_id_follows_from_agrees_with_its_birth_mac() -> None:
    owner = naming.network_owner(naming.network_of_bridge("br-lab"))
    claim = Claim(owner=owner, role="brq")
    assert ownership.link_is_ours(link("brq", owner, name="br-lab", alias=""), claim)
    assert not ownership.link_is_ours(link("brq", owner, name="br-lab", alias="", address=FOREIGN), claim)


@pytest.mark.parametrize("role, owner", ROLES)
def test_renamed_link_shows_itself_whose_it_is(role: str, owner: str) -> None:
    claim = Claim(owner=owner, role=role, known=True)
    renamed = link(role, owner, name="theirs")
    assert ownership.link_is_renamed(renamed, claim)
    assert ownership.link_is_renamed(renamed._replace(address=FOREIGN), claim)
    assert not ownership.link_is_renamed(renamed._replace(address=FOREIGN), claim._replace(known=False))
    # After a boot a recorded ifindex may be the number of another guest's tap.
    assert not ownership.link_is_renamed(renamed._replace(alias="", address=FOREIGN), claim)
    assert not ownership.link_is_renamed(renamed._replace(alias=naming.alias(OTHER), address=FOREIGN), claim)
    assert not ownership.link_is_renamed(renamed._replace(kind="vxlan"), claim)


@pytest.mark.parametrize("role, owner", ROLES)
def test_name_of_another_device_is_recognised_by_the_naming_rule(role: str, owner: str) -> None:
    assert not naming.is_of_other(ownership.derived_name(owner, role), owner, role)
    assert not naming.is_of_other("web0", owner, role)
    for other_role, other in ((role, OTHER), ("tap", NETWORK), ("qvo", OTHER)):
        assert naming.is_of_other(ownership.derived_name(other, other_role), owner, role)


def test_bridge_of_a_network_without_an_id_may_have_any_name() -> None:
    bridge = "brq14ec4c8b-00"
    owner = naming.network_owner(naming.network_of_bridge(bridge))
    assert not naming.is_of_other(bridge, owner, "brq")


@pytest.mark.parametrize("role, owner", ROLES)
def test_adoption_takes_the_right_kind_and_name_of_a_vif_alone(role: str, owner: str) -> None:
    claim = Claim(owner=owner, role=role)
    bare = link(role, owner, alias="", address=FOREIGN)
    assert ownership.link_is_adoptable(bare, claim) is (role != "brq")
    for other in (bare._replace(name="theirs"), bare._replace(kind="vxlan"), bare._replace(alias="theirs")):
        assert not ownership.link_is_adoptable(other, claim)
    assert not ownership.link_is_adoptable(bare, claim._replace(owner=OTHER))
    if role == "tap":
        assert not ownership.link_is_adoptable(bare._replace(persistent=False), claim)


def test_guests_tap_has_the_vifs_name_or_the_guests_mac() -> None:
    tap = SeenLink(name=ownership.derived_name(VIF, "tap"), kind="tap", address=FOREIGN)
    assert ownership.is_guests_tap(tap, VIF, MAC)
    assert ownership.is_guests_tap(tap._replace(master="ovs-system"), VIF, MAC)
    for other in (
        tap._replace(kind="veth"),
        tap._replace(master="docker0"),
        tap._replace(alias=naming.alias(OTHER)),
        tap._replace(name="vpn0"),
        tap._replace(name="vpn0", address=naming.tap_address(MAC), persistent=True),
        tap._replace(name="ovs-netdev", address=naming.tap_address(MAC)),
    ):
        assert not ownership.is_guests_tap(other, VIF, MAC)
    named = tap._replace(name="web0", address=naming.tap_address(MAC))
    assert ownership.is_guests_tap(named, VIF, MAC)
    assert not ownership.is_guests_tap(named, VIF, "")


def test_port_is_ours_by_its_link_or_by_a_mark_that_something_agrees_with() -> None:
    ours = ownership.port_names(VIF)[0]
    assert ownership.port_is_ours(SeenPort(name=ours, mark=VIF), VIF)
    assert ownership.port_is_ours(SeenPort(name="web0", mark=VIF, iface_ids=frozenset({VIF})), VIF)
    assert ownership.port_is_ours(SeenPort(name="web0", mark="garbage", on_our_link=True), VIF)
    assert ownership.port_is_ours(SeenPort(name=ours, known=True), VIF)
    for port in (
        SeenPort(name="patch", mark=VIF),
        SeenPort(name=ours, mark=OTHER, known=True),
        SeenPort(name=ours, iface_ids=frozenset({VIF})),
        SeenPort(name=ours),
    ):
        assert not ownership.port_is_ours(port, VIF)
    assert ownership.port_is_adoptable(SeenPort(name=ours), VIF)
    assert not ownership.port_is_adoptable(SeenPort(name=ours, iface_ids=frozenset({VIF})), VIF)


def test_qos_row_is_ours_with_the_mark_and_nothing_else() -> None:
    assert ownership.qos_is_ours({"vifplug-vif": VIF}, VIF)
    assert not ownership.qos_is_ours({"vifplug-vif": VIF, "theirs": "1"}, VIF)
    assert not ownership.qos_is_ours({"vifplug-vif": OTHER}, VIF)


@pytest.mark.parametrize(
    ("name", "pattern", "is_listed"),
    [
        ("eth1", "eth*", True),
        ("0000:3b:10.2", "0000:3b:*", True),
        ("eb", "e[:f]b[:0]*", False),
        ("efb0", "e[:f]b[:0]", False),
        ("0000:3b:10.2", "0*", False),
    ],
)
def test_pattern_of_pci_addresses_lists_no_network_device(name: str, pattern: str, is_listed: bool) -> None:
    assert ownership.is_listed((name,), (pattern,)) is is_listed
