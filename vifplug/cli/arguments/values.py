"""The forms of options' values: each function reads one text, and raises argparse's error with the rule. Pure."""

from __future__ import annotations

import argparse
import datetime
import math
import re
from typing import Any

from vifplug import errors, naming
from vifplug.model import durations, limits
from vifplug.model.reports import STATES

_SEQUENCE_DIGITS_MAX = 18
"""Every number of 18 digits fits SQLite's integers."""
_TYPE = re.compile(r"[a-z][a-z0-9-]{0,31}")


def refused(value: str, reason: str) -> argparse.ArgumentTypeError:
    """argparse's error for a value; it adds the option."""
    return argparse.ArgumentTypeError(f"{value!r} {reason}")


def near(value: str, known: list[str], prefix: str = "") -> str:
    """A hint with the nearest known word, or ""."""
    import difflib  # here, because only an error needs it

    close = difflib.get_close_matches(value, known, n=1)
    return f" (did you mean {prefix + close[0]!r}?)" if close else ""


def canonical_id(value: str, name: str = "") -> str:
    """``value`` as a VIF id in lower case.

    :raises errors.InputError: when it is not a UUID.
    """
    lowered = value.lower()
    if not naming.is_uuid(lowered):
        shown = f"{name} {value!r}" if name else repr(value)
        raise errors.InputError(f"{shown} is not a UUID (example: {limits.UUID_EXAMPLE})", value)
    return lowered


def uuid(value: str) -> str:
    """A UUID, in lower case."""
    try:
        return canonical_id(value)
    except errors.InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def vif_name(value: str) -> str:
    """The name of a VIF: an id, or another that the host's VIFs are searched for."""
    if not value.strip():
        raise refused(value, "names no VIF; give an id, the beginning of one, a device, a MAC or an instance")
    return value


def instance_name(value: str) -> str:
    """The name of a guest."""
    if not 0 < len(value) <= limits.INSTANCE_NAME_MAX:
        raise argparse.ArgumentTypeError(f"it must have 1 to {limits.INSTANCE_NAME_MAX} characters")
    return value


def mac(value: str) -> str:
    """A MAC address, in lower case."""
    if not naming.is_address(value.lower()):
        raise refused(value, "is not a MAC address (example: fa:16:3e:eb:5e:26)")
    return value.lower()


def device(value: str) -> str:
    """The name of a device or a bridge."""
    if not naming.is_link_name(value):
        raise refused(value, f"is not a device name: {naming.LINK_NAME_RULE}")
    return value


def vif_type(value: str) -> str:
    """A vif_type; drivers of other packages may bring more of them, so the host decides which there are."""
    if not _TYPE.fullmatch(value):
        raise refused(value, "is not a vif_type; 'vifplug example --help' lists them")
    return value


def words(value: str) -> list[str]:
    """Words with commas between them."""
    return [word.strip() for word in value.split(",") if word.strip()]


def states(value: str) -> list[str]:
    """States of VIFs, with commas between them."""
    given = words(value.lower())
    for word in given or [value]:
        if word not in STATES:
            raise refused(word, f"is not a state{near(word, [*STATES])}; they are {', '.join(STATES)}")
    return given


def vif_types(value: str) -> list[str]:
    """Several vif_types."""
    return [vif_type(word) for word in words(value) or [value]]


def uplink(value: str) -> dict[str, Any]:
    """An uplink: its type, the physical network but for vxlan, and the number but for flat."""
    kind, *rest = value.split(":")
    if kind == "flat" and len(rest) == 1 and rest[0]:
        return {"type": kind, "physical_network": rest[0]}
    if kind == "vlan" and len(rest) == 2 and rest[0] and _is_number(rest[1]):
        return {"type": kind, "physical_network": rest[0], "segmentation_id": int(rest[1])}
    if kind == "vxlan" and len(rest) == 1 and _is_number(rest[0]):
        return {"type": kind, "segmentation_id": int(rest[0])}
    raise refused(value, "is not an uplink; it must be flat:NETWORK, vlan:NETWORK:ID or vxlan:ID")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 9


def owner(value: str) -> dict[str, int]:
    """A user and a group, by name or number."""
    import grp  # here and below: few commands name a user
    import pwd

    user, _, group = value.partition(":")
    owners: dict[str, int] = {}
    try:
        if user:
            owners["uid"] = int(user) if _is_number(user) else pwd.getpwnam(user).pw_uid
        if group:
            owners["gid"] = int(group) if _is_number(group) else grp.getgrnam(group).gr_gid
    except (KeyError, ValueError) as error:
        raise refused(value, "names a user or group that this host does not have") from error
    if not owners:
        raise refused(value, "is not USER, USER:GROUP or :GROUP")
    return owners


def mtu(value: str) -> int:
    """An MTU, in bytes."""
    try:
        number = int(value)
    except ValueError:
        number = -1
    if not limits.is_mtu(number):
        raise refused(value, f"is not an MTU; {limits.MTU_RULE}")
    return number


def vlan(value: str) -> int | str:
    """A VLAN, or none to remove one."""
    if value == limits.NO_VLAN:
        return value
    if not (value.isascii() and value.isdigit() and len(value) < 9 and limits.is_vlan(int(value))):
        raise refused(value, f"is not a VLAN; {limits.VLAN_RULE}")
    return int(value)


def queues(value: str) -> int:
    """A number of queues."""
    if not (value.isascii() and value.isdigit() and len(value) < 9 and 1 <= int(value) <= limits.QUEUES_MAX):
        raise refused(value, f"is not a number of queues; it must be 1 to {limits.QUEUES_MAX}")
    return int(value)


def seconds(value: str) -> float:
    """A time-out above 0."""
    number = _number(value)
    if not (math.isfinite(number) and number > 0):
        raise refused(value, "is not a timeout; it must be a number of seconds above 0")
    return number


def seconds_or_none(value: str) -> float:
    """A time-out, 0 included."""
    number = _number(value)
    if not (math.isfinite(number) and number >= 0):
        raise refused(value, "is not a timeout; it must be a number of seconds, 0 or more")
    return number


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def duration(value: str) -> float:
    """A duration in seconds, or with a unit."""
    try:
        return durations.parse(value)
    except errors.InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def port(value: str) -> int:
    """A TCP port; 0 for any free one."""
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) < 65536):
        raise argparse.ArgumentTypeError(f"{value!r} is not a port; it must be a whole number from 0 to 65535")
    return int(value)


def since(value: str) -> int | datetime.datetime:
    """The number of an event, a duration before now, or a local time."""
    if value.isascii() and value.isdigit() and len(value) <= _SEQUENCE_DIGITS_MAX:
        return int(value)
    try:
        return durations.ago(value, datetime.datetime.now().astimezone())
    except errors.InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
