"""Reads from sysfs what the kernel shows of PCI functions: which physical function a virtual one is part of, its number
there, its driver, its network devices and its vDPA device.

Network devices are those of the network namespace that sysfs was mounted in.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

from vifplug import naming
from vifplug.errors import ResourceMissing

ROOT = "/sys"
"""Where sysfs is mounted. Tests have trees of their own."""
_DEVICES = "bus/pci/devices"
_PHYSICAL = "physfn"
_VIRTUAL = re.compile(r"virtfn(\d+)")
_UPLINK, _REPRESENTOR = re.compile(r"p\d+(s\d+)?"), re.compile(r"(c\d+)?pf\d+([vs]f\d+)?|(vf)?\d+")
"""What phys_port_name shows of ports of a switch in the NIC (Documentation/networking/switchdev.rst). Old mlx5 drivers
name a representor by its number alone."""
_VDPA_BUS, _VHOST_VDPA = "vdpa", re.compile(r"vhost-vdpa-\d+")
_GUESTS_DRIVERS = frozenset({"vfio-pci", "vfio_pci", "mlx5-vfio-pci", "mlx5_vfio_pci", "uio_pci_generic", "igb_uio"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualFunction:
    """A virtual function of a NIC."""

    address: str
    number: int
    """Its number at its physical function."""
    physical: str
    """The PCI address of the physical function."""
    device: str
    """The network device of the physical function; "" for none, where that is not asked for."""
    ifindex: int
    """The ifindex of that device."""
    driver: str
    """The function's own driver; "" for none."""
    devices: tuple[str, ...]
    """The function's own network devices."""
    siblings: tuple[str, ...] = ()
    """All network devices of the physical function: kernels since 5.8 list its representors there (LP 1892132)."""
    is_enabled: bool
    """Whether a driver has it enabled (pci_enable_device): vfio-pci does while a VMM has it open."""
    vdpa: str = ""
    """The character device of its vDPA device, as in ``/dev/vhost-vdpa-0``; "" for none."""

    @property
    def in_use(self) -> str:
        """The driver by which a guest's VMM has it open; "" where none has."""
        return self.driver if self.is_enabled and self.driver in _GUESTS_DRIVERS else ""


def virtual_function(address: str) -> VirtualFunction:
    """A virtual function by its PCI address, of a physical function that has a network device here.

    :raises ResourceMissing: there is none, or its physical function has no network device here; the message says which.
    """
    virtual = function(address)
    if not virtual.device:
        raise ResourceMissing(
            f"the physical function {virtual.physical} of PCI device {address} has no network device in this network "
            "namespace",
            address,
        )
    return virtual


def function(address: str) -> VirtualFunction:
    """A virtual function by its PCI address, whether the kernel has a network device for its physical function or not:
    DPDK may have taken that.

    :raises ResourceMissing: there is none; the message says why.
    """
    path = os.path.join(ROOT, _DEVICES, address)
    if not naming.is_pci_address(address) or not os.path.isdir(path):
        raise ResourceMissing(f"there is no PCI device {address}", address)
    physical = physical_function(address)
    if not physical:
        raise ResourceMissing(f"PCI device {address} is not a virtual function (it has no physfn)", address)
    devices = os.path.join(path, _PHYSICAL, "net")
    device = _uplink(devices)
    number = _number(os.path.join(path, _PHYSICAL), address)
    if number is None:
        raise ResourceMissing(f"the physical function {physical} does not list PCI device {address} (virtfn*)", address)
    return VirtualFunction(
        address=address,
        number=number,
        physical=physical,
        device=device,
        ifindex=int(_text(os.path.join(devices, device, "ifindex")) or 0) if device else 0,
        driver=_target(os.path.join(path, "driver")),
        devices=tuple(_names(os.path.join(path, "net"))),
        siblings=tuple(_names(devices)),
        is_enabled=_text(os.path.join(path, "enable")) not in ("", "0"),
        vdpa=_vdpa(path),
    )


def physical_function(address: str) -> str:
    """The PCI address of a virtual function's physical one; "" for any other function, and for one that is not there.

    :param address: a PCI address in its normal form.
    """
    return _target(os.path.join(ROOT, _DEVICES, address, _PHYSICAL)) if naming.is_pci_address(address) else ""


def address_of(physical: str, number: int) -> str:
    """The PCI address of a virtual function by its number; "" where the physical function has none of that number."""
    if not naming.is_pci_address(physical):
        return ""
    return _target(os.path.join(ROOT, _DEVICES, physical, f"virtfn{number}"))


def _vdpa(path: str) -> str:
    """The vhost-vdpa device of a function. ``vdpa dev add`` gives the vDPA device between them any name."""
    beside = os.path.join(ROOT, "bus", _VDPA_BUS, "devices")
    places = [os.path.join(path, name) for name in _names(path)]
    places = [place for place in places if _target(os.path.join(place, "subsystem")) == _VDPA_BUS]
    within = f"{os.path.realpath(path)}/"
    registered = [os.path.realpath(os.path.join(beside, name)) for name in _names(beside)]
    places += [place for place in registered if place.startswith(within)]
    vhosts = (name for place in places for name in _names(place) if _VHOST_VDPA.fullmatch(name))
    return next((f"/dev/{name}" for name in vhosts), "")


def _number(physical: str, address: str) -> int | None:
    for name in _names(physical):
        match = _VIRTUAL.fullmatch(name)
        if match and _target(os.path.join(physical, name)) == address:
            return int(match.group(1))
    return None


def _uplink(directory: str) -> str:
    """The network device of a physical function itself; "" for none.

    With switchdev, kernels since 5.8 list the representors there as well (LP 1892132).
    """
    ports = {name: _text(os.path.join(directory, name, "phys_port_name")) for name in _names(directory)}
    uplinks = [name for name, port in ports.items() if _UPLINK.fullmatch(port)]
    others = [name for name, port in ports.items() if not _REPRESENTOR.fullmatch(port)]
    return next(iter(uplinks or others), "")


def _names(directory: str) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir(directory))
    return []


def _target(link: str) -> str:
    """The last part of where a symbolic link leads; "" for none."""
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(link))
    return ""


def _text(path: str) -> str:
    # phys_port_name of a device without one is there and cannot be read (EOPNOTSUPP).
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="ascii") as file:
        return file.read().strip()
    return ""
