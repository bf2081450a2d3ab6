"""Libvirt's ``<interface>`` element of a VIF. Pure.

The rules are those Nova came to: a tap that libvirt is to make joins its Linux bridge by type ``bridge``; a tap that is
there, or that is the port itself, is type ``ethernet``, the one that is there with ``managed='no'`` (LP 2033681). Never
``bridge`` with a virtualport of type openvswitch: libvirt would make anew, and later delete, a port that is ours
(LP 1728600, LP 1808171).
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from vifplug.errors import InputError
from vifplug.guest.attachment import Seat, seat_of
from vifplug.guest.nic import Nic
from vifplug.model.vif import Vif

_HOST_OFFLOADS = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")
_GUEST_OFFLOADS = ("csum", "tso4", "tso6", "ecn", "ufo")
_GENERATED = "vnet"
"""Libvirt forgets a target of this prefix, and makes up another name (VIR_NET_GENERATED_VNET_PREFIX)."""
_LEAVES_CHECKSUMS = ("e1000e", "igb", "vmxnet3")
"""Libvirt opens their taps as it does virtio's (virDomainInterfaceIsVnetCompatModel), and has nothing to turn off."""
_NO_XML = "\ufffe\uffff"


def interface(vif: Vif, nic: Nic | None = None) -> Element:
    """The element.

    :raises InputError: when libvirt could not take it so.
    """
    nic = nic or Nic()
    seat = seat_of(vif)
    _check_name(seat)
    element = Element("interface", type="ethernet" if seat.bridge is None else "bridge")
    SubElement(element, "mac", address=seat.address)
    if seat.bridge is not None:
        SubElement(element, "source", bridge=seat.bridge)
    SubElement(element, "target", {"dev": seat.tap} | ({"managed": "no"} if seat.is_made else {}))
    SubElement(element, "model", type=nic.model)
    _add_driver(element, seat, nic)
    if seat.mtu is not None:
        SubElement(element, "mtu", size=str(seat.mtu))
    return element


def text(vif: Vif, nic: Nic | None = None) -> str:
    """The element as text, on several lines.

    :raises InputError: as ``interface``.
    """
    element = interface(vif, nic)
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode").replace(" />", "/>")


def _add_driver(element: Element, seat: Seat, nic: Nic) -> None:
    """What only a virtio card has: queues, and offloads to turn off. Most of the others have no offloads."""
    queues = seat.queues(nic)
    loses = seat.loses_checksums(nic)
    if loses and nic.model in _LEAVES_CHECKSUMS:
        raise InputError(
            f"a card of model {nic.model!r} leaves checksums to the host, and tap {seat.tap!r} of VIF {seat.vif_id} is "
            "a port of a userspace datapath, which loses such frames; give virtio, or e1000",
            seat.vif_id,
        )
    if not nic.is_virtio or (queues == 1 and not loses):
        return
    driver = SubElement(element, "driver", {"queues": str(queues)} if queues > 1 else {})
    if loses:
        SubElement(driver, "host", dict.fromkeys(_HOST_OFFLOADS, "off"))
        SubElement(driver, "guest", dict.fromkeys(_GUEST_OFFLOADS, "off"))


def _check_name(seat: Seat) -> None:
    for name in (seat.tap, seat.bridge or ""):
        if any(char in _NO_XML for char in name):
            raise InputError(
                f"the device name {name!r} of VIF {seat.vif_id} is none that libvirt takes as it is: XML has no such "
                "character; give another in names",
                seat.vif_id,
            )
    if not seat.is_made and seat.tap.startswith(_GENERATED):
        raise InputError(
            f"libvirt would call tap {seat.tap!r} of VIF {seat.vif_id} otherwise, as it does with names that begin "
            f"with {_GENERATED!r}; give another in names.tap, or let vifplug make the tap",
            seat.vif_id,
        )
