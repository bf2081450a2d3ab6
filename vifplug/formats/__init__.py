"""External formats <-> model.Vif.

A document is JSON text, or its parsed content. It holds one VIF or a list of them: in vifplug's own format, as
Neutron ports, as Nova's network_info, or as serialised os-vif objects. Any error is a one-line errors.InputError
with the field, its value and a valid form.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vifplug.formats.document import Document
from vifplug.formats.text.json_text import parse

if TYPE_CHECKING:
    from vifplug.formats.loading import FORMATS, load, load_all
    from vifplug.formats.native import schema

__all__ = ["FORMATS", "Document", "load", "load_all", "parse", "schema"]

_WHERE = {"FORMATS": "loading", "load": "loading", "load_all": "loading", "schema": "native"}


def __getattr__(name: str) -> Any:
    """Import on first use: a document that is sent unread needs no model."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"vifplug.formats.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'vifplug.formats' has no attribute {name!r}")
