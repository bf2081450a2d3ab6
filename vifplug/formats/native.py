"""vifplug's own format: the model of a VIF, spelled in JSON. Nothing in it is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.formats.reader import Entry
from vifplug.model import vif as model

NAME = "vif"
KEYS = ("id", "vif_type", "address")

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EXAMPLES: list[dict[str, Any]] = [
    {
        "id": "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
        "vif_type": "ovs-hybrid",
        "address": "fa:16:3e:eb:5e:26",
        "network": {"id": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24", "bridge": "br-int", "mtu": 1450},
        "instance": {"uuid": "c0ffee00-1111-4222-8333-000000000011", "name": "web-1"},
    },
    {
        "id": "3fe5648f-4734-49a7-9fef-daa6f86f6799",
        "vif_type": "ovs",
        "address": "fa:16:3e:95:3a:3d",
        "network": {"bridge": "br-int", "mtu": 9000},
        "create_tap": True,
        "tap_owner": {"uid": 64055, "gid": 64055},
        "multiqueue": True,
        "isolate": True,
    },
    {
        "id": "81ab5618-df3e-4999-932a-1263b7886e5a",
        "vif_type": "bridge",
        "address": "fa:16:3e:b9:2c:38",
        "network": {"id": "899b9b97-ffd5-4ae9-86fc-85fe844447d0"},
        "names": {"tap": "web-1-eth0"},
    },
    {
        "id": "4fe5648f-4734-49a7-9fef-daa6f86f6799",
        "vif_type": "vhost-user",
        "address": "fa:16:3e:95:3a:3e",
        "network": {"bridge": "br-int", "mtu": 1450},
        "vhost_user": {"socket": "/var/lib/vhost_sockets/vhu4fe5648f-47", "mode": "server"},
    },
]


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether an object is in our format, by its keys; also one without vif_type, so that the error can name that."""
    return "vif_type" in data or ("address" in data and "type" not in data and "mac_address" not in data)


def read(entry: Entry) -> model.Vif:
    """The VIF. The drivers decide which vif_types exist, not this format.

    :raises InputError: for a wrong field or an unknown key.
    """
    return entry.vif(entry.data, {})


def schema() -> dict[str, Any]:
    """The JSON Schema of this format."""
    generated = model.Vif.model_json_schema(mode="validation")
    return {
        "$schema": _DIALECT,
        **generated,
        "title": "VIF",
        "description": "One guest interface and how vifplug is to plug it. A file holds one, or a list of them.",
        "examples": _EXAMPLES,
    }
