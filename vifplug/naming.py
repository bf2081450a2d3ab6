"""Every device name, ownership mark and form of a socket's path; no other module spells a prefix, a cut or a mark.

Names follow the contract with Nova, Neutron and libvirt: prefix plus id, cut to 14 characters (one less
than the kernel's limit, as Nova's NIC_NAME_LEN).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A UUID in canonical form, without groups: that of every id."""
NAME_CUT = 14
LINK_NAME_MAX = 15
"""IFNAMSIZ less the closing zero."""
_PATCH_NAME_CUT = 64
"""A patch port has no netdev, so os-vif gives it a whole id."""

ALIAS_PREFIX = "vifplug:"
NETWORK_PREFIX = "net:"
OWNER_KEY = "vifplug-vif"
"""The key in Port and QoS external_ids with the row's owner."""

ROLE_BRIDGE, ROLE_BRIDGE_END, ROLE_PORT_END = "qbr", "qvb", "qvo"
ROLE_NETWORK_BRIDGE, ROLE_TAP = "brq", "tap"
ROLE_VHOST_USER, ROLE_REPRESENTOR = "vhu", "vfr"
"""Of OVS ports without a device, so they are not in ``ROLES``."""

SOCKET_PATH_MAX = 107
"""sun_path has 108 bytes, and one is the terminating zero (unix(7))."""

VLAN_MIN, VLAN_MAX = 1, 4094
"""0 means "no VLAN", and 4095 is reserved (IEEE 802.1Q)."""
VNI_MAX = 2**24 - 1
"""A VXLAN's number has 24 bits (RFC 7348)."""

_LISTED_BRIDGE = "bridge/"
_LISTED_ADDRESS = "local/"
_TRUNK_BRIDGE, _PORT_BRIDGE = "tbr-", "pb"
_PATCH_NEAR, _PATCH_FAR = "pbp", "ibp"

LINK_NAME_RULE = (
    f"1 to {LINK_NAME_MAX} bytes, without '/', ':', '%', spaces, control characters or the byte 0xa0, and none of '.', "
    "'..', 'all' and 'default'"
)
"""The rule of ``is_link_name`` for an error."""

# '%' makes the name a template: the kernel turns 'br%d' into the first free of br0, br1, ... (dev_alloc_name).
_LINK_NAME = re.compile(r"[^\s/:%\x00-\x1f\x7f\ud800-\udfff]{1,15}")
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
# 'all' and 'default' are directories of net.ipv4.conf: the kernel makes no such device (sysctl_dev_name_is_allowed).
_NO_LINK_NAMES = frozenset({".", "..", "all", "default"})
_KERNEL_SPACE = 0xA0
"""The kernel's isspace counts it as a space (lib/ctype.c), also within a UTF-8 sequence: no device can be named 'à'."""
ROLES = (ROLE_BRIDGE, ROLE_BRIDGE_END, ROLE_PORT_END, ROLE_NETWORK_BRIDGE, ROLE_TAP)
"""Roles whose names are derived from an id; each kind has its own roles (``resources.kinds``)."""

_VLAN_CUT, _VLAN_DIGITS = 10, 6
"""Bytes before the dot of a long VLAN device's name, and the last of them, which are from a hash."""
_TAP_FIRST_BYTES = ("fe:", "fa:")
"""The second is for guests whose own MAC begins with the first."""
_BRIDGE_NAMESPACE = "5f4b5a0e-3c1e-5b7a-9a36-0d1f6a2c7be1"
_DERIVED_NAME = re.compile(rf"({'|'.join(ROLES)})[0-9a-f]{{8}}-[0-9a-f]{{2}}")
_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def device(prefix: str, identity: str) -> str:
    """The device name for a prefix and an id, by Nova's rule."""
    return (prefix + identity)[:NAME_CUT]


def vlan_device(device: str, vlan: int) -> str:
    """The name of a VLAN device: ``eth1.100``; in a long name the device's part is cut and hashed, like in Neutron's
    macvtap agent (macvtap_common.get_vlan_device_name)."""
    if len(f"{device}.{vlan}".encode()) <= LINK_NAME_MAX:
        return f"{device}.{vlan}"
    import hashlib  # a name that fits needs no hash

    digest = hashlib.sha1(device.encode(), usedforsecurity=False).hexdigest()
    cut = device.encode()[: _VLAN_CUT - _VLAN_DIGITS].decode(errors="ignore")
    return f"{cut}{digest[:_VLAN_DIGITS]}.{vlan}"


def vxlan_device(vni: int) -> str:
    """The name of a VXLAN device, as Neutron's Linux bridge agent gives it: ``vxlan-100``."""
    return f"vxlan-{vni}"


def is_derived(name: str, owner: str) -> bool:
    """Whether the naming rule gives a name to this owner's devices."""
    return any(name == device(role, owner.removeprefix(NETWORK_PREFIX)) for role in ROLES)


def is_vifs_bridge(name: str) -> bool:
    """Whether a Linux bridge has a name that Nova, os-vif and vifplug give to a single VIF's bridge: qbr and its id."""
    return name.startswith(ROLE_BRIDGE) and follows_rule(name)


def follows_rule(name: str) -> bool:
    """Whether a name may come from the naming rule: a role, and the beginning of an id."""
    return bool(_DERIVED_NAME.fullmatch(name))


def is_of_other(name: str, owner: str, role: str) -> bool:
    """Whether a name follows the naming rule, but is not the one of this owner's device of that role."""
    return follows_rule(name) and not is_of_owner(name, owner, role)


def is_of_owner(name: str, owner: str, role: str) -> bool:
    """Whether a name is the one of this owner's device of that role."""
    identity = owner.removeprefix(NETWORK_PREFIX)
    # A network without an id has one that is derived from its bridge's name.
    return name == device(role, identity) or (role == ROLE_NETWORK_BRIDGE and network_of_bridge(name) == identity)


def is_link_name(name: str) -> bool:
    """Whether the kernel accepts ``name`` unchanged for a new link (dev_valid_name in net/core/dev.c)."""
    if not _LINK_NAME.fullmatch(name) or name in _NO_LINK_NAMES:
        return False
    encoded = name.encode()
    return len(encoded) <= LINK_NAME_MAX and _KERNEL_SPACE not in encoded


def socket_path_fault(path: str, directory: str = "") -> str:
    """Why the path of a socket is invalid, as the clause of an error; "" if it is valid.

    :param directory: the directory that the path must be below; "" for any.
    """
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError:
        return "it must be a path in UTF-8"
    if length > SOCKET_PATH_MAX:
        return f"it has {length} bytes, and a Unix socket's path has at most {SOCKET_PATH_MAX} (unix(7))"
    # normpath also removes "..", "." and doubled slashes: a path that it changes may name another file than it seems
    # to.
    if not path.isprintable() or not path.startswith("/") or path.startswith("//") or os.path.normpath(path) != path:
        return "it must be an absolute path without '..', '.', empty parts and control characters"
    if directory and not path.startswith(f"{directory.rstrip('/')}/"):
        return f"it must be a path below {directory}, the directory of [ovs] vhostuser_socket_dir"
    return ""


LISTENING_PORT_RULE = f"it must begin with {ROLE_VHOST_USER!r}, without '.' and '/'"
"""The rule of ``may_listen`` for an error."""


def may_listen(port: str) -> bool:
    """Whether a port of type dpdkvhostuser may have a name: Open vSwitch makes a socket of that name in its run
    directory, where it first deletes a file of that name, such as db.sock."""
    return port.startswith(ROLE_VHOST_USER) and "." not in port and "/" not in port


def encoded(name: str) -> bytes:
    """The kernel's bytes of a name: a name that is not UTF-8 was read with surrogateescape."""
    return name.encode("utf-8", "surrogateescape")


def decoded(name: bytes) -> str:
    """A kernel's name as text, whatever its bytes are; ``encoded`` reverses it."""
    return name.decode("utf-8", "surrogateescape")


def listed_address(address: str) -> str:
    """An IP address among the devices that the configuration lists: no device's name has a slash."""
    return f"{_LISTED_ADDRESS}{address}"


def listed_bridge(name: str) -> str:
    """Another program's bridge among what the configuration lists, whose taps are taken over."""
    return f"{_LISTED_BRIDGE}{name}"


def lists_addresses(patterns: Iterable[str]) -> bool:
    """Whether any address is among them."""
    return any(pattern.startswith(_LISTED_ADDRESS) for pattern in patterns)


def is_pci_address(name: str) -> bool:
    """Whether a name is a PCI address with its domain, as sysfs writes it. No link has such a name: it has colons."""
    return bool(_PCI_ADDRESS.fullmatch(name))


def may_be_a_link(name: str) -> bool:
    """Whether a link may exist under this name: any name that fits, because another program's need not be UTF-8."""
    try:
        data = encoded(name)
    except UnicodeEncodeError:
        return False
    return 0 < len(data) <= LINK_NAME_MAX and not {0, ord("/")} & set(data)


def is_uuid(text: str) -> bool:
    """Whether it is a UUID in canonical form: that of every VIF's id."""
    return bool(UUID.fullmatch(text))


def is_owner(owner: str) -> bool:
    """Whether ``owner`` is a VIF id or ``net:`` and a network id, in canonical form."""
    return is_uuid(owner.removeprefix(NETWORK_PREFIX))


def is_address(text: str) -> bool:
    """Whether ``text`` is a MAC address in lower case, of any kind."""
    return bool(_ADDRESS.fullmatch(text))


def network_owner(network_id: str) -> str:
    """The owner of what all VIFs of a network share."""
    return NETWORK_PREFIX + network_id


def network_of_bridge(bridge: str) -> str:
    """A stable id for a network that is known only by its bridge's name."""
    import uuid  # here and below: a command that uses the daemon needs neither of these modules at its start

    return str(uuid.uuid5(uuid.UUID(_BRIDGE_NAMESPACE), bridge))


def alias(owner: str) -> str:
    """The ifalias of a link that ``owner`` owns."""
    return ALIAS_PREFIX + owner


def owner_of(ifalias: str) -> str:
    """A link's owner by its ifalias; "" for a link without a mark of ours."""
    owner = ifalias.removeprefix(ALIAS_PREFIX) if ifalias.startswith(ALIAS_PREFIX) else ""
    return owner if is_owner(owner) else ""


def birth_address(owner: str, role: str) -> str:
    """The MAC of a bridge or veth end at its creation: it shows the owner before the alias does.

    Locally administered and unicast; the kernel ignores an alias in the create message, but not a MAC.
    """
    import hashlib

    digest = bytearray(hashlib.sha256(f"{owner}/{role}".encode()).digest()[:6])
    digest[0] = (digest[0] & 0xFC) | 0x02
    return digest.hex(":")


def guest_address(vif_id: str) -> str:
    """A MAC for the guest of a request without one: the id's last six bytes, locally administered and unicast."""
    node = vif_id.replace("-", "")[-12:]
    first = int(node[:2], 16) & 0xFC | 0x02
    return ":".join((f"{first:02x}", *(node[place : place + 2] for place in range(2, 12, 2))))


def tap_address(guest_address: str) -> str:
    """The host-side MAC of a guest's tap: another first byte and the guest's last five, as libvirt does.

    It must not be the guest's own: a bridge treats a port's MAC as local, and would not forward frames to the guest.
    """
    first, second = _TAP_FIRST_BYTES
    return (second if guest_address.startswith(first) else first) + guest_address[3:]


def is_tap_address(address: str) -> bool:
    """Whether ``tap_address`` may have made this."""
    return address.startswith(_TAP_FIRST_BYTES)


def is_trunk_bridge(bridge: str) -> bool:
    """Whether an OVS bridge is a trunk's, by Neutron's name for it: ports on it are not isolated (LP 2069543)."""
    return bridge.startswith(_TRUNK_BRIDGE)


def trunk_patches(port_id: str) -> tuple[str, str]:
    """The ends, in the trunk's bridge and in the integration bridge, of the patch that Neutron's agent makes for the
    parent port of a trunk; both have that port's iface-id (neutron TrunkParentPort)."""
    return f"tpt-{port_id}"[:LINK_NAME_MAX], f"tpi-{port_id}"[:LINK_NAME_MAX]


def port_bridge(vif_id: str) -> str:
    """The OVS bridge of a single VIF with ``[ovs] per_port_bridge``."""
    return device(_PORT_BRIDGE, vif_id)


def patch_ports(vif_id: str) -> tuple[str, str]:
    """The two ends of the patch between a VIF's own OVS bridge and the integration bridge: near the guest, and far."""
    return (_PATCH_NEAR + vif_id)[:_PATCH_NAME_CUT], (_PATCH_FAR + vif_id)[:_PATCH_NAME_CUT]


def may_be_made(bridge: str) -> bool:
    """Whether an OVS bridge has a name that vifplug gives: a trunk's, or a VIF's own."""
    return is_trunk_bridge(bridge) or bridge.startswith(_PORT_BRIDGE)


def is_bridge_of(bridge: str, owner: str) -> bool:
    """Whether an OVS bridge has this owner's name: a VIF's own, or a trunk's, whose owner is derived from its name."""
    if is_trunk_bridge(bridge):
        return owner == network_owner(network_of_bridge(bridge))
    return bridge == port_bridge(owner)


def fake_bridge(name: str, parent: str, vlan: int) -> str:
    """The error text for a bridge that is only a port to Open vSwitch (ovs-vsctl add-br NAME PARENT VLAN)."""
    return (
        f"{name!r} is a fake bridge, a port of bridge {parent!r} with VLAN {vlan}, and no port can be on it; name "
        f"{parent!r} as the bridge, and leave the VLAN to what sets Port.tag (the control plane, or ovs-vsctl)"
    )
