"""Hooks of schemathesis: adapt generated values to this host, because otherwise the first check would refuse nearly
every request.

Ids become those of a few VIFs, so that a request finds the results of others, and many documents become valid ones,
with a part of the generated values. The rest is sent unchanged.
"""

from __future__ import annotations

import os
import random
from typing import Any

import schemathesis

IDS = (
    "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
    "71a6b0e4-1a1b-4fd9-8f4a-000000000000",  # cut to a device's name, the same as the one before
    "81ab5618-df3e-4999-932a-1263b7886e5a",
    "3fe5648f-4734-49a7-9fef-daa6f86f6799",
)
"""The possible VIFs."""
STRANGERS = ("foreignbr", "foreignveth", "qbr81ab5618-df", "tap3fe5648f-47", "br-foreign", "br-int", "lo")
"""Names that requests may ask for and must not get, or not change."""

_TYPES = ("ovs-hybrid", "ovs", "bridge")
_LEFT_ALONE = 0.3
_random = random.Random(os.environ.get("VIFPLUG_SEED", ""))


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Steer one request."""
    if _random.random() < _LEFT_ALONE:
        return
    vif_id = _random.choice(IDS)
    if case.path_parameters and "id" in case.path_parameters:
        case.path_parameters["id"] = vif_id
    body = case.body
    if case.operation.method.lower() == "put":
        case.body = _document(vif_id, body)
        # Generated values beside the document are wrong more often than not.
        for name in list(case.query or {}):
            if _random.random() < 0.7:
                del case.query[name]
    elif isinstance(body, dict) and "batch" in case.operation.path:
        case.body = _batch()
    elif isinstance(body, dict) and "ids" in body:
        case.body = {"ids": [*_random.sample(IDS, _random.randint(0, 2))]}


def _batch() -> dict[str, Any]:
    ids = _random.sample(IDS, _random.randint(1, 2))
    if _random.random() < 0.5:
        return {"unplug": ids}
    return {"plug": [_document(vif_id, {}) for vif_id in ids], "dry_run": _random.random() < 0.3}


def _document(vif_id: str, made_up: object) -> dict[str, Any]:
    number = IDS.index(vif_id)
    document: dict[str, Any] = {
        "id": vif_id,
        # Mostly the same type, which a VIF keeps while it is plugged.
        "vif_type": _TYPES[number % 3] if _random.random() < 0.8 else _random.choice(_TYPES),
        "address": f"fa:16:3e:00:00:{number:02x}",
        "network": {"id": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24"},
    }
    for key, value in made_up.items() if isinstance(made_up, dict) else ():
        if key not in ("id", "address") and _random.random() < 0.3:
            document[key] = value
    if _random.random() < 0.2:
        document["names"] = {_random.choice(("qbr", "qvb", "qvo", "tap")): _random.choice(STRANGERS)}
    if _random.random() < 0.2:
        document["network"] = {
            "bridge": _random.choice(STRANGERS),
            "mtu": _random.choice((68, 1280, 1500, 9000, 65535)),
        }
    return document
