"""How a guest's card is attached: its tap, who creates the tap, and its bridge; its vhost-user socket; a PCI function
or its vDPA device. Pure.

It is derived from the driver's resources, so third-party drivers need no extra code.
"""

from __future__ import annotations

from dataclasses import dataclass

from vifplug.drivers.contract import Driver, Options
from vifplug.drivers.guest_end import FunctionMacvtap, HostDevice, Macvtap, Tap, VhostUser
from vifplug.drivers.registry import driver_for, end_by
from vifplug.errors import InputError
from vifplug.guest.nic import Nic
from vifplug.model.vif import Vif
from vifplug.resources import kinds

_QUEUES_OF_MANY = 2
"""A multi-queue tap cannot be opened with a single queue (tun_set_iff: EINVAL)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """How a guest's card is attached."""

    vif_id: str
    address: str
    """The guest's MAC address."""
    mtu: int | None
    tap: str
    is_made: bool
    """Whether vifplug makes the tap; else the VMM does."""
    bridge: str | None
    """The Linux bridge that the VMM's tap must join."""
    is_port: bool
    """Whether the tap is itself a port of the OVS bridge."""
    is_multiqueue: bool
    port_bridge: str | None = None
    """The OVS bridge on which the VMM makes the port, with the tap."""

    def queues(self, nic: Nic) -> int:
        """The number of queues with which the tap is opened.

        :raises InputError: when the tap does not allow it, or the card has only one.
        """
        many = self.is_multiqueue and (self.is_made or nic.is_virtio)
        queues = nic.queues or (_QUEUES_OF_MANY if many else 1)
        if self.is_made and many and (queues == 1 or not nic.is_virtio):
            raise InputError(
                f"tap {self.tap!r} of VIF {self.vif_id} is multi-queue, and needs a virtio card with 2 or more "
                "queues; use such a card, or plug the VIF with multiqueue false",
                self.vif_id,
            )
        if self.is_made and not many and queues > 1:
            raise InputError(
                f"tap {self.tap!r} of VIF {self.vif_id} has a single queue, but {queues} are requested; plug the VIF "
                "with multiqueue true",
                self.vif_id,
            )
        if queues > 1 and not nic.is_virtio:
            raise InputError(f"a card of model {nic.model!r} has one queue; {queues} need virtio", self.vif_id)
        return queues

    def loses_checksums(self, nic: Nic) -> bool:
        """Whether frames without a checksum are lost: OVS's userspace datapath does not add checksums."""
        return self.is_port and nic.is_userspace


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketAttachment:
    """How a guest's card is attached by a vhost-user socket."""

    vif_id: str
    address: str
    """The guest's MAC address."""
    mtu: int | None
    path: str
    is_server: bool
    """Whether the VMM listens on the socket; else Open vSwitch does."""
    port: str
    """The OVS port; "" for a socket of another switch."""
    is_multiqueue: bool

    def queues(self, nic: Nic) -> int:
        """The number of the card's queues. Open vSwitch takes as many as the guest has.

        :raises InputError: for a card that is not virtio.
        """
        _require_virtio(nic, self.vif_id, "has a vhost-user socket")
        return nic.queues or (_QUEUES_OF_MANY if self.is_multiqueue else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionAttachment:
    """A PCI function that is given to a guest."""

    vif_id: str
    address: str
    """The guest's MAC address."""
    function: str
    """As in ``0000:3b:10.2``."""
    is_whole: bool
    """Whether it is a whole NIC, which has its own MAC."""
    vlan: int | None = None
    """Of its frames; its physical function has it already."""

    def require_fit(self, nic: Nic) -> None:
        """Refuse a number of queues.

        :raises InputError: when there is one.
        """
        if nic.queues is not None:
            raise InputError(
                f"queues is {nic.queues}; VIF {self.vif_id} is a PCI function, whose queues are its driver's: leave it "
                "out",
                self.vif_id,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MacvtapAttachment:
    """How a guest's card is attached by a macvtap, which the VMM makes."""

    vif_id: str
    address: str
    """The guest's MAC address."""
    mtu: int | None
    source: str
    """The device that the macvtap is on."""
    mode: str
    is_of_function: bool = False
    """Whether that device is a virtual function's: then the VMM sets its own MAC and state."""
    vlan: int | None = None
    """Of the function's frames; its physical function has it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VdpaAttachment:
    """How a guest's card is attached by a function's vDPA device: it is a virtio card, whose rings the NIC serves."""

    vif_id: str
    address: str
    """The guest's MAC address."""
    path: str
    """As in ``/dev/vhost-vdpa-0``."""

    def queues(self, nic: Nic) -> int:
        """The number of the card's queues.

        :raises InputError: for a card that is not virtio.
        """
        _require_virtio(nic, self.vif_id, "is a vDPA device")
        return nic.queues or 1


def _require_virtio(nic: Nic, vif_id: str, has: str) -> None:
    if not nic.is_virtio:
        raise InputError(f"VIF {vif_id} {has}, which needs a virtio card; {nic.model!r} is not", vif_id)


AnyAttachment = Attachment | SocketAttachment | FunctionAttachment | VdpaAttachment | MacvtapAttachment


def attachment_of(vif: Vif, nic: Nic) -> AnyAttachment:
    """How a VIF's guest is attached.

    :raises InputError: when there is no driver, or the VIF or its function lacks something.
    """
    # Its socket's directory and its network's uplink were checked when it was plugged.
    driver, options = driver_for(vif.vif_type, vif.id), Options(vhostuser_socket_dir="")
    vif = vif.model_copy(update={"network": vif.network.model_copy(update={"uplink": None})})
    complete = _completed(vif, driver, options)
    resources = driver.resources(complete, options)
    end = end_by(driver, complete)
    if isinstance(end, VhostUser):
        return SocketAttachment(
            vif_id=vif.id,
            address=vif.address,
            mtu=vif.network.mtu,
            path=end.path,
            is_server=end.is_server,
            port=next((port.name for port in kinds.ports_in(resources)), ""),
            is_multiqueue=bool(vif.multiqueue),
        )
    if isinstance(end, HostDevice):
        return _function(vif, end, nic)
    if isinstance(end, Macvtap):
        return MacvtapAttachment(
            vif_id=vif.id, address=vif.address, mtu=vif.network.mtu, source=end.source, mode=end.mode
        )
    if isinstance(end, FunctionMacvtap):
        return _on_function(vif, end, nic)
    if end is None:
        raise InputError(
            f"the guest's end of VIF {vif.id} is not known; plug it with pci_device or vhost_user, which name it",
            vif.id,
        )
    if not isinstance(end, Tap):
        raise InputError(f"the guest of VIF {vif.id} has no tap; other ends are not supported yet", vif.id)
    name = end.name
    taps = [link for link in kinds.links_in(resources) if link.is_opened_by_guest and link.name == name]
    delegated = [port.bridge for port in kinds.ports_in(resources) if port.name == name and not port.is_owned]
    bridges = [link.name for link in kinds.links_in(resources) if link.guest == name]
    return Attachment(
        vif_id=vif.id,
        address=vif.address,
        mtu=vif.network.mtu,
        tap=name,
        is_made=bool(taps),
        bridge=bridges[0] if bridges else None,
        is_port=any(port.name == name for port in kinds.ports_in(resources)),
        is_multiqueue=bool(taps[0].is_multiqueue if taps else vif.multiqueue),
        port_bridge=delegated[0] if delegated else None,
    )


def _function(vif: Vif, end: HostDevice, nic: Nic) -> FunctionAttachment | VdpaAttachment:
    if nic.vdpa and end.vdpa is not False:
        return VdpaAttachment(vif_id=vif.id, address=vif.address, path=nic.vdpa)
    if end.vdpa:
        raise InputError(
            f"PCI device {end.address} of VIF {vif.id} has no vDPA device that is bound to vhost_vdpa now; see vdpa "
            "dev show",
            vif.id,
        )
    part = vif.pci_device
    is_whole, vlan = (bool(part.whole), part.vlan) if part is not None else (False, None)
    return FunctionAttachment(vif_id=vif.id, address=vif.address, function=end.address, is_whole=is_whole, vlan=vlan)


def _on_function(vif: Vif, end: FunctionMacvtap, nic: Nic) -> MacvtapAttachment:
    if not nic.function_device:
        raise InputError(
            f"virtual function {end.address} of VIF {vif.id} has no network device in this network namespace, on which "
            "its guest's macvtap would be; bind it to its own driver",
            vif.id,
        )
    return MacvtapAttachment(
        vif_id=vif.id,
        address=vif.address,
        mtu=vif.network.mtu,
        source=nic.function_device,
        mode=end.mode,
        is_of_function=True,
        vlan=vif.pci_device.vlan if vif.pci_device is not None else None,
    )


def _completed(vif: Vif, driver: Driver, options: Options) -> Vif:
    create_tap = driver.makes_tap if vif.create_tap is None else vif.create_tap
    network = vif.network.model_copy(update={"mtu": vif.network.mtu or options.mtu})
    return vif.model_copy(update={"create_tap": create_tap, "network": network})
