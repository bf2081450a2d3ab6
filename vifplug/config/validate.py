"""Checks of option values beyond oslo.config's types. Each error names the option, its value and a valid form.

Only the value itself is checked; whether a user or a group exists, for example, is checked by the privileged side.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from vifplug import naming

_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in _CAPABILITIES.split())
"""Linux's, by number (capabilities(7)), as in oslo.privsep, which only the privileged side may import."""
_PCI_PATTERN = re.compile(r"[][0-9A-Fa-f*?!-]+(:[][0-9A-Fa-f*?!.-]+){2}")
_COLON_IN_SET = re.compile(r"\[!?\]?[^]]*:")
_LOOPBACK = "127.0.0.1"
_PORT_MAX = 65535


def check_absolute(option: str, path: str) -> None:
    """Check that a path does not depend on the working directory.

    :raises ValueError: with the option, its value and a valid form.
    """
    if not os.path.isabs(path):
        raise ValueError(f"{option} {path!r} is not an absolute path such as /var/lib/vifplug")


def check_ovs(bridge: str, connection: list[str]) -> None:
    """Check integration_bridge and connection.

    :raises ValueError: with the option, its value and a valid form.
    """
    if not naming.is_link_name(bridge):
        raise ValueError(
            f"[ovs] integration_bridge {bridge!r} is not a device name; it must have {naming.LINK_NAME_RULE}"
        )
    if not connection:
        raise ValueError("[ovs] connection is empty; it must hold an address such as unix:/run/openvswitch/db.sock")
    for address in connection:
        _check_address(address)


def _check_address(address: str) -> None:
    kind, _, target = address.partition(":")
    if kind == "ssl":
        raise ValueError(
            f"[ovs] connection {address!r} cannot be used: vifplug has no options for the certificates that ssl: "
            "needs; use unix:PATH, or tcp:IP:PORT to a TLS proxy on the loopback"
        )
    host, _, port = target.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    is_tcp = kind == "tcp" and _is_port(port) and bool(host.strip("[]")) and (":" not in host or is_bracketed)
    if not is_tcp and not (kind == "unix" and os.path.isabs(target)):
        raise ValueError(
            f"[ovs] connection {address!r} is neither unix:PATH with an absolute path, such as "
            "unix:/run/openvswitch/db.sock, nor tcp:IP:PORT, such as tcp:127.0.0.1:6640"
        )
    if kind == "unix":
        check_socket_length("[ovs] connection", target)


def check_socket_length(option: str, path: str) -> None:
    """Check that a Unix socket can have this path.

    :raises ValueError: with the option, its value and a valid form.
    """
    if (length := len(os.fsencode(path))) > naming.SOCKET_PATH_MAX:
        raise ValueError(
            f"{option} {path!r} has {length} bytes, and a Unix socket's path at most {naming.SOCKET_PATH_MAX} "
            "(unix(7)); give a shorter path, or one through a symbolic link to its directory"
        )


def check_socket_directory(option: str, path: str) -> None:
    """Check that sockets with names by the naming rule can be in a directory.

    :raises ValueError: with the option, its value and a valid form.
    """
    fault = naming.socket_path_fault(f"{path.rstrip('/')}/{'v' * naming.NAME_CUT}")
    if fault:
        raise ValueError(
            f"{option} {path!r} cannot be the directory of sockets: of the path of a socket in it, {fault}"
        )


def physical_networks(networks: Mapping[str, str]) -> dict[str, str]:
    """Check physical_networks.

    :raises ValueError: with the option, its value and a valid form.
    """
    for network, device in networks.items():
        if not network or not naming.is_link_name(device):
            raise ValueError(
                f"[bridge] physical_networks {network + ':' + device!r} is not a network and its device, such as "
                f"physnet1:eth1; a device name has {naming.LINK_NAME_RULE}"
            )
    return dict(networks)


def addressed_devices(devices: Iterable[str], networks: Mapping[str, str]) -> tuple[str, ...]:
    """Check addressed_devices.

    :raises ValueError: with the option, its value and a valid form.
    """
    listed = tuple(devices)
    for device in listed:
        if device not in networks.values():
            raise ValueError(
                f"[bridge] addressed_devices: {device!r} is not a device of [bridge] physical_networks; it must be one"
            )
    return listed


def local_ip(option: str, text: str) -> str:
    """Check an address of this host, and write it as the kernel does.

    :raises ValueError: with the option, its value and a valid form.
    """
    address = _address(text)
    if text and (
        address is None or address.is_multicast or address.is_unspecified or address.is_loopback or address.is_reserved
    ):
        raise ValueError(f"{option} {text!r} is not an address of this host, such as 192.0.2.1")
    return str(address) if address is not None else ""


def multicast_groups(option: str, text: str) -> str:
    """Check a multicast group, or a range of groups.

    :raises ValueError: with the option, its value and a valid form.
    """
    try:
        groups = ipaddress.ip_network(text) if text else None
    except ValueError:
        groups = None
    if text and (groups is None or not groups.is_multicast):
        raise ValueError(
            f"{option} {text!r} is neither a multicast address such as 239.1.1.1, nor a range of them such as "
            "239.1.1.0/24"
        )
    return str(groups) if groups is not None else ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text) if text and "%" not in text else None
    except ValueError:
        return None


def pci_devices(patterns: Iterable[str]) -> tuple[str, ...]:
    """Check devices of [pci]. A pattern with two colons matches no network device: their names have none. So no colon
    may be in brackets, where it need not be matched.

    :raises ValueError: with the option, its value and a valid form.
    """
    for pattern in patterns:
        if not _PCI_PATTERN.fullmatch(pattern) or _COLON_IN_SET.search(pattern):
            raise ValueError(
                f"[pci] devices: {pattern!r} is neither a PCI address with its domain, such as 0000:3b:10.2, nor a "
                "pattern of one, such as 0000:3b:*"
            )
    return tuple(pattern.lower() for pattern in patterns)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) <= _PORT_MAX


def check_helper(capabilities: Iterable[str], helper_command: str | None) -> None:
    """Check the values of [vifplug_privileged] that would make the helper's start fail without a reason.

    :raises ValueError: with the option, its value and a valid form.
    """
    for name in capabilities:
        is_number = name.isascii() and name.isdecimal() and int(name) < len(CAPABILITIES)
        if name not in CAPABILITIES and not is_number:
            raise ValueError(
                f"[vifplug_privileged] capabilities: {name!r} is not a Linux capability such as CAP_NET_ADMIN, the "
                "only one that vifplug needs"
            )
    try:
        shlex.split(helper_command or "")
    except ValueError as error:
        raise ValueError(
            f"[vifplug_privileged] helper_command {helper_command!r} is not a valid shell command: {error}"
        ) from error


def events(group: Any) -> dict[str, Any]:
    """Check [events], and parse ``listen``.

    :raises ValueError: with the option, its value and a valid form.
    """
    if group.notify_url and not _is_http(group.notify_url):
        raise ValueError(f"[events] notify_url {group.notify_url!r} is not a URL such as http://HOST:PORT/PATH")
    for name in ("notify_token", "listen_token"):
        if not all("!" <= character <= "~" for character in getattr(group, name)):
            raise ValueError(
                f"[events] {name} is not valid in an HTTP header; it must have visible ASCII characters only"
            )
    if not group.listen:
        return {"listen": None}
    if not group.listen_token:
        raise ValueError("[events] listen needs a listen_token, which every sender must send")
    host, _, port = group.listen.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]") or _LOOPBACK)
        if not 0 < int(port) <= _PORT_MAX:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"[events] listen {group.listen!r} is neither an IP address and port such as {_LOOPBACK}:8775, nor a port"
        ) from error
    return {"listen": (str(address), int(port))}


def _is_http(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:  # for an invalid port
        return False
