"""The messages of refused requests: one line each, with the document's field, its value and the valid form.

The only place that reads a pydantic.ValidationError.
"""

from __future__ import annotations

import difflib
import re
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from vifplug.errors import InputError
from vifplug.model import limits
from vifplug.model import vif as model
from vifplug.model.quoting import quote
from vifplug.model.uplink import Uplink

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

_FLAG = "it must be true or false"
_OBJECT = "it must be an object"
_PLACES_MAX = 10_000
"""Of an entry in a list; a longer number is a key."""
_TEXT = "it must be a string"

_BY_TYPE = {
    "bool_type": _FLAG,
    "string_type": _TEXT,
    "string_unicode": "it must be a string of Unicode characters, without lone surrogates",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "tuple_type": "it must be a list",
    "missing": "it is missing, and a VIF needs it",
    "invalid_key": "the key must be a string",
}

MTU = limits.MTU_RULE

_BY_FIELD = {
    "mtu": MTU,
    "uid": f"it must be a whole number from 0 to {2**32 - 2}",
    "gid": f"it must be a whole number from 0 to {2**32 - 2}",
    "vif_type": "it must be 1 to 32 lower-case letters, digits and hyphens, such as ovs-hybrid, ovs or bridge",
}


_ALIASES = {
    "mac": "address",
    "mac_address": "address",
    "type": "vif_type",
    "uuid": "id",
    "port_id": "id",
    "tag": "vlan",
    "vlan_id": "vlan",
}
"""Names that other formats have for our keys."""


def join(path: str, *keys: object) -> str:
    """The path of a field below ``path``: ``ports[1].binding:vif_details.bridge_name``."""
    for key in keys:
        if isinstance(key, int) and 0 <= key < _PLACES_MAX:
            path = f"{path}[{key}]"
            continue
        name = key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else quote(key)
        path = f"{path}.{name}" if path else name
    return path


def refusal(path: str, value: object, should: str, subject: str = "") -> InputError:
    """The error for one field.

    :param should: clauses that describe a valid value.
    :param subject: the VIF's id, where it is known.
    """
    return InputError(f"{path or 'the document'}: {quote(value)}: {should}", subject)


def missing(path: str, should: str, subject: str = "") -> InputError:
    """The error for a missing field."""
    return InputError(f"{path}: it is missing, {should}", subject)


def invalid(error: ValidationError, path: str, sources: Mapping[str, str], subject: str = "") -> InputError:
    """The first of a model's errors, and the number of others; a mistyped key before the field it leaves missing.

    :param path: the entry's path in the document.
    :param sources: fields of the model (``network.bridge``) -> the fields of the document they came from.
    """
    details = error.errors(include_url=False)
    unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
    first = (unknown or details)[0] if details[0]["type"] == "missing" else details[0]
    kind = first["type"]
    field = ".".join(key for key in first["loc"] if isinstance(key, str))
    where = sources.get(join("", *first["loc"])) or sources.get(field) or join(path, *first["loc"])
    if kind == "missing":
        text = f"{where}: {_BY_TYPE['missing']}"
    elif kind == "extra_forbidden":
        text = f"unknown key {where!r}{_valid_keys(first['loc'], error.title)}"
    elif first["loc"] or kind == "string_unicode":
        text = f"{where or 'the document'}: {quote(first['input'])}: {_should(first, error.title)}"
    else:
        text = f"{where or 'the document'}: {_should(first, error.title)}"
    more = len(details) - 1
    return InputError(f"{text} (and {more} more)" if more else text, subject)


_valid: weakref.WeakValueDictionary[int, model.Vif] = weakref.WeakValueDictionary()
"""By id(), VIFs that were validated as they are: a copy is another object."""


def note_valid(vif: model.Vif) -> model.Vif:
    """Remember that this very object was validated, so that ``recheck`` need not repeat it."""
    _valid[id(vif)] = vif
    return vif


def recheck(vif: model.Vif, path: str) -> None:
    """Refuse an invalid VIF that was made without validation (``model_copy``, ``model_construct``).

    :raises InputError: naming the first invalid field.
    """
    if _valid.get(id(vif)) is vif:
        return
    try:
        model.Vif.model_validate(vif.model_dump(warnings=False))
    except ValidationError as error:
        raise invalid(error, path, {}) from None
    except (AttributeError, TypeError, ValueError) as error:  # pydantic's placeholder for a missing field
        raise InputError(f"{path}: it is not a complete VIF: {' '.join(str(error).split())}") from None
    note_valid(vif)


def _should(detail: ErrorDetails, root: str) -> str:
    """The valid form, in vifplug's words.

    :param root: the class that was validated.
    """
    kind = detail["type"]
    limits = detail.get("ctx", {})
    field = detail["loc"][-1] if detail["loc"] else ""
    if kind == "value_error":
        reason = limits.get("error")
        return _BY_TYPE["string_unicode"] if isinstance(reason, UnicodeError) else str(reason)
    if kind == "string_too_long":
        return f"it must be at most {limits.get('max_length')} characters long"
    if kind == "too_long":
        return f"it must have at most {limits.get('max_length')} entries"
    if kind not in ("model_type", "string_unicode") and field in _BY_FIELD:
        return _BY_FIELD[str(field)]
    # Types that the model does not raise today: pydantic's own text, as a clause.
    return _BY_TYPE.get(kind) or detail["msg"][:1].lower() + detail["msg"][1:]


def _valid_keys(loc: tuple[int | str, ...], root: str) -> str:
    models: dict[str, type[BaseModel]] = {"Vif": model.Vif, "Instance": model.Instance, **model.sub_models()}
    models["allowed_addresses"] = model.AllowedAddress
    models["uplink"] = Uplink
    part = next((key for key in reversed(loc[:-1]) if isinstance(key, str)), root)
    fields = list(models[part].model_fields)
    near = [_ALIASES.get(str(loc[-1]).lower(), ""), *difflib.get_close_matches(str(loc[-1]), fields, n=1)]
    hint = next((f" (did you mean {name!r}?)" for name in near if name in fields), "")
    return f"{hint}; valid keys: {', '.join(fields)}"
