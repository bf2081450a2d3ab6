"""QEMU's arguments for a VIF: the tap it opens, its vhost-user socket or its vDPA device, and the card the guest sees;
or the PCI function that the guest gets. Pure.

QEMU with ``script=no`` only opens a tap. A tap made by vifplug is up and on its bridge; a tap that the VMM has to
create must be created first (``before``), because QEMU's own ways do not fit: ``-netdev bridge`` and the bridge helper
use a name chosen by the kernel, which neither Neutron's rules nor vifplug's record know.
"""

from __future__ import annotations

from vifplug import naming
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
from vifplug.model.limits import VIRTIO
from vifplug.model.vif import Vif

_DEVICES = {
    VIRTIO: "virtio-net-pci",
    "virtio-transitional": "virtio-net-pci-transitional",
    "virtio-non-transitional": "virtio-net-pci-non-transitional",
}
_DESCRIPTOR = 3
_MACVTAP = "macvtap"
"""Prefix of a macvtap's name: Neutron's macvtap agent identifies its devices by it."""
_MODES = {"passthrough": "passthru"}
"""ip's names, if they are not libvirt's."""
_OFFLOADS = (
    *("csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo"),
    *("guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"),
)
"""The properties of every QEMU since 2.9; without csum a guest uses none of the later ones."""


def arguments(vif: Vif, nic: Nic | None = None) -> list[str]:
    """``-netdev`` and ``-device``, each with its value; before them ``-chardev`` for a vhost-user socket.

    QEMU takes a macvtap by a descriptor that it is started with: number 3.

    :raises InputError: for a card that the tap does not allow, and for a port that only libvirt makes.
    """
    nic = nic or Nic()
    attachment = attachment_of(vif, nic)
    if isinstance(attachment, FunctionAttachment):
        attachment.require_fit(nic)
        return ["-device", _joined(["vfio-pci", f"host={attachment.function}", f"id=nic-{attachment.vif_id}"])]
    if isinstance(attachment, MacvtapAttachment):
        netdev = _joined(["tap", f"id={_netdev_id(attachment)}", f"fd={_DESCRIPTOR}"])
        return ["-netdev", netdev, "-device", _joined(_device(attachment, nic, _one_queue(attachment, nic)))]
    if isinstance(attachment, Attachment) and attachment.port_bridge is not None:
        raise InputError(
            f"OVS port {attachment.tap!r} of VIF {vif.id} is made by libvirt (create_port false), and QEMU cannot make "
            "it; use libvirt, or plug the VIF with create_port true",
            vif.id,
        )
    queues = attachment.queues(nic)
    if isinstance(attachment, VdpaAttachment):
        device = _device(attachment, nic, queues)
        return ["-netdev", _joined(_vhost_vdpa(attachment, queues)), "-device", _joined(device)]
    if isinstance(attachment, SocketAttachment):
        ends = ["-chardev", _joined(_chardev(attachment)), "-netdev", _joined(_vhost_user(attachment, queues))]
        return [*ends, "-device", _joined(_device(attachment, nic, queues))]
    return ["-netdev", _joined(_netdev(attachment, nic, queues)), "-device", _joined(_device(attachment, nic, queues))]


def before(vif: Vif, nic: Nic | None = None) -> list[list[str]]:
    """The commands that create the VMM's tap, up and on its bridge; none for a tap that vifplug creates, or a socket.

    The tap gets no IPv6 address: the host would send to the guest's network with it.

    :raises InputError: as ``arguments``.
    """
    nic = nic or Nic()
    attachment = attachment_of(vif, nic)
    if isinstance(attachment, FunctionAttachment | VdpaAttachment):
        return []
    if isinstance(attachment, MacvtapAttachment):
        return _macvtap(attachment)
    queues = attachment.queues(nic)
    if isinstance(attachment, SocketAttachment) or attachment.is_made:
        return []
    make = ["ip", "tuntap", "add", "dev", attachment.tap, "mode", "tap", *(["multi_queue"] if queues > 1 else [])]
    mtu = ["mtu", str(attachment.mtu)] if attachment.mtu is not None else []
    master = ["master", attachment.bridge] if attachment.bridge is not None else []
    return [make, ["ip", "link", "set", "dev", attachment.tap, "addrgenmode", "none", *mtu, *master, "up"]]


def _macvtap(attachment: MacvtapAttachment) -> list[list[str]]:
    """The commands that make it. In mode passthrough its creation takes the MAC of the device below
    (macvlan_common_newlink); one that is set later becomes that device's, too."""
    name, passes = naming.device(_MACVTAP, attachment.vif_id), attachment.mode in _MODES
    made = ["link", attachment.source, "name", name, "address", attachment.address, "type", "macvtap"]
    make = ["ip", "link", "add", *made, "mode", _MODES.get(attachment.mode, attachment.mode)]
    address = ["address", attachment.address] if passes else []
    set_up = ["ip", "link", "set", "dev", name, *address, "addrgenmode", "none", "up"]
    # No other program needs a function's device, so it may be down.
    below = ["ip", "link", "set", "dev", attachment.source, "addrgenmode", "none", "up"]
    return [*([below] if attachment.is_of_function else []), make, set_up]


def _netdev(attachment: Attachment, nic: Nic, queues: int) -> list[str]:
    options = ["tap", f"id={_netdev_id(attachment)}", f"ifname={attachment.tap}", "script=no", "downscript=no"]
    if queues > 1:
        options.append(f"queues={queues}")
    if attachment.loses_checksums(nic) and not nic.is_virtio:
        options.append("vnet_hdr=off")  # then QEMU itself adds the card's checksums
    return options


def _chardev(attachment: SocketAttachment) -> list[str]:
    # If Open vSwitch listens, the socket disappears with ovs-vswitchd, and reappears with it: connect again, each
    # second.
    way = "server=on" if attachment.is_server else "reconnect=1"
    return ["socket", f"id={_chardev_id(attachment)}", f"path={attachment.path}", way]


def _vhost_user(attachment: SocketAttachment, queues: int) -> list[str]:
    options = ["vhost-user", f"id={_netdev_id(attachment)}", f"chardev={_chardev_id(attachment)}"]
    return [*options, f"queues={queues}"] if queues > 1 else options


def _vhost_vdpa(attachment: VdpaAttachment, queues: int) -> list[str]:
    options = ["vhost-vdpa", f"id={_netdev_id(attachment)}", f"vhostdev={attachment.path}"]
    return [*options, f"queues={queues}"] if queues > 1 else options


def _one_queue(attachment: MacvtapAttachment, nic: Nic) -> int:
    if (nic.queues or 1) > 1:
        raise InputError(
            f"the macvtap of VIF {attachment.vif_id} has a single queue here, but {nic.queues} are requested; libvirt "
            "opens it with several",
            attachment.vif_id,
        )
    return 1


_WithNetdev = Attachment | SocketAttachment | VdpaAttachment | MacvtapAttachment


def _device(attachment: _WithNetdev, nic: Nic, queues: int) -> list[str]:
    name = _DEVICES.get(nic.model, nic.model)
    options = [name, f"netdev={_netdev_id(attachment)}", f"id=nic-{attachment.vif_id}", f"mac={attachment.address}"]
    if not nic.is_virtio:
        return options
    if queues > 1:
        options.append("mq=on")
        if "-pci" in name:
            options.append(f"vectors={2 * queues + 2}")  # one per queue, one for control, one for configuration
    # A vDPA device tells the guest its MTU itself.
    if not isinstance(attachment, VdpaAttachment) and attachment.mtu is not None:
        options.append(f"host_mtu={attachment.mtu}")
    # With a vhost-user socket Open vSwitch itself negotiates the offloads with the guest.
    if isinstance(attachment, Attachment) and attachment.loses_checksums(nic):
        options += [f"{name}=off" for name in _OFFLOADS]
    return options


def _netdev_id(attachment: _WithNetdev) -> str:
    return f"vif-{attachment.vif_id}"


def _chardev_id(attachment: SocketAttachment) -> str:
    return f"vhost-{attachment.vif_id}"


def _joined(options: list[str]) -> str:
    # A comma in a value is doubled (qemu-options: "escaped by doubling").
    return ",".join(option.replace(",", ",,") for option in options)
