"""What a command works on: the VIFs of documents and of options, ids of files, and VIFs by their names."""

from __future__ import annotations

from vifplug.cli.inputs.documents import check, ids_if_many, vifs
from vifplug.cli.inputs.identities import ids, ids_of, ids_to_keep
from vifplug.cli.inputs.names import ids_or_absent, of_instance, resolved, with_id, with_ids

__all__ = [
    "check",
    "ids",
    "ids_if_many",
    "ids_of",
    "ids_or_absent",
    "ids_to_keep",
    "of_instance",
    "resolved",
    "vifs",
    "with_id",
    "with_ids",
]
