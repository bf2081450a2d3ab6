"""The options' values that oslo.config's types cannot judge: whoever gave a wrong one is told which, and what is right.

Only what can be told from the value itself: whether a user or a group exists, say, is for the privileged side to ask.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import urllib.parse
from collections.abc import Iterable
from typing import Any

from vifplug import naming

_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in _CAPABILITIES.split())
"""Linux's, by number (capabilities(7)). Those of oslo.privsep, which only the privileged side may import."""
SOCKET_PATH_MAX = 107
"""Of sun_path's 108 bytes one is the zero."""
_LOOPBACK = "127.0.0.1"
_PORT_MAX = 65535


def refuse_relative(option: str, path: str) -> None:
    """A relative path would be another one in each working directory.

    :raises ValueError: naming the option, its value and what would be right.
    """
    if not os.path.isabs(path):
        raise ValueError(f"{option} {path!r} is no absolute path such as /var/lib/vifplug")


def refuse_wrong_ovs(bridge: str, connection: list[str]) -> None:
    """Judge integration_bridge and connection.

    :raises ValueError: naming the option, its value and what would be right.
    """
    if not naming.is_link_name(bridge):
        raise ValueError(f"[ovs] integration_bridge {bridge!r} is no device name; it must have {naming.LINK_NAME_RULE}")
    if not connection:
        raise ValueError("[ovs] connection is empty; it must hold an address such as unix:/run/openvswitch/db.sock")
    for address in connection:
        _refuse_address(address)


def _refuse_address(address: str) -> None:
    kind, _, rest = address.partition(":")
    if kind == "ssl":
        raise ValueError(
            f"[ovs] connection {address!r} cannot be used: vifplug has no options for the certificates that ssl: "
            "needs; use unix:PATH, or tcp:IP:PORT to a TLS proxy on the loopback"
        )
    host, _, port = rest.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    is_tcp = kind == "tcp" and _is_port(port) and bool(host.strip("[]")) and (":" not in host or is_bracketed)
    if not is_tcp and not (kind == "unix" and os.path.isabs(rest)):
        raise ValueError(
            f"[ovs] connection {address!r} is neither unix:PATH with an absolute path, such as "
            "unix:/run/openvswitch/db.sock, nor tcp:IP:PORT, such as tcp:127.0.0.1:6640"
        )
    if kind == "unix":
        refuse_long_socket("[ovs] connection", rest)


def refuse_long_socket(option: str, path: str) -> None:
    """A path that no Unix socket can have.

    :raises ValueError: naming the option, its value and what would be right.
    """
    if (length := len(os.fsencode(path))) > SOCKET_PATH_MAX:
        raise ValueError(
            f"{option} {path!r} has {length} bytes, and a Unix socket's path at most {SOCKET_PATH_MAX} (unix(7)); give "
            "a shorter path, or that of a symbolic link to its directory"
        )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) <= _PORT_MAX


def refuse_wrong_helper(capabilities: Iterable[str], helper_command: str | None) -> None:
    """Judge what of [vifplug_privileged] would fail when the helper is started, without a word of why.

    :raises ValueError: naming the option, its value and what would be right.
    """
    for name in capabilities:
        is_number = name.isascii() and name.isdecimal() and int(name) < len(CAPABILITIES)
        if name not in CAPABILITIES and not is_number:
            raise ValueError(
                f"[vifplug_privileged] capabilities: {name!r} is no Linux capability such as CAP_NET_ADMIN, which is "
                "the only one that vifplug needs"
            )
    try:
        shlex.split(helper_command or "")
    except ValueError as error:
        raise ValueError(
            f"[vifplug_privileged] helper_command {helper_command!r} is no command as a shell would read it: {error}"
        ) from error


def events(group: Any) -> dict[str, Any]:
    """What of [events] has a form of its own.

    :raises ValueError: naming the option, its value and what would be right.
    """
    if group.notify_url and not _is_http(group.notify_url):
        raise ValueError(f"[events] notify_url {group.notify_url!r} is no URL such as http://HOST:PORT/PATH")
    for name in ("notify_token", "listen_token"):
        if not all("!" <= character <= "~" for character in getattr(group, name)):
            raise ValueError(f"[events] {name} holds what no HTTP header can; it must be of visible ASCII characters")
    if not group.listen:
        return {"listen": None}
    if not group.listen_token:
        raise ValueError("[events] listen needs a listen_token, which every sender has to give")
    host, _, port = group.listen.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]") or _LOOPBACK)
        if not 0 < int(port) <= _PORT_MAX:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"[events] listen {group.listen!r} is no IP address and port such as {_LOOPBACK}:8775, and no port alone"
        ) from error
    return {"listen": (str(address), int(port))}


def _is_http(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:  # for a port that is none
        return False
