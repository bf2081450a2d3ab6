"""Reads what the kernel has for virtual functions: parts of links, which it shows, and takes settings of, in the
message of another link; and representors, which are links of their own."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.errors import ResourceMissing
from vifplug.netlink import links, representors, sysfs
from vifplug.netlink import socket as netlink
from vifplug.netlink.representors import SwitchPort
from vifplug.netlink.sysfs import VirtualFunction
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.resources.schema import Attribute, Place

Functions = tuple[dict[str, dict[str, Any]], dict[str, str]]
"""What is there, by PCI address; and why the rest is not."""

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


def read(socket_: netlink.LinkSocket, functions: Mapping[str, str]) -> Functions:
    """Virtual functions, each by the kind that it is looked at as; and why those are missing that are not there.

    :raises LinkError: when the kernel does not show the link that one is part of, or its links.
    """
    values: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    ports: list[SwitchPort] | None = None
    for name, kind in sorted(functions.items()):
        try:
            if kinds.link_of(kind).entries is not None:
                values[name] = part(socket_, name).decoded()
                continue
            function = sysfs.function(name)
            ports = representors.ports(socket_) if ports is None else ports
            values[name] = _represented(socket_, function, kind, ports)
        except ResourceMissing as error:
            absent[name] = error.message
    return values, absent


def representor(socket_: netlink.LinkSocket, name: str, kind: str, device: str) -> dict[str, Any]:
    """The representor of a virtual function, which is the device of that name.

    :param name: the function's PCI address.
    :raises ResourceMissing: there is no such function, or the device is not its representor.
    :raises LinkError: when the kernel does not show the device.
    """
    function = sysfs.function(name)
    message = representors.require(socket_, function, device)
    return _shown(socket_, function, kind, message)


def _represented(
    socket_: netlink.LinkSocket, function: VirtualFunction, kind: str, ports: Sequence[SwitchPort]
) -> dict[str, Any]:
    """A function with its representor; or with why it has none, since a userspace datapath needs none."""
    try:
        port = representors.representor(function, ports)
    except ResourceMissing as error:
        return {**_of(function, kind), "netdev": None, "why_absent": error.message}
    return _shown(socket_, function, kind, port.message)


def _shown(socket_: netlink.LinkSocket, function: VirtualFunction, kind: str, message: bytes) -> dict[str, Any]:
    ((name, link),) = links.decoded(socket_, [message]).items()
    # Its alias is whose it is to other programs: a representor is no VIF's by a mark.
    return {**link, "impeded": {}, **_of(function, kind), "master": link["master"], "netdev": name}


def _of(function: VirtualFunction, kind: str) -> dict[str, Any]:
    return {
        "name": function.address,
        "kind": kind,
        "number": function.number,
        "physical": function.physical,
        "driver": function.driver,
        "guests_driver": function.in_use,
        "vdpa": function.vdpa or None,
        "alias": "",
        "master": None,
    }


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
    with netlink.reading(repr(function.device), function.device or ""):
        payloads = socket_.get_by_index([function.ifindex], mask)
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
