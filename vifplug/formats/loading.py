"""Reads the VIFs of documents, and applies the caller's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vifplug.errors import InputError
from vifplug.formats import detect
from vifplug.formats.network import Networks
from vifplug.formats.text.json_text import parse
from vifplug.model import messages
from vifplug.model import vif as model

FORMATS = detect.NAMES
"""The values of ``format``; ``auto`` detects the format by its keys."""

_MTU: TypeAdapter[int] = TypeAdapter(model.Mtu)


def load_all(
    document: object,
    *,
    format: str = detect.AUTO,
    instance: Mapping[str, Any] | model.Instance | None = None,
    mtu: int | None = None,
    network: object = None,
) -> list[model.Vif]:
    """Every VIF of a document, in its order.

    :param document: JSON text, or its parsed content.
    :param format: one of FORMATS.
    :param instance: replaces the document's instance; a mapping only replaces the keys that it has.
    :param mtu: replaces the document's MTU, in bytes.
    :param network: the VIFs' Neutron network, or a list of networks, as the API returns them: JSON text, or its parsed
        content. What a VIF's own document lacks is taken from it: the MTU, and the uplink of a Linux bridge.
    :returns: at least one VIF.
    :raises InputError: for the first error, for a duplicate id, and for a document without VIFs.
    """
    given = _given_instance(instance)
    if mtu is not None:
        _check_mtu(mtu)
    parsed = parse(document) if isinstance(document, str | bytes) else document
    vifs = detect.vifs(parsed, format)
    if network is not None:
        networks = Networks(parse(network) if isinstance(network, str | bytes) else network)
        vifs = [networks.amended(vif) for vif in vifs]
    return [_amended(vif, given, mtu) for vif in vifs]


def load(
    document: object,
    *,
    format: str = detect.AUTO,
    instance: Mapping[str, Any] | model.Instance | None = None,
    mtu: int | None = None,
    network: object = None,
) -> model.Vif:
    """The only VIF of a document; the parameters are those of ``load_all``.

    :raises InputError: for the first error, and unless there is exactly one VIF.
    """
    vifs = load_all(document, format=format, instance=instance, mtu=mtu, network=network)
    if len(vifs) > 1:
        raise InputError(f"the document holds {len(vifs)} VIFs, but load() reads one; use load_all()")
    return vifs[0]


def _given_instance(instance: object) -> dict[str, Any]:
    """The caller's instance, validated as far as possible without the document."""
    if instance is None:
        return {}
    if isinstance(instance, model.Instance):
        return instance.model_dump()
    if not isinstance(instance, Mapping):
        raise messages.refusal("instance", instance, "it must be an object with uuid and name")
    given = {key: value for key, value in instance.items() if value is not None}
    placeholder = {"uuid": "00000000-0000-0000-0000-000000000000"}
    try:
        checked = model.Instance.model_validate(placeholder | given)
    except ValidationError as error:
        raise messages.invalid(error, "instance", {}) from None
    return {key: value for key, value in checked.model_dump().items() if key in given}


def _check_mtu(mtu: object) -> None:
    try:
        _MTU.validate_python(mtu)
    except ValidationError:
        raise messages.refusal("mtu", mtu, messages.MTU) from None


def _amended(vif: model.Vif, instance: Mapping[str, Any], mtu: int | None) -> model.Vif:
    """The VIF with the caller's values in place of its document's."""
    changes: dict[str, Any] = {}
    if mtu is not None:
        changes["network"] = vif.network.model_copy(update={"mtu": mtu})
    if instance:
        changes["instance"] = _instance(vif, instance)
    return vif.model_copy(update=changes) if changes else vif


def _instance(vif: model.Vif, given: Mapping[str, Any]) -> model.Instance:
    known = vif.instance.model_dump() if vif.instance else {}
    if given.get("uuid", known.get("uuid")) != known.get("uuid"):
        known = {}  # another instance: the document's name does not apply
    merged = known | dict(given)
    if not merged.get("uuid"):
        raise messages.missing("instance.uuid", "and the document has no instance either", vif.id)
    return model.Instance(**merged)
