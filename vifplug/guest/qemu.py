"""QEMU's arguments for a VIF: the tap it opens and the card the guest sees. Pure.

QEMU with ``script=no`` opens a tap and does no more. One that vifplug made is up and where it belongs; one that is the
VMM's to make must be made first (``before``), because QEMU's own ways to do it lead elsewhere: ``-netdev bridge`` and
the bridge helper take a name of the kernel's choosing, which neither Neutron's rules nor vifplug's record are about.
"""

from __future__ import annotations

from vifplug.guest.attachment import Seat, seat_of
from vifplug.guest.nic import Nic
from vifplug.model.limits import VIRTIO
from vifplug.model.vif import Vif

_DEVICES = {
    VIRTIO: "virtio-net-pci",
    "virtio-transitional": "virtio-net-pci-transitional",
    "virtio-non-transitional": "virtio-net-pci-non-transitional",
}
_OFFLOADS = (
    *("csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo"),
    *("guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"),
)
"""The properties that every QEMU since 2.9 has; without csum a guest uses none that came later."""


def arguments(vif: Vif, nic: Nic | None = None) -> list[str]:
    """``-netdev`` and ``-device``, each with its value.

    :raises InputError: when the tap cannot be opened so.
    """
    nic = nic or Nic()
    seat = seat_of(vif)
    queues = seat.queues(nic)
    return ["-netdev", _joined(_netdev(seat, nic, queues)), "-device", _joined(_device(seat, nic, queues))]


def before(vif: Vif, nic: Nic | None = None) -> list[list[str]]:
    """The commands that make the VMM's tap, up and on its bridge; none for a tap that vifplug makes.

    Without an IPv6 address of its own: the host would speak to the guest's network in its own name.

    :raises InputError: as ``arguments``.
    """
    seat = seat_of(vif)
    queues = seat.queues(nic or Nic())
    if seat.is_made:
        return []
    make = ["ip", "tuntap", "add", "dev", seat.tap, "mode", "tap", *(["multi_queue"] if queues > 1 else [])]
    mtu = ["mtu", str(seat.mtu)] if seat.mtu is not None else []
    master = ["master", seat.bridge] if seat.bridge is not None else []
    return [make, ["ip", "link", "set", "dev", seat.tap, "addrgenmode", "none", *mtu, *master, "up"]]


def _netdev(seat: Seat, nic: Nic, queues: int) -> list[str]:
    options = ["tap", f"id={_netdev_id(seat)}", f"ifname={seat.tap}", "script=no", "downscript=no"]
    if queues > 1:
        options.append(f"queues={queues}")
    if seat.loses_checksums(nic) and not nic.is_virtio:
        options.append("vnet_hdr=off")  # QEMU itself then fills in what the card leaves to it
    return options


def _device(seat: Seat, nic: Nic, queues: int) -> list[str]:
    name = _DEVICES.get(nic.model, nic.model)
    options = [name, f"netdev={_netdev_id(seat)}", f"id=nic-{seat.vif_id}", f"mac={seat.address}"]
    if not nic.is_virtio:
        return options
    if queues > 1:
        options.append("mq=on")
        if "-pci" in name:
            options.append(f"vectors={2 * queues + 2}")  # one a queue, for control, and for configuration
    if seat.mtu is not None:
        options.append(f"host_mtu={seat.mtu}")
    if seat.loses_checksums(nic):
        options += [f"{name}=off" for name in _OFFLOADS]
    return options


def _netdev_id(seat: Seat) -> str:
    return f"vif-{seat.vif_id}"


def _joined(options: list[str]) -> str:
    # A comma in a value is written twice (qemu-options: "escaped by doubling").
    return ",".join(option.replace(",", ",,") for option in options)
