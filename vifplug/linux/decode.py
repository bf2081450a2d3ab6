"""Converts links and rows of the privileged side, which are primitives, to resources. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort

_OBSERVED = ("name", "ifindex", "carrier")
_PASSAGE = {"slave_kind": "", "impeded": {}}


@kinds.derived
def _fields(name: str) -> tuple[str, ...]:
    """The observed fields of a kind: those of its attributes, and a few more."""
    kind = kinds.link_of(name)
    there = {field.name for field in dataclasses.fields(kind)}
    return (*_OBSERVED, *(name for name in kind.attributes.by_name if name in there))


def members(links: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The members of every bridge among the links."""
    on: dict[str, list[str]] = {name: [] for name, link in links.items() if kinds.has_members(link["kind"])}
    for name, link in links.items():
        if link["master"] in on:
            on[link["master"]].append(name)
    return {name: tuple(sorted(names)) for name, names in on.items()}


def link(values: Mapping[str, Any]) -> Link:
    """One link."""
    cls = kinds.link_of(values["kind"])
    if cls.is_function:  # it shows only the fields of its kind
        return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values})
    fields: dict[str, Any] = {name: values.get(name) for name in _fields(values["kind"])}
    fields |= {name: values.get(name, default) for name, default in _PASSAGE.items()}
    other_kind = values["kind"] if cls is Link else ""
    return cls(owner=naming.owner_of(values["alias"]), other_kind=other_kind, **fields)


def bridge(name: str, row: Mapping[str, Any]) -> OvsBridge:
    """One Bridge row."""
    return OvsBridge(name=name, **{**row, "members": tuple(row.get("members", ()))})


def port(row: Mapping[str, Any]) -> OvsPort:
    """One Port row with its Interface."""
    return OvsPort(**{**row, "trunks": tuple(row["trunks"])})
