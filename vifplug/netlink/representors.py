"""Finds the representor of a virtual function: the device that stands for the function's port of the switch in its NIC.

With switchdev all ports of the NIC's switch show its id (IFLA_PHYS_SWITCH_ID), and each a name of its own
(IFLA_PHYS_PORT_NAME): ``p0`` of an uplink, ``pf0vf3`` of a virtual function, ``pf0sf3`` of a sub-function, ``c1pf0vf3``
of a function that another host has behind a smart NIC (Documentation/networking/devlink/devlink-port.rst). Drivers of
kernels before 5.1 name a virtual function's port ``3`` or ``vf3``. The device's own name says nothing: udev and people
change it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vifplug import naming
from vifplug.errors import ResourceMissing
from vifplug.netlink import links
from vifplug.netlink import socket as netlink
from vifplug.netlink.sysfs import VirtualFunction

_PORT_NAME, _SWITCH_ID = 38, 36
"""IFLA_PHYS_PORT_NAME, IFLA_PHYS_SWITCH_ID."""
_NAME = re.compile(r"(?:pf(?P<pf>\d+))?vf(?P<number>\d+)|(?P<only>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPort:
    """A link, with what it shows of its place on a switch."""

    name: str
    ifindex: int
    switch: str = ""
    """The switch's id, in hexadecimal; "" for a link that is on none."""
    port: str = ""
    """Its phys_port_name; "" for none."""
    message: bytes = b""
    """The kernel's message of it."""

    @property
    def place(self) -> tuple[int | None, int] | None:
        """The number of the physical function, None where the name has none, and that of the virtual function; None for
        any other port."""
        match = _NAME.fullmatch(self.port)
        if match is None:
            return None
        physical = match["pf"]
        return None if physical is None else int(physical), int(match["number"] or match["only"])


def port_of(message: bytes) -> SwitchPort:
    """What a link's message shows."""
    index, name = netlink.index_and_name(message)
    _index, _flags, attrs = netlink.link_header(message)
    return SwitchPort(
        name=name,
        ifindex=index,
        switch=attrs.get(_SWITCH_ID, b"").hex(),
        port=naming.decoded(attrs.get(_PORT_NAME, b"").rstrip(b"\0")),
        message=message,
    )


def ports(socket_: netlink.LinkSocket) -> list[SwitchPort]:
    """Every link of this network namespace.

    :raises LinkError: when the kernel refuses the dump.
    """
    return [port_of(message) for message in links.messages(socket_)]


def representor(function: VirtualFunction, ports: Sequence[SwitchPort]) -> SwitchPort:
    """The representor of a virtual function, among links that include the device of its physical function.

    :raises ResourceMissing: there is none, and how to get it; or more than one port may be it.
    """
    which = f"the representor of virtual function {function.number} of physical function {function.physical}"
    advice = f"devlink dev eswitch set pci/{function.physical} mode switchdev"
    switch = _switch(function, ports, which, advice)
    candidates = _candidates(function, [port for port in ports if port.switch == switch])
    if not candidates:
        name = f"pf{_pci_function(function.physical)}vf{function.number}"
        raise ResourceMissing(
            f"no device in this network namespace is {which} (phys_switch_id {switch}, phys_port_name {name}); switch "
            f"the NIC to switchdev: {advice}",
            function.address,
        )
    if len(candidates) > 1:
        named = ", ".join(repr(port.name) for port in candidates)
        raise ResourceMissing(f"more than one device shows that it is {which}: {named}", function.address)
    return candidates[0]


def _switch(function: VirtualFunction, ports: Sequence[SwitchPort], which: str, advice: str) -> str:
    if not function.device:
        raise ResourceMissing(
            f"{which} is not here: that physical function has no network device in this network namespace",
            function.address,
        )
    # sysfs may be that of another network namespace, where the number is another link's.
    uplink = next((port for port in ports if port.ifindex == function.ifindex), None)
    if uplink is None or uplink.name != function.device:
        raise ResourceMissing(
            f"device {function.device!r} of physical function {function.physical} is not in this network namespace",
            function.address,
        )
    if not uplink.switch:
        raise ResourceMissing(
            f"{which} is not there: its device {function.device!r} has no phys_switch_id, for the NIC is not in "
            f"switchdev mode; switch that on: {advice}",
            function.address,
        )
    return uplink.switch


def _candidates(function: VirtualFunction, ports: Sequence[SwitchPort]) -> list[SwitchPort]:
    """Ports of one switch that may be the function's. Two physical functions may be on one switch (LP 1704485)."""
    numbered = [port for port in ports if port.place is not None and port.place[0] is not None]
    plain = [port for port in ports if port.place == (None, function.number)]
    if not numbered:
        return _preferred(plain, [port for port in plain if port.name in function.siblings])
    same_number = [port for port in numbered if port.place is not None and port.place[1] == function.number]
    by_name = [port for port in same_number if port.place == (_pci_function(function.physical), function.number)]
    if not any(port.name in function.siblings for port in numbered):
        return by_name
    # The kernel itself says which ports are the physical function's; a driver may count these functions in another way.
    own = [port for port in same_number if port.name in function.siblings]
    return _preferred(own, [port for port in own if port in by_name])


def _preferred(ports: list[SwitchPort], better: list[SwitchPort]) -> list[SwitchPort]:
    return better if len(ports) > 1 and better else ports


def _pci_function(address: str) -> int:
    return int(address.rpartition(".")[2])


def require(socket_: netlink.LinkSocket, function: VirtualFunction, name: str) -> bytes:
    """The kernel's message of a link that is the representor of a virtual function. It takes two messages, however many
    links there are.

    :raises ResourceMissing: it is not.
    :raises LinkError: when the kernel's answer is neither a link nor "no such device".
    """
    wanted = [name, *([function.device] if function.device else [])]
    with netlink.reading(repr(name), name):
        messages = socket_.get([link for link in wanted if naming.may_be_a_link(link)])
    port = representor(function, [port_of(message) for message in messages.values()])
    if port.name != name:
        raise ResourceMissing(f"device {name!r} is not the representor of PCI device {function.address}", name)
    return port.message
