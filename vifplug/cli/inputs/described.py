"""A VIF that the options of ``plug`` describe, without a document: its id and its MAC are made up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vifplug import errors, formats, naming
from vifplug.cli.arguments import Options

if TYPE_CHECKING:
    from vifplug.model.vif import Vif

_FIELDS = {
    "vif_type": "--type",
    "vif_id": "--id",
    "mac": "--mac",
    "bridge": "--bridge",
    "uplink": "--uplink",
    "tap": "--tap",
    "tap_owner": "--tap-owner",
    "multiqueue": "--multiqueue",
    "isolate": "--isolate",
    "allow": "--allow",
    "vhost_user": "--vhost-user",
    "vhost_mode": "--vhost-mode",
    "pci": "--pci",
    "macvtap": "--macvtap",
    "macvtap_mode": "--macvtap-mode",
}
"""The options that a VIF without a document has, by their names in Options."""
_VLAN_OF = {"vf": "pci_device", "macvtap": "macvtap"}
"""vif_types whose VLAN is a field of their part."""


def refuse(options: Options) -> None:
    """Refuse a description beside a document.

    :raises errors.InputError: there is one.
    """
    given = [word for name, word in _FIELDS.items() if getattr(options, name) is not None]
    if given:
        raise errors.InputError(
            f"plug: {given[0]} describes a VIF without FILE; leave out {given[0]}, or FILE {options.file!r}"
        )


def vifs(options: Options) -> Sequence[Vif]:
    """The VIF that options describe, unread: the host checks it as a document in vifplug's own format.

    :raises errors.InputError: its type is not given, or an option needs FILE.
    """
    if options.vif_type is None:
        raise errors.InputError(
            "plug needs FILE (- is stdin), or --type TYPE and what else describes a VIF; "
            "'vifplug help plug' has examples"
        )
    if options.format not in ("", "auto", "vif"):
        raise errors.InputError(f"plug: --format {options.format} is the format of FILE, and there is none")
    if options.instance_name is not None and options.instance_uuid is None:
        raise errors.InputError(f"--instance-name {options.instance_name!r}: give --instance-uuid as well")
    network_id, network = _network(options.network)
    return formats.Document(document(options, network_id), format="vif", mtu=options.mtu, network=network)


def document(options: Options, network_id: str | None = None) -> dict[str, Any]:
    """The document of the VIF that options describe."""
    vif_id = new_id() if options.vif_id is None else options.vif_id
    vif: dict[str, Any] = {
        "id": vif_id,
        "vif_type": options.vif_type,
        "address": naming.guest_address(vif_id) if options.mac is None else options.mac,
        "network": _given(id=network_id, bridge=options.bridge, uplink=options.uplink),
        "instance": _given(uuid=options.instance_uuid, name=options.instance_name),
        "create_tap": options.create_tap or None,
        "tap_owner": options.tap_owner,
        "multiqueue": options.multiqueue,
        "isolate": options.isolate,
        "names": _given(tap=options.tap),
        "vhost_user": _given(socket=options.vhost_user, mode=options.vhost_mode),
        "pci_device": _given(address=options.pci),
        "macvtap": _given(source=options.macvtap, mode=options.macvtap_mode),
        "allowed_addresses": [{"ip": address} for address in options.allow or ()] or None,
    }
    part = _VLAN_OF.get(options.vif_type or "")
    if part is not None and options.vlan is not None:
        vif[part] = {**vif[part], "vlan": options.vlan}
    else:
        vif["vlan"] = options.vlan
    return _given(**vif)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != {}}


def new_id() -> str:
    """A random UUID (RFC 9562, version 4); the module uuid takes longer to import than a plug."""
    data = bytearray(os.urandom(16))
    data[6] = data[6] & 0x0F | 0x40
    data[8] = data[8] & 0x3F | 0x80
    text = data.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _network(given: str | None) -> tuple[str | None, object]:
    """The network's id, and the Neutron network that a file holds."""
    if given is None:
        return None, None
    if naming.is_uuid(given.lower()):
        return given.lower(), None
    from vifplug.cli.inputs import files

    network = files.parse(files.read(given), given)
    inner = network.get("network", network) if isinstance(network, Mapping) else None
    identity = inner.get("id") if isinstance(inner, Mapping) else None
    return (identity if isinstance(identity, str) else None), network
