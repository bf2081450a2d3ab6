"""Which addresses the guest of a Neutron port may send from, if no other program limits it to them.

Nova's network_info has neither a port's allowed_address_pairs nor port_security_enabled, so that it is not enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vifplug.formats.reader import Entry

_FIXED, _PAIRS = "fixed_ips", "allowed_address_pairs"


def fields(port: Entry, details: Entry, address: Any) -> dict[str, Any]:
    """Fields of the request; none if another program filters the port, or if the binding does not say so.

    :raises InputError: for a list of addresses that is not one.
    """
    if details.flag("port_filter") is not False:
        return {}
    if port.flag("port_security_enabled") is False:
        return {"port_security": False}
    return {"port_security": True, "allowed_addresses": [values for values, _path in _addresses(port, address)]}


def sources(port: Entry) -> dict[str, str]:
    """Fields of the request -> their paths."""
    return {
        f"allowed_addresses[{place}].{key}": f"{path}.{name}"
        for place, (_values, path) in enumerate(_addresses(port, None))
        for key, name in (("ip", "ip_address"), ("mac", "mac_address"))
    }


def _addresses(port: Entry, address: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Each address with its MAC, and its path."""
    for key in (_FIXED, _PAIRS):
        entries = port.data.get(key) or []
        if not isinstance(entries, list | tuple):
            raise port.refusal(key, "it must be a list")
        for place, entry in enumerate(entries):
            if not isinstance(entry, Mapping):
                raise port.refusal(key, f"its entry {place} must be an object")
            yield (
                {"ip": entry.get("ip_address"), "mac": entry.get("mac_address") or address},
                f"{port.at(key)}[{place}]",
            )
