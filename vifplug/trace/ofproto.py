"""Reads what ovs-appctl prints: ``ofproto/trace``, ``fdb/show`` and ``dpif/dump-flows``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vifplug.trace.values import Station

_TABLE = re.compile(r"^\s*(\d+)\. (.+)$")
_BRIDGE = re.compile(r'^bridge\("(.+)"\)$')
_ACTIONS = "Datapath actions: "
_ENTRY = re.compile(r"^\s*(\S+)\s+(\d+)\s+([0-9a-f:]{17})\s+(\S+)\s*$")
_NAME = re.compile(r"^[A-Za-z0-9_.:@+-]+$")
_NO_OUTPUT = ("drop", "recirc", "hash", "trunc")
_NO_MATCH = "No match."
_LAST_LINES_MAX = 2


@dataclass(frozen=True, slots=True)
class Way:
    """The result of ``ofproto/trace``."""

    actions: str
    """Of the datapath, as printed; that of the last round if a frame is recirculated."""
    outputs: frozenset[str]
    """Ports that get the frame, and ``controller``."""
    reason: str
    """The last table and flow that handled it, and what that did."""


def way(text: str) -> Way:
    """The way of a frame; an empty text has no actions."""
    bridge, last, notes = "", "", list[str]()
    actions = [line.partition(_ACTIONS)[2].strip() for line in text.splitlines() if line.startswith(_ACTIONS)]
    for line in text.splitlines():
        table, header = _TABLE.match(line), _BRIDGE.match(line)
        if header:
            bridge = header.group(1)
        elif table:
            flow = table.group(2).strip()
            rule = "no flow matches" if flow == _NO_MATCH else f"flow {flow!r}"
            last, notes = f"table {table.group(1)} of {bridge}: {rule}", []
        elif last and line.startswith(" ") and line.strip():
            notes.append(line.strip().removeprefix("-> ").removeprefix(">> ").rstrip("."))
    result = ", ".join(notes[-_LAST_LINES_MAX:])
    outputs = frozenset(name for each in actions for name in _outputs(each))
    return Way(actions=actions[-1] if actions else "", outputs=outputs, reason=": ".join(filter(None, (last, result))))


def _outputs(actions: str) -> Iterator[str]:
    """The ports among datapath actions; arguments in parentheses are of other actions."""
    depth, word = 0, ""
    for char in f"{actions},":
        depth += (char == "(") - (char == ")")
        if char == "," and depth <= 0:
            name = word.strip()
            if name.startswith("userspace") and "controller" in name:
                yield "controller"
            elif _NAME.match(name) and not name.startswith(_NO_OUTPUT) and not name.startswith(("ct", "pop_", "push_")):
                yield name
            elif name.startswith(("tnl_push", "clone")):
                yield name.partition("(")[0]
            word = ""
        else:
            word += char


def stations(text: str, bridge: str, ports: Mapping[str, str]) -> list[Station]:
    """The entries of ``fdb/show``.

    :param ports: names of ports by their OpenFlow number.
    """
    entries = (_ENTRY.match(line) for line in text.splitlines())
    return [
        Station(
            bridge=bridge,
            port=ports.get(entry.group(1), entry.group(1)),
            address=entry.group(3),
            vlan=int(entry.group(2)),
            kind="learnt" if entry.group(4).isdigit() else "static",
            age=float(entry.group(4)) if entry.group(4).isdigit() else None,
        )
        for entry in entries
        if entry
    ]


def flows_of(text: str, address: str, port: str) -> list[str]:
    """The flows of ``dpif/dump-flows`` that concern a guest: those with its MAC, or from or to its port."""
    words = (f"={address}", f"in_port({port})")
    return [line.strip() for line in text.splitlines() if any(word in line for word in words)]


def drops_frames(flow: str) -> bool:
    """Whether a flow of the datapath has dropped frames."""
    return flow.endswith("actions:drop") and "packets:0," not in flow
