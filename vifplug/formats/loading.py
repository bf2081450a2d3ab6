"""Documents read: the VIFs they hold, with what the caller says beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vifplug.errors import InputError
from vifplug.formats import detect, messages
from vifplug.formats.json_text import parse
from vifplug.model import vif as model

FORMATS = detect.NAMES
"""What ``format`` may be; ``auto`` tells them apart by their keys."""

_MTU: TypeAdapter[int] = TypeAdapter(model.Mtu)


def load_all(
    document: object,
    *,
    format: str = detect.AUTO,
    instance: Mapping[str, Any] | model.Instance | None = None,
    mtu: int | None = None,
) -> list[model.Vif]:
    """Every VIF of a document, in its order.

    :param document: JSON text, or what it parses to.
    :param format: one of FORMATS.
    :param instance: the guest, in place of what the document says; of a mapping, what it leaves out stays.
    :param mtu: bytes, in place of what the document says.
    :returns: at least one.
    :raises InputError: for the first thing that is wrong, for two VIFs of one id, and for no VIF at all.
    """
    given = _given_instance(instance)
    if mtu is not None:
        _check_mtu(mtu)
    parsed = parse(document) if isinstance(document, str | bytes) else document
    return [_amended(vif, given, mtu) for vif in detect.vifs(parsed, format)]


def load(
    document: object,
    *,
    format: str = detect.AUTO,
    instance: Mapping[str, Any] | model.Instance | None = None,
    mtu: int | None = None,
) -> model.Vif:
    """The one VIF of a document; the parameters are those of ``load_all``.

    :raises InputError: for the first thing that is wrong, and unless there is exactly one VIF.
    """
    found = load_all(document, format=format, instance=instance, mtu=mtu)
    if len(found) > 1:
        raise InputError(f"the document holds {len(found)} VIFs, and one is asked for; load_all takes a list")
    return found[0]


def _given_instance(instance: object) -> dict[str, Any]:
    """What the caller says of the guest, validated as far as it can be without the document."""
    if instance is None:
        return {}
    if isinstance(instance, model.Instance):
        return instance.model_dump()
    if not isinstance(instance, Mapping):
        raise messages.refusal("instance", instance, "it must be an object with uuid and name")
    given = {key: value for key, value in instance.items() if value is not None}
    stand_in = {"uuid": "00000000-0000-0000-0000-000000000000"}
    try:
        checked = model.Instance.model_validate(stand_in | given)
    except ValidationError as error:
        raise messages.invalid(error, "instance", {}) from None
    return {key: value for key, value in checked.model_dump().items() if key in given}


def _check_mtu(mtu: object) -> None:
    try:
        _MTU.validate_python(mtu)
    except ValidationError:
        raise messages.refusal("mtu", mtu, messages.MTU) from None


def _amended(vif: model.Vif, instance: Mapping[str, Any], mtu: int | None) -> model.Vif:
    """The VIF with what the caller said in place of what its document said."""
    changes: dict[str, Any] = {}
    if mtu is not None:
        changes["network"] = vif.network.model_copy(update={"mtu": mtu})
    if instance:
        changes["instance"] = _instance(vif, instance)
    return vif.model_copy(update=changes) if changes else vif


def _instance(vif: model.Vif, given: Mapping[str, Any]) -> model.Instance:
    known = vif.instance.model_dump() if vif.instance else {}
    if given.get("uuid", known.get("uuid")) != known.get("uuid"):
        known = {}  # another guest: the document's name is not its name
    merged = known | dict(given)
    if not merged.get("uuid"):
        raise messages.missing("instance.uuid", "and the document does not say whose VIF it is either", vif.id)
    return model.Instance(**merged)
