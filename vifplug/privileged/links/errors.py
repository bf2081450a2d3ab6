"""The kernel's errors for changes of links, as text: first the kernel's own, then its meaning and the remedy."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from vifplug.errors import LinkError
from vifplug.netlink import socket as netlink
from vifplug.resources import kinds

Operation = Mapping[str, Any]

_BRIDGE_PORTS_MAX = 1023
"""BR_MAX_PORTS (net/bridge/br_private.h), less number 0, which is not used."""
_OF_ANY: Mapping[int, str] = {
    errno.ENOMEM: "the kernel is out of memory",
    errno.ENOBUFS: "the kernel is out of memory for messages",
    errno.ENOSPC: "a limit of the kernel's for this network namespace or control group is reached",
    errno.ENFILE: "a limit of the kernel's for devices of this name pattern is reached",
    errno.EPERM: "the privileged helper lacks CAP_NET_ADMIN in the user namespace of this network namespace",
}


def subject_of(operation: Operation) -> str:
    """The name of the link that an operation is about."""
    try:
        entry = operation if "name" in operation else (operation.get("ends") or operation["links"])[0]
        return str(entry["name"])
    except (LookupError, TypeError, AttributeError):
        return ""


def reason(refused: netlink.Refused, operation: Operation, *, creates: bool) -> str:
    """Why the kernel refused a message of an operation.

    :param creates: whether that message creates a link.
    """
    explanation = _OF_ANY.get(refused.code, "")
    if creates and refused.code == errno.EOPNOTSUPP:
        kind = str(operation.get("op", "")).removeprefix("create-")
        module = kinds.link_of(kind).module or kind
        explanation = f"this kernel has no links of kind {kind}; load its module (modprobe {module})"
    if refused.code == errno.EOPNOTSUPP and _filters(operation):
        explanation = "this kernel's bridges do not filter by VLAN (CONFIG_BRIDGE_VLAN_FILTERING)"
    if refused.code == errno.EOPNOTSUPP and operation.get("op") == "configure":
        explanation = "the driver of that device has no such setting"
    master = _master_of(operation)
    if not creates and master:
        explanation = _of_joining(refused.code, *master) or explanation
    return f"{refused.text}: {explanation}" if explanation else refused.text


def _filters(operation: Operation) -> bool:
    """Whether an operation needs a bridge that filters by VLAN."""
    asked = operation.get("values", operation)
    return bool(asked.get("vlan_filtering") or asked.get("bridge_vlan"))


def _master_of(operation: Operation) -> tuple[str, str] | None:
    """The link that an operation puts on a bridge, and that bridge."""
    if operation.get("op") == "join":
        return str(operation["guest"]), str(operation["name"])
    if "ends" in operation:
        return next(((str(end["name"]), str(end["master"])) for end in operation["ends"] if end.get("master")), None)
    master = operation["values"].get("master") if operation.get("op") in ("set", "configure") else None
    return (str(operation["name"]), str(master)) if master else None


def _of_joining(code: int, name: str, master: str) -> str:
    """br_add_if (net/bridge/br_if.c) and __netdev_upper_dev_link (net/core/dev.c)."""
    match code:
        case errno.EXFULL:
            return (
                f"bridge {master!r} has {_BRIDGE_PORTS_MAX} ports, and a Linux bridge takes no more (BR_MAX_PORTS); "
                "take ports off it, or use another bridge"
            )
        case errno.EBUSY:
            return (
                f"{name!r} is a part of another bridge, bond or team, or something else receives all its frames "
                f"(macvlan, Open vSwitch); take it out of that before it can be a port of bridge {master!r}"
            )
        case errno.ELOOP:
            return f"{name!r} is a bridge, or lies above bridge {master!r}; a Linux bridge takes no bridge as a port"
        case errno.EMLINK:
            return f"{name!r} and bridge {master!r} would be a stack of more than 8 devices (MAX_NEST_DEV)"
        case errno.EOPNOTSUPP:
            return f"{master!r} takes no ports, or {name!r} is of a kind that cannot be a port of a bridge"
    return ""


def of_library(error: Exception, operation: Operation, number: int) -> LinkError:
    """The typed error for an error of a library or of the system during an operation."""
    subject = subject_of(operation)
    text = error.text if isinstance(error, netlink.Refused) else f"{type(error).__name__}: {error}"
    act = str(operation.get("op", "change")).replace("-", " ") if isinstance(operation, Mapping) else "change"
    return LinkError(f"could not {act} link {subject!r}: {text}", subject, str(number))
