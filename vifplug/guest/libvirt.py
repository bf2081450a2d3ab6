"""Libvirt's element of a VIF: an ``<interface>``, or the ``<hostdev>`` of a whole NIC. Pure.

The rules are Nova's: a tap that libvirt creates joins its Linux bridge by type ``bridge``; an existing tap, and a tap
that is itself the port, is type ``ethernet``, the existing one with ``managed='no'`` (LP 2033681). ``bridge`` with a
virtualport of type openvswitch is only for a port that libvirt makes: it would recreate, and later delete, our port (LP
1728600, LP 1808171). A macvtap is type ``direct``, and libvirt makes it. A virtual function is type ``hostdev``, its
vDPA device ``vdpa``. A vhost-user socket is type ``vhostuser``; its domain also needs shared memory
(``<memoryBacking>``).
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from vifplug.errors import InputError
from vifplug.guest.attachment import (
    Attachment,
    FunctionAttachment,
    MacvtapAttachment,
    SocketAttachment,
    VdpaAttachment,
    attachment_of,
)
from vifplug.guest.nic import Nic
from vifplug.model.vif import Vif

_HOST_OFFLOADS = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")
_GUEST_OFFLOADS = ("csum", "tso4", "tso6", "ecn", "ufo")
_GENERATED = "vnet"
"""Libvirt replaces a target name with this prefix by a generated one (VIR_NET_GENERATED_VNET_PREFIX)."""
_LEAVES_CHECKSUMS = ("e1000e", "igb", "vmxnet3")
"""Libvirt opens their taps as virtio's (virDomainInterfaceIsVnetCompatModel), without a way to turn offloads off."""
_NO_XML = "\ufffe\uffff"


def interface(vif: Vif, nic: Nic | None = None) -> Element:
    """The element.

    :raises InputError: for a card or a name that libvirt cannot use.
    """
    nic = nic or Nic()
    attachment = attachment_of(vif, nic)
    if isinstance(attachment, FunctionAttachment):
        return _function(attachment, nic)
    if isinstance(attachment, VdpaAttachment):
        return _vdpa(attachment, nic)
    if isinstance(attachment, SocketAttachment):
        return _vhost_user(attachment, nic)
    if isinstance(attachment, MacvtapAttachment):
        return _macvtap(attachment, nic)
    _check_name(attachment)
    bridge = attachment.bridge or attachment.port_bridge
    element = Element("interface", type="ethernet" if bridge is None else "bridge")
    SubElement(element, "mac", address=attachment.address)
    if bridge is not None:
        SubElement(element, "source", bridge=bridge)
    if attachment.port_bridge is not None:
        port = SubElement(element, "virtualport", type="openvswitch")
        SubElement(port, "parameters", interfaceid=attachment.vif_id)
    SubElement(element, "target", {"dev": attachment.tap} | ({"managed": "no"} if attachment.is_made else {}))
    SubElement(element, "model", type=nic.model)
    _add_driver(element, attachment, nic)
    if attachment.mtu is not None:
        SubElement(element, "mtu", size=str(attachment.mtu))
    return element


def _function(attachment: FunctionAttachment, nic: Nic) -> Element:
    """A virtual function is an interface, whose MAC libvirt sets; a whole NIC a plain device (nova/virt/libvirt)."""
    attachment.require_fit(nic)
    domain, bus, rest = attachment.function.split(":")
    slot, function = rest.split(".")
    address = {"domain": f"0x{domain}", "bus": f"0x{bus}", "slot": f"0x{slot}", "function": f"0x{function}"}
    if attachment.is_whole:
        whole = Element("hostdev", mode="subsystem", type="pci", managed="yes")
        SubElement(SubElement(whole, "source"), "address", address)
        return whole
    element = Element("interface", type="hostdev", managed="yes")
    SubElement(element, "mac", address=attachment.address)
    SubElement(SubElement(element, "source"), "address", {"type": "pci"} | address)
    _add_vlan(element, attachment.vlan)
    return element


def _add_vlan(element: Element, vlan: int | None) -> None:
    """Libvirt gives a virtual function its MAC and VLAN again: the same. Without a tag it would set the VLAN to 0
    (virNetDevSetNetConfig)."""
    if vlan is not None:
        SubElement(SubElement(element, "vlan"), "tag", id=str(vlan))


def _vdpa(attachment: VdpaAttachment, nic: Nic) -> Element:
    queues = attachment.queues(nic)
    element = Element("interface", type="vdpa")
    SubElement(element, "mac", address=attachment.address)
    SubElement(element, "source", dev=attachment.path)
    SubElement(element, "model", type=nic.model)
    if queues > 1:
        SubElement(element, "driver", queues=str(queues))
    return element


def _vhost_user(attachment: SocketAttachment, nic: Nic) -> Element:
    queues = attachment.queues(nic)
    element = Element("interface", type="vhostuser")
    SubElement(element, "mac", address=attachment.address)
    mode = "server" if attachment.is_server else "client"
    source = SubElement(element, "source", {"type": "unix", "path": attachment.path, "mode": mode})
    if not attachment.is_server:  # ovs-vswitchd deletes the socket when it ends, and recreates it when it starts
        SubElement(source, "reconnect", enabled="yes", timeout="1")
    if attachment.port:
        SubElement(element, "target", dev=attachment.port)
    SubElement(element, "model", type=nic.model)
    if queues > 1:
        SubElement(element, "driver", queues=str(queues))
    if attachment.mtu is not None:
        SubElement(element, "mtu", size=str(attachment.mtu))
    return element


def _macvtap(attachment: MacvtapAttachment, nic: Nic) -> Element:
    element = Element("interface", type="direct")
    SubElement(element, "mac", address=attachment.address)
    _check_xml(attachment.source, attachment.vif_id)
    SubElement(element, "source", dev=attachment.source, mode=attachment.mode)
    _add_vlan(element, attachment.vlan)
    SubElement(element, "model", type=nic.model)
    if nic.is_virtio and (nic.queues or 1) > 1:
        SubElement(element, "driver", queues=str(nic.queues))
    return element


def text(vif: Vif, nic: Nic | None = None) -> str:
    """The element as indented text.

    :raises InputError: as ``interface``.
    """
    element = interface(vif, nic)
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode").replace(" />", "/>")


def _add_driver(element: Element, attachment: Attachment, nic: Nic) -> None:
    """Add queues and disabled offloads, which only a virtio card has. Most other cards have no offloads."""
    queues = attachment.queues(nic)
    loses = attachment.loses_checksums(nic)
    if loses and nic.model in _LEAVES_CHECKSUMS:
        raise InputError(
            f"a card of model {nic.model!r} leaves checksums to the host, and tap {attachment.tap!r} of VIF "
            f"{attachment.vif_id} is a port of a userspace datapath, which loses such frames; use virtio, or e1000",
            attachment.vif_id,
        )
    if not nic.is_virtio or (queues == 1 and not loses):
        return
    driver = SubElement(element, "driver", {"queues": str(queues)} if queues > 1 else {})
    if loses:
        SubElement(driver, "host", dict.fromkeys(_HOST_OFFLOADS, "off"))
        SubElement(driver, "guest", dict.fromkeys(_GUEST_OFFLOADS, "off"))


def _check_name(attachment: Attachment) -> None:
    for name in (attachment.tap, attachment.bridge or "", attachment.port_bridge or ""):
        _check_xml(name, attachment.vif_id)
    if not attachment.is_made and attachment.tap.startswith(_GENERATED):
        raise InputError(
            f"libvirt would rename tap {attachment.tap!r} of VIF {attachment.vif_id}, as all names that begin with "
            f"{_GENERATED!r}; set another name in names.tap, or let vifplug create the tap",
            attachment.vif_id,
        )


def _check_xml(name: str, vif_id: str) -> None:
    if any(char in _NO_XML for char in name):
        raise InputError(
            f"the device name {name!r} of VIF {vif_id} has a character that XML does not allow, and so libvirt "
            "neither; set another name in names",
            vif_id,
        )
