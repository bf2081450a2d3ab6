"""Takes devices out of Open vSwitch's kernel datapath that ovs-vswitchd has lost there.

The datapath finds its ports by the names that they had when they were added, and vswitchd goes by names too: a device
that is renamed while it is a port stays one in the kernel, of which vswitchd knows nothing, and under no name can it be
added again (File exists) or removed (``ovs-dpctl del-if``: no port named ...). Its number still removes it.
"""

from __future__ import annotations

import socket
import struct

from vifplug import naming
from vifplug.errors import LinkError
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import HEADER, attribute

_NETLINK_GENERIC = 16
_SECONDS = 10.0
_BYTES_MAX = 16 << 20
"""The limit of one answer; a datapath has a message for each port."""
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_CONTROL = 16
"""GENL_ID_CTRL."""
_GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 3, 1, 2
_DELETE, _GET = 2, 3
_NUMBER, _NAME = 1, 3
"""OVS_VPORT_CMD_... and OVS_VPORT_ATTR_... of linux/openvswitch.h."""
_GENERIC, _DATAPATH = struct.Struct("=BBH"), struct.Struct("=I")


def free(device: str, datapath: int) -> None:
    """Take a device out of a datapath; one that is not in it is done.

    :param datapath: the ifindex of the datapath's device, ``ovs-system``.
    :raises LinkError: when the kernel refuses it.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC) as kernel:
            kernel.settimeout(_SECONDS)
            family = _family(kernel)
            place = _DATAPATH.pack(datapath)
            for payload in _ask(kernel, family, _DUMP, _GET, place):
                attributes = netlink.attributes(payload, _GENERIC.size + _DATAPATH.size)
                if naming.decoded(attributes.get(_NAME, b"").rstrip(b"\0")) == device:
                    body = place + attribute(_NUMBER, attributes[_NUMBER])
                    _ask(kernel, family, _ACK, _DELETE, body)
    except OSError as error:
        raise LinkError(
            f"could not take {device!r} out of the kernel's datapath: {error.strerror or error}", device
        ) from error


def _family(kernel: socket.socket) -> int:
    body = attribute(_FAMILY_NAME, b"ovs_vport\0")
    for payload in _ask(kernel, _CONTROL, _ACK, _GET_FAMILY, body):
        return int(struct.unpack("=H", netlink.attributes(payload, _GENERIC.size)[_FAMILY_ID][:2])[0])
    raise FileNotFoundError("the kernel has no module openvswitch")


def _ask(kernel: socket.socket, family: int, flags: int, command: int, body: bytes) -> list[bytes]:
    message = _GENERIC.pack(command, 1, 0) + body
    header = HEADER.pack(HEADER.size + len(message), family, _REQUEST | flags, 1, 0)
    return netlink.exchange(kernel, header + message, _BYTES_MAX)
