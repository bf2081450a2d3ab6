"""A Neutron network beside the documents of its ports: their MTU, and the uplink of a Linux bridge by its provider
attributes, which a port does not have.

From the networking API as an administrator or a service sees it, bare or in its envelope, or from openstacksdk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vifplug.errors import InputError
from vifplug.formats.reader import Entry, as_uuid
from vifplug.model import messages
from vifplug.model import uplink as uplinks
from vifplug.model import vif as model

SINGLE, LIST = "network", "networks"
"""The keys the API wraps a network, and a list of them, in."""
_MTU: TypeAdapter[int] = TypeAdapter(model.Mtu)
_PROVIDER, _SDK_PROVIDER = "provider:", "provider_"
_LOCAL = "local"
_ON_A_BRIDGE = "bridge"


class Networks:
    """The networks of a document, by id.

    :raises InputError: it holds no network, or a wrong value.
    """

    def __init__(self, document: object) -> None:
        self._by_id: dict[str, Entry] = {}
        for entry in _entries(document):
            identity = as_uuid(entry.require("id", "a Neutron network always has one"))
            if identity is None:
                raise entry.refusal("id", "it must be a UUID")
            self._by_id[identity] = entry

    def amended(self, vif: model.Vif) -> model.Vif:
        """A VIF with the MTU and the uplink of its network, as far as its own document has none.

        :raises InputError: its network is not among these, or has a wrong value.
        """
        entry = self._of(vif)
        changes: dict[str, Any] = {"id": as_uuid(entry.data["id"])}
        if vif.network.mtu is None:
            changes["mtu"] = _mtu(entry)
        if vif.vif_type == _ON_A_BRIDGE and vif.network.uplink is None:
            changes["uplink"] = uplink(entry)
        return vif.model_copy(update={"network": vif.network.model_copy(update=changes)})

    def _of(self, vif: model.Vif) -> Entry:
        if vif.network.id is None and len(self._by_id) == 1:
            return next(iter(self._by_id.values()))
        known = self._by_id.get(vif.network.id or "")
        if known is None:
            given = ", ".join(sorted(self._by_id))
            raise InputError(
                f"VIF {vif.id} is on network {vif.network.id or 'without an id'}, and the network that is given is "
                f"{given}; give the VIF's own",
                vif.id,
            )
        return known


def _entries(document: object) -> Sequence[Entry]:
    if isinstance(document, Mapping) and LIST in document:
        listed, path = document[LIST], LIST
    elif isinstance(document, Mapping) and SINGLE in document:
        return [_entry(document[SINGLE], SINGLE)]
    elif isinstance(document, list | tuple):
        listed, path = document, ""
    else:
        return [_entry(document, "")]
    if not isinstance(listed, list | tuple) or not listed:
        raise messages.refusal(path or "the network's document", listed, "it must be a list with a Neutron network")
    return [_entry(item, f"{path}[{number}]") for number, item in enumerate(listed)]


def _entry(item: object, path: str) -> Entry:
    if not isinstance(item, Mapping):
        raise messages.refusal(path or "the network's document", item, "it must be a Neutron network, an object")
    return Entry(item, path)


def _mtu(entry: Entry) -> int | None:
    mtu = entry.mtu("mtu")
    try:
        return None if mtu is None else _MTU.validate_python(mtu)
    except ValidationError:
        raise entry.refusal("mtu", messages.MTU) from None


def uplink(network: Entry) -> uplinks.Uplink | None:
    """The uplink that a network's provider attributes name; None for a network on a single host.

    :raises InputError: they are missing, or vifplug has no such uplink.
    """
    segment, mark = network, _mark(network)
    segments = network.data.get("segments")
    if isinstance(segments, list | tuple) and segments and not network.data.get(f"{mark}network_type"):
        if len(segments) > 1:
            raise network.refusal("segments", "the bridge of a network has one uplink; give a network of one segment")
        segment = _entry(segments[0], network.at("segments[0]"))
        mark = _mark(segment)
    kind = segment.require(f"{mark}network_type", "only administrators and services are shown it")
    if kind == _LOCAL:
        return None
    values = {
        "type": kind,
        "physical_network": segment.data.get(f"{mark}physical_network"),
        # Of a flat network it is null; some clients show 0.
        "segmentation_id": segment.data.get(f"{mark}segmentation_id") if kind != uplinks.FLAT else None,
    }
    sources = {key: segment.at(f"{mark}{'network_type' if key == 'type' else key}") for key in values}
    return checked(values, sources)


def checked(values: Mapping[str, Any], sources: Mapping[str, str]) -> uplinks.Uplink:
    """An uplink of these values.

    :param sources: their paths in the document.
    :raises InputError: naming a wrong one.
    """
    try:
        return uplinks.Uplink.model_validate(dict(values))
    except ValidationError as error:
        raise messages.invalid(error, "", sources) from None


def _mark(entry: Entry) -> str:
    """The prefix of the provider attributes' keys."""
    is_sdk = f"{_SDK_PROVIDER}network_type" in entry.data and f"{_PROVIDER}network_type" not in entry.data
    return _SDK_PROVIDER if is_sdk else _PROVIDER
