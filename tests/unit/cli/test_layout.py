"""Tables on a terminal: which columns fit at which width, and that no line is wider than the terminal."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
from rich.cells import cell_len

from tests.support.command_line import DRIFT, ORPHAN, OTHER_ID, REPORT, VIF_ID
from vifplug.cli import layout, tables, verbs_host
from vifplug.cli.arguments import Options
from vifplug.cli.layout import Screen, Shape, fit
from vifplug.doctor.findings import Diagnosis, Finding
from vifplug.model import durations, reports
from vifplug.model.events import Event

WIDTHS = (60, 80, 100, 200)
VIFS = Shape(
    headers=("ID", "TYPE", "STATE", "ADDRESS", "MTU", "BRIDGE", "DEVICES", "OFPORTS", "NOTE"),
    spare=("TYPE", "ADDRESS", "BRIDGE", "DEVICES", "OFPORTS", "MTU"),
    texts=("NOTE",),
)
HYBRID = (36, 10, 7, 17, 4, 6, 44, 1, 24)
OVS = (36, 3, 7, 17, 4, 6, 14, 1, 0)
ERROR = "set qvo71a6b0e4-1a mtu 9000, up on: the kernel refused it: " + "qvo71a6b0e4-1a " * 12 + "Invalid argument"
LONG = dataclasses.replace(REPORT, id=OTHER_ID, state="contended", bridge="br-" + "x" * 60, error=ERROR)
EVENT = Event(seq=41, vif_id=VIF_ID, state="failed", previous="plugged", time="2026-11-21T07:36:29.104Z", error=ERROR)


def screen(width: int, *, color: bool = False, unicode: bool = True) -> Screen:
    return Screen(terminal=True, color=color, unicode=unicode, width=width)


def names(shape: Shape, places: object) -> list[str]:
    return [shape.headers[place] for place in places]  # type: ignore[attr-defined]


def must_fit(text: str, width: int) -> None:
    wide = [line for line in text.splitlines() if cell_len(line) > width]
    assert wide == []


# The decision


@pytest.mark.parametrize(
    ("widths", "room", "beside", "below", "left_out"),
    [
        (HYBRID, 60, "ID TYPE STATE", "NOTE", "ADDRESS MTU BRIDGE DEVICES OFPORTS"),
        (HYBRID, 80, "ID TYPE STATE ADDRESS", "NOTE", "MTU BRIDGE DEVICES OFPORTS"),
        (HYBRID, 100, "ID TYPE STATE ADDRESS MTU BRIDGE OFPORTS", "NOTE", "DEVICES"),
        (HYBRID, 129, "ID TYPE STATE ADDRESS MTU BRIDGE OFPORTS NOTE", "", "DEVICES"),
        (HYBRID, 200, "ID TYPE STATE ADDRESS MTU BRIDGE DEVICES OFPORTS NOTE", "", ""),
        (OVS, 60, "ID TYPE STATE BRIDGE", "", "ADDRESS MTU DEVICES OFPORTS"),
        (OVS, 80, "ID TYPE STATE ADDRESS BRIDGE", "", "MTU DEVICES OFPORTS"),
        (OVS, 200, "ID TYPE STATE ADDRESS MTU BRIDGE DEVICES OFPORTS", "", ""),
        ((36, 10, 7, 17, 4, 90, 14, 1, 0), 100, "ID TYPE STATE ADDRESS MTU DEVICES", "", "BRIDGE OFPORTS"),
        ((36, 10, 7, 17, 4, 6, 400, 1, 0), 200, "ID TYPE STATE ADDRESS MTU BRIDGE OFPORTS", "", "DEVICES"),
        (HYBRID, 40, "ID", "STATE NOTE", "TYPE ADDRESS MTU BRIDGE DEVICES OFPORTS"),
        (HYBRID, 10, "ID", "STATE NOTE", "TYPE ADDRESS MTU BRIDGE DEVICES OFPORTS"),
    ],
)
def test_what_fits(widths: tuple[int, ...], room: int, beside: str, below: str, left_out: str) -> None:
    found = fit(VIFS, widths, room)
    assert names(VIFS, found.beside) == beside.split()
    assert names(VIFS, found.below) == below.split()
    assert names(VIFS, found.left_out) == left_out.split()


@pytest.mark.parametrize("room", range(36, 260))
def test_columns_are_as_wide_as_their_values_and_never_wider_than_the_terminal(room: int) -> None:
    for widths in (HYBRID, OVS, (36, 10, 10, 17, 5, 15, 46, 5, 300)):
        found = fit(VIFS, widths, room)
        assert sum(found.beside.values()) + 2 * (len(found.beside) - 1) <= room
        for place, width in found.beside.items():
            least = min(widths[place], layout.READABLE) if VIFS.headers[place] == "NOTE" else widths[place]
            assert width >= max(least, len(VIFS.headers[place]))


def test_more_room_takes_no_column_of_importance_away() -> None:
    important = ("ID", "STATE", "TYPE", "ADDRESS")
    shown = [set(names(VIFS, fit(VIFS, HYBRID, room).beside)) & set(important) for room in range(36, 260)]
    assert all(before <= after for before, after in itertools.pairwise(shown))


def test_texts_go_together() -> None:
    shape = Shape(headers=("VIF", "OBSERVED", "DESIRED"), texts=("OBSERVED", "DESIRED"))
    assert fit(shape, (36, 0, 14), 61).below == (1, 2)  # OBSERVED is empty, and says so
    assert fit(shape, (36, 0, 14), 62).beside == {0: 36, 1: 8, 2: 14}
    assert fit(shape, (36, 90, 90), 119).below == (1, 2)
    assert fit(shape, (36, 90, 90), 120).beside == {0: 36, 1: 40, 2: 40}
    assert fit(shape, (36, 0, 0), 120).beside == {0: 36}


# What is seen


def test_list_at_80_columns() -> None:
    two = [REPORT, dataclasses.replace(REPORT, id=OTHER_ID, state="active", waiting_for=None)]
    third = reports.DeviceReport(name="qvb71a6b0e4-1a", kind="veth")
    three = dataclasses.replace(REPORT, devices=(*REPORT.devices, third))
    head, rule, *rows = tables.vifs([*two, three], screen(80)).splitlines()
    assert head == "ID                                    TYPE        STATE    ADDRESS"
    assert rule.startswith("─" * 76) and not rule.strip("─")  # rich before 15 draws a character more
    assert rows == [
        f"{VIF_ID}  ovs-hybrid  plugged  fa:16:3e:eb:5e:26",
        "    note: waits for tap71a6b0e4-1a",
        f"{OTHER_ID}  ovs-hybrid  active   fa:16:3e:eb:5e:26",
        f"{VIF_ID}  ovs-hybrid  plugged  fa:16:3e:eb:5e:26",
        "    note: waits for tap71a6b0e4-1a",
        "Hidden: MTU, BRIDGE, DEVICES, OFPORTS, INSTANCE (wider terminal, -o wide)",
    ]


def test_list_with_room_has_every_column_and_no_last_line() -> None:
    head, _, row = tables.vifs([REPORT], screen(200)).splitlines()
    headers = list(VIFS.headers)
    assert head.split() == [*headers[:-1], "INSTANCE", headers[-1]]
    assert row.endswith("  3        vm-1      waits for tap71a6b0e4-1a")
    assert "NOTE" not in tables.vifs([dataclasses.replace(REPORT, waiting_for=None)], screen(200))


@pytest.mark.parametrize("width", range(60, 260))
def test_no_line_is_wider_than_the_terminal_and_the_id_is_whole(width: int) -> None:
    drifted = reports.VifCheck(id=VIF_ID, state="drifted", drift=(DRIFT, dataclasses.replace(DRIFT, observed=ERROR)))
    orphans = (ORPHAN, dataclasses.replace(ORPHAN, vif_id=f"net:{OTHER_ID}"))
    texts = [
        tables.vifs([REPORT, LONG], screen(width)),
        tables.unplugged([REPORT, LONG], screen(width)),
        tables.single_vif(LONG, screen(width)),
        tables.check(reports.CheckReport(vifs=(drifted,), orphans=orphans), screen(width)),
        tables.gc(reports.GcReport(orphans=orphans), screen(width)),
        tables.events([EVENT], screen(width)),
        tables.Followed(screen(width)).head(),
        tables.Followed(screen(width)).line(EVENT),
        tables.Followed(screen(width)).line(dataclasses.replace(EVENT, seq=10**6, state="unplugging")),
    ]
    for text in texts:
        must_fit(text, width)
    assert VIF_ID in texts[0] and OTHER_ID in texts[0] and texts[1].count(OTHER_ID) == 1
    for text in (texts[0], texts[2], texts[3], texts[5], texts[7], texts[8]):
        assert " ".join(text.split()).count("qvo71a6b0e4-1a") >= 13  # a text is folded, and not cut


@pytest.mark.parametrize("width", (60, 80))
def test_check_without_room_says_beneath_what_is_wrong(width: int) -> None:
    found = reports.CheckReport(vifs=(reports.VifCheck(id=VIF_ID, state="drifted", drift=(DRIFT,)),))
    head, _, *row = tables.check(found, screen(width)).splitlines()
    assert head.split() == ["VIF", "SUBJECT"]
    assert row == [f"{VIF_ID}  qvb71a6b0e4-1a", "    attribute: mtu  observed: 1400  desired: 1450"]


def test_followed_events_at_80_columns() -> None:
    shown = tables.Followed(screen(80))
    assert shown.head().splitlines()[:2] == [
        "Hidden: PREVIOUS (wider terminal, -o wide)",
        "SEQ    TIME                     VIF                                   EVENT",
    ]
    each = dataclasses.replace(EVENT, error=None)
    assert shown.line(each) == f"41     {durations.local(EVENT.time)}  {VIF_ID}  failed"


def test_followed_event_that_is_wider_than_was_thought_has_a_head_of_its_own() -> None:
    shown = tables.Followed(screen(80))
    late = dataclasses.replace(EVENT, seq=1_000_000, state="contended", error=None)
    hidden, head, _rule, row = shown.line(late).splitlines()
    assert [hidden, head, row] == [
        "Hidden: TIME (wider terminal, -o wide)",
        "SEQ      VIF                                   EVENT      PREVIOUS",
        f"1000000  {VIF_ID}  contended  plugged",
    ]
    assert shown.line(dataclasses.replace(late, seq=1_000_001)) == f"1000001  {VIF_ID}  contended  plugged"


def test_check_has_a_row_for_a_vif_that_failed_and_has_no_drift() -> None:
    found = reports.CheckReport(vifs=(reports.VifCheck(id=VIF_ID, state="failed"),))
    assert tables.check(found, Screen()).splitlines()[1].split() == [VIF_ID, "-", "state", "failed", "-"]
    assert tables.check(found, screen(80)).splitlines()[2:] == [
        f"{VIF_ID}  -        state      failed    -",
    ]


def test_values_are_no_markup() -> None:
    odd = dataclasses.replace(REPORT, bridge="[red]b", error=":smile: [bold]1.5[/bold]")
    text = tables.vifs([odd], screen(200, color=True))
    assert "[red]b" in text and ":smile: [bold]1.5[/bold]" in text


def test_colours_take_no_room_and_are_left_out_where_there_are_none() -> None:
    plain, colored = (tables.vifs([REPORT, LONG], screen(80, color=color)) for color in (False, True))
    assert "\x1b" not in plain and "\x1b[32mplugged  \x1b[0m" in colored
    assert colored.splitlines()[-1].startswith("\x1b[2m")
    assert [re.sub(r"\x1b\[\d+m", "", line).rstrip() for line in colored.splitlines()] == plain.splitlines()


def test_doctor_folds_under_the_check_and_only_on_a_terminal() -> None:
    finding = Finding(check="vifs", status="error", subject=VIF_ID, reason=ERROR, remedy="vifplug repair " * 9)
    found, options = Diagnosis(findings=(finding,)), Options(verb="doctor")
    whole = verbs_host._read(found, options, Screen())
    assert whole.count("\n") == 3
    for width in WIDTHS:
        text = verbs_host._read(found, options, screen(width))
        must_fit(text, width)
        assert text.split() == whole.split()
        assert all(
            line.startswith(("error    vifs: ", " " * 9)) for line in text.partition("Looked at")[0].splitlines()
        )
