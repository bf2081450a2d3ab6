"""A picture in Mermaid's language, in Graphviz's, and a host as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.cli.drawing.graph import BAD, GOOD, HOST_CLAIMS, PLAIN, WAITING, BridgeGroup, Graph, path_of
from vifplug.cli.tables import printable
from vifplug.model import reports

_DOT_BOXES = {BAD: ", color=red, fontcolor=red", WAITING: ", color=orange", GOOD: "", PLAIN: ""}
_DOT_LINES = {BAD: ' [color=red, style=dashed, label="broken"]', WAITING: " [style=dotted]", GOOD: "", PLAIN: ""}
_MERMAID_LINES = {BAD: "-. broken .-", WAITING: "-.-", GOOD: "---", PLAIN: "---"}
_CLASSES = {BAD: "fill:#fde2e1,stroke:#b3261e,color:#601410", WAITING: "fill:#fff4d6,stroke:#8a6100,color:#3d2b00"}
_BAD = (reports.DRIFTED, reports.CONTENDED, reports.FAILED)
_MARKS = {reports.ACTIVE: "●", reports.WIRED: "●", reports.PLUGGED: "◌"}
_ASCII_MARKS = {reports.ACTIVE: "*", reports.WIRED: "*", reports.PLUGGED: "~"}


def dot(graph: Graph) -> str:
    """For Graphviz."""
    lines = [f"graph {_quoted(graph.title)} {{", "  rankdir=LR;", '  node [shape=box, fontname="monospace"];']
    for place, box in enumerate(graph.boxes):
        lines.append(f"  b{place} [label={_quoted(*box.lines)}{_DOT_BOXES[box.look]}];")
    lines += [f"  b{line.near} -- b{line.far}{_DOT_LINES[line.look]};" for line in graph.lines]
    return "\n".join([*lines, "}"])


def _quoted(*lines: str) -> str:
    """A quoted ID of the dot language."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def mermaid(graph: Graph) -> str:
    """A Mermaid flowchart, which GitHub and many wikis draw."""
    lines = ["---", f"title: {_yaml(graph.title)}", "---", "flowchart LR"]
    for place, box in enumerate(graph.boxes):
        style = f":::{box.look}" if box.look in _CLASSES else ""
        lines.append(f'  b{place}["{"<br/>".join(map(_entities, box.lines))}"]{style}')
    lines += [f"  b{line.near} {_MERMAID_LINES[line.look]} b{line.far}" for line in graph.lines]
    lines += [f"  classDef {look} {style}" for look, style in _CLASSES.items()]
    return "\n".join(lines)


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _entities(text: str) -> str:
    """Text as Mermaid shows it: everything that its language or HTML could read otherwise is a numbered entity."""
    return "".join(char if char.isalnum() or char in " .:,_-()/" else f"#{ord(char)};" for char in text)


def host_text(groups: Sequence[BridgeGroup], *, unicode: bool = True) -> str:
    """A host as a tree: bridges, their uplinks, their VIFs."""
    if not groups:
        return "no bridges and no VIFs"
    marks, bad = (_MARKS, "✗") if unicode else (_ASCII_MARKS, "!")
    tee, last, side = ("├─", "└─", "│ ") if unicode else ("|-", "`-", "| ")
    lines: list[str] = []
    for group in groups:
        lines.append("  ".join(part for part in (printable(group.name), group.kind) if part))
        entries = [f"uplink {printable(name)}" for name in group.uplinks]
        for vif in group.vifs:
            mark = bad if vif.state in _BAD else marks.get(vif.state, marks[reports.PLUGGED])
            entries.append(f"{mark} {vif.id}  {vif.state:<9}  {printable(path_of(vif))}".rstrip())
            if vif.error:
                entries[-1] += f"\n{{side}}  {printable(vif.error)}"
        if not entries:
            entries.append("no VIFs")
        for place, entry in enumerate(entries):
            is_last = place == len(entries) - 1
            lines.append(f"{last if is_last else tee} {entry}".replace("{side}", "  " if is_last else side))
        lines.append("")
    return "\n".join([*lines, str(HOST_CLAIMS)])
