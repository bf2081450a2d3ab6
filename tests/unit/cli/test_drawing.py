"""Pictures of a path and of a host in every format, compared with golden files; hostile names in each of them.

VIFPLUG_WRITE_GOLDEN=1 writes the files anew.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.cli.test_diagram import HYBRID, VIF, altered, path
from vifplug.cli.drawing import formats, graph, svg
from vifplug.model.reports import DeviceReport, PortReport, VifReport

GOLDEN = pathlib.Path(__file__).with_name("drawings")
HOSTILE = 'a"b\'<script>alert(1)</script>&\\]["`\x1b[31m\u202e;%%{'


def vif(number: int, state: str, **more: object) -> VifReport:
    vif_id = f"0000000{number}-1a1b-4fd9-8f4a-7cab3f9a425b"
    name = vif_id[:11]
    devices = (
        DeviceReport(name=f"qbr{name}", kind="bridge", up=True),
        DeviceReport(name=f"qvb{name}", kind="veth", up=True, master=f"qbr{name}"),
        DeviceReport(name=f"qvo{name}", kind="veth", up=True),
    )
    ports = (PortReport(bridge="br-int", name=f"qvo{name}", ofport=number, tag=1),)
    known: dict[str, object] = {"vif_type": "ovs-hybrid", "devices": devices, "ports": ports}
    return VifReport(id=vif_id, state=state, **{**known, **more})  # type: ignore[arg-type]


def on_network(number: int, state: str) -> VifReport:
    devices = (
        DeviceReport(name=f"tap{number}", kind="tap", master="brq1"),
        DeviceReport(name="brq1", kind="bridge"),
        DeviceReport(name="eth1.5", kind="vlan", master="brq1"),
    )
    return vif(number, state, vif_type="bridge", devices=devices, ports=())


VIFS = (
    vif(1, "active"),
    vif(2, "plugged", waiting_for="tap00000002-1a"),
    vif(3, "failed", error="no OVS bridge 'br-int'; the VIF is repaired once it is created"),
    on_network(4, "wired"),
    on_network(5, "drifted"),
    vif(6, "wired", vif_type="external", devices=(), ports=()),
)
GROUPS = graph.groups(VIFS, {"br-int": "system", "br-ex": "system"})
PATH = graph.of_path(path(*HYBRID))
BROKEN = graph.of_path(altered(3, state="missing"))
HOST = graph.of_host("compute-1", GROUPS)


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("path.svg", lambda: svg.svg(PATH)),
        ("broken.svg", lambda: svg.svg(BROKEN)),
        ("host.svg", lambda: svg.svg(HOST)),
        ("path.mermaid", lambda: formats.mermaid(PATH)),
        ("host.mermaid", lambda: formats.mermaid(HOST)),
        ("host.dot", lambda: formats.dot(HOST)),
        ("host.txt", lambda: formats.host_text(GROUPS)),
        ("host-ascii.txt", lambda: formats.host_text(GROUPS, unicode=False)),
    ],
)
def test_pictures(name: str, drawn: Callable[[], str]) -> None:
    file, text = GOLDEN / name, drawn() + "\n"
    if os.environ.get("VIFPLUG_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_svg_is_one_file_and_escapes_everything() -> None:
    hops = (replace(HYBRID[0], name=HOSTILE, note=HOSTILE), *HYBRID[1:])
    host = graph.of_host(HOSTILE, graph.groups([vif(1, "failed", error=HOSTILE)], {HOSTILE: "x"}))
    for picture in (graph.of_path(path(*hops)), host):
        text = svg.svg(picture)
        tags = {element.tag.split("}")[1] for element in ET.fromstring(text).iter()}
        assert tags <= {"svg", "title", "style", "text", "path", "g", "rect"}
        assert "href" not in text and "url(" not in text and "\x1b" not in text and "\u202e" not in text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_hostile_names_end_no_text_of_the_other_formats() -> None:
    picture = graph.of_host("h", graph.groups([vif(1, "failed", error=HOSTILE)], {}))
    drawn = formats.mermaid(picture)
    (line,) = [line for line in drawn.splitlines() if "script" in line]
    assert line.count('"') == 2 and "<script" not in line and "`" not in line and line.endswith(":::bad")
    (line,) = [line for line in formats.dot(picture).splitlines() if "script" in line]
    assert line.replace("\\\\", "").replace('\\"', "").count('"') == 2


def test_boxes_of_a_thousand_vifs_do_not_overlap() -> None:
    many = [replace(vif(1, "active"), id=f"{number:08}-1a1b-4fd9-8f4a-7cab3f9a425b") for number in range(1000)]
    text = svg.svg(graph.of_host("h", graph.groups([*many, *VIFS], {"br-int": "system"})))
    rects = [element.attrib for element in ET.fromstring(text).iter() if element.tag.endswith("rect")]
    by_column: dict[str, list[tuple[int, int]]] = {}
    for rect in rects:
        by_column.setdefault(rect["x"], []).append((int(rect["y"]), int(rect["y"]) + int(rect["height"])))
    assert len(rects) > 1000
    for places in by_column.values():
        places.sort()
        assert all(bottom <= top for (_, bottom), (top, _) in itertools.pairwise(places))


def test_graph_of_a_path_has_every_hop() -> None:
    assert [box.lines[0] for box in PATH.boxes] == [hop.name for hop in HYBRID]
    assert [line.look for line in BROKEN.lines].count(graph.BAD) == 2 and VIF.id in PATH.title
