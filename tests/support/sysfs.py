"""Trees of sysfs with physical and virtual PCI functions, in the layout of NIC drivers."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PHYSICAL, VIRTUAL = "0000:3b:00.0", ("0000:3b:00.2", "0000:3b:00.3", "0000:3b:00.4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A physical function and its virtual ones."""

    driver: str
    vf_driver: str
    devices: Mapping[str, str | None] = field(default_factory=lambda: {"eth4": None})
    """Network devices of the physical function, with their phys_port_name; None where that cannot be read."""
    virtual: Sequence[str] = VIRTUAL


NICS: Mapping[str, Nic] = {
    "igb": Nic(driver="igb", vf_driver="igbvf"),
    "ice": Nic(driver="ice", vf_driver="iavf"),
    "ice-switchdev": Nic(
        driver="ice", vf_driver="iavf", devices={"eth0": "pf0vf0", "eth1": "pf0vf1", "eth4": "p0", "eth5": "pf0vf2"}
    ),
    "mlx5": Nic(driver="mlx5_core", vf_driver="mlx5_core", devices={"eth4": "p0"}),
    "mlx5-switchdev": Nic(
        driver="mlx5_core",
        vf_driver="mlx5_core",
        devices={"enp59s0f0_0": "pf0vf0", "enp59s0f0_1": "pf0vf1", "eth4": "p0", "enp59s0f0_9": "c1pf0sf9"},
    ),
    "mlx5-before-5.8": Nic(driver="mlx5_core", vf_driver="mlx5_core", devices={"eth2": "0", "eth3": "1", "eth4": None}),
    # Its functions are on a separate bus; in the booted host the tree is mounted over one with PCI's links.
    "netdevsim": Nic(driver="netdevsim", vf_driver="", devices={"eth4": "p0", "eni0npf0vf0": "pf0vf0"}),
}


def lay_out(root: pathlib.Path, nic: Nic, *, physical: str = PHYSICAL, ifindex: int = 7) -> None:
    """Add a NIC to a tree."""
    devices = root / "bus" / "pci" / "devices"
    own = devices / physical
    own.mkdir(parents=True)
    for number, (name, port) in enumerate(nic.devices.items()):
        directory = own / "net" / name
        directory.mkdir(parents=True)
        (directory / "ifindex").write_text(f"{ifindex if name == 'eth4' else 100 + number}\n")
        if port is None:
            (directory / "phys_port_name").mkdir()  # as unreadable as a file that returns EOPNOTSUPP
        else:
            (directory / "phys_port_name").write_text(f"{port}\n")
    for number, address in enumerate(nic.virtual):
        function = devices / address
        function.mkdir(parents=True)
        (function / "physfn").symlink_to(f"../{physical}")
        (own / f"virtfn{number}").symlink_to(f"../{address}")
        (function / "enable").write_text("1\n" if nic.vf_driver else "0\n")
        if nic.vf_driver:
            (function / "driver").symlink_to(f"../../../drivers/{nic.vf_driver}")
            (function / "net" / f"eth4v{number}").mkdir(parents=True)


def give_to_guests(root: pathlib.Path, address: str, *, is_open: bool) -> None:
    """Bind a virtual function to vfio-pci, with a VMM that has it open."""
    function = root / "bus" / "pci" / "devices" / address
    (function / "driver").unlink(missing_ok=True)
    (function / "driver").symlink_to("../../../drivers/vfio-pci")
    (function / "enable").write_text(f"{int(is_open)}\n")


def give_vdpa(root: pathlib.Path, address: str, vhost: str, *, place: str = "child") -> pathlib.Path:
    """Make a vDPA device named blue, with a device of its driver's: as a child of a function, below a child of it,
    elsewhere, or as a directory that is none."""
    function = root / "bus" / "pci" / "devices" / address
    device = {"below": function / "mlx5_core.vnet.1", "another's": root / "devices" / "vdpasim"}.get(place, function)
    device /= "blue"
    (device / vhost).mkdir(parents=True)
    if place == "no vDPA device":
        return device
    (device / "subsystem").symlink_to("../../../../bus/vdpa")
    registered = root / "bus" / "vdpa" / "devices"
    registered.mkdir(parents=True)
    (registered / "blue").symlink_to(device)
    return device
