"""Reads parts of links: what the kernel shows, and takes settings of, in the message of another link."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vifplug.errors import LinkError, ResourceMissing
from vifplug.netlink import links, sysfs
from vifplug.netlink import socket as netlink
from vifplug.netlink.sysfs import VirtualFunction
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.resources.schema import Attribute, Place

_NOT_KNOWN = b"\xff\xff\xff\xff"
WIDTHS = {"uint32": 4, "l2addr": 6}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a link, as the kernel shows it."""

    function: VirtualFunction
    kind: type[Link]
    entry: dict[int, bytes]
    """Its structures, by the attribute's number."""
    carrier: dict[str, Any]
    """The link that it is part of."""

    def decoded(self) -> dict[str, Any]:
        """The same as primitives, as ``links.decode`` gives those of a link."""
        function = self.function
        return {
            **dict.fromkeys(self.kind.attributes.by_name),
            "name": function.address,
            "kind": self.kind.kind,
            "alias": "",
            "master": None,
            "ifindex": None,
            "carrier": self.carrier["carrier"],
            "up": self.carrier["up"],
            "mtu": self.carrier["mtu"],
            "part_of": function.device,
            "physical": function.physical,
            "driver": function.driver,
            "device": next(iter(function.devices), ""),
            "guests_driver": function.in_use,
            **{attribute.name: _value(attribute, self.entry) for attribute in self.kind.attributes.at(Place.ENTRY)},
        }


def _value(attribute: Attribute, entry: dict[int, bytes]) -> Any:
    assert attribute.wire is not None
    structure = entry.get(attribute.wire.number, b"")
    value = structure[attribute.wire.offset :][: WIDTHS[attribute.wire.width]]
    if not value or value == _NOT_KNOWN:
        return attribute.absent
    return links.PARSE[attribute.form](value)


def read(socket_: netlink.LinkSocket, names: Iterable[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Parts of links by their names, and why those are missing that are not there.

    :raises LinkError: when the kernel does not show the link that one is part of.
    """
    values: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            values[name] = part(socket_, name).decoded()
        except ResourceMissing as error:
            absent[name] = error.message
    return values, absent


def part(socket_: netlink.LinkSocket, name: str) -> Part:
    """One part of a link.

    :raises ResourceMissing: there is none, and why.
    :raises LinkError: when the kernel does not show the link that it is part of.
    """
    function = sysfs.virtual_function(name)
    for kind in kinds.kinds_of_parts():
        if kind.entries is None:
            continue
        payload = _message(socket_, function, kind.entries.mask)
        _index, _flags, attrs = netlink.link_header(payload)
        for entry in netlink.entries(attrs.get(kind.entries.number, b"")):
            if _number(entry) == function.number:
                return Part(function, kind, entry, links.decode(payload))
    raise ResourceMissing(
        f"the kernel shows no virtual function {function.number} of {function.device!r} (PCI device {name})", name
    )


def _message(socket_: netlink.LinkSocket, function: VirtualFunction, mask: int) -> bytes:
    try:
        payloads = socket_.get_by_index([function.ifindex], mask)
    except (netlink.Refused, OSError) as error:
        text = error.text if isinstance(error, netlink.Refused) else str(error)
        raise LinkError(f"could not read {function.device!r}: {text}", function.device) from error
    # sysfs may be that of another network namespace, where the number is another link's.
    if not payloads or netlink.index_and_name(payloads[0])[1] != function.device:
        raise ResourceMissing(
            f"device {function.device!r} of physical function {function.physical} is not in this network namespace",
            function.address,
        )
    return payloads[0]


def _number(entry: dict[int, bytes]) -> int | None:
    """Every structure of an entry begins with the entry's number."""
    structure = next((value for value in entry.values() if len(value) >= 4), None)
    return None if structure is None else int(struct.unpack_from("=I", structure)[0])
