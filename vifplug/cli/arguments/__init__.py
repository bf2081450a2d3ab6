"""The command line's words: the options, the forms of their values, the verbs, and the parser that reads them."""

from __future__ import annotations

from vifplug.cli.arguments.options import DOCUMENTS, FORMATS, GUESTS, JSON, NAME, STDIN, TABLE, WIDE, YAML, Options
from vifplug.cli.arguments.parser import parse, wants_json
from vifplug.cli.arguments.values import canonical_id

__all__ = [
    "DOCUMENTS",
    "FORMATS",
    "GUESTS",
    "JSON",
    "NAME",
    "STDIN",
    "TABLE",
    "WIDE",
    "YAML",
    "Options",
    "canonical_id",
    "parse",
    "wants_json",
]
