"""What is known, and told to a person, while something is done to many VIFs."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Sequence

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.command_line import OTHER_ID, VIF_ID, Notes, Run
from tests.support.fake_host import FakeHost
from vifplug.cli import output
from vifplug.cli.terminal import progress
from vifplug.engine.host import Settle
from vifplug.engine.plan import plan
from vifplug.engine.plan.actions import Action
from vifplug.errors import HostError, LinkError
from vifplug.model import reports
from vifplug.model.reports import Progress
from vifplug.resources.observed import Observed
from vifplug.store import records

ALL = [builders.vif("ovs-hybrid"), builders.vif("ovs"), builders.vif("bridge")]
STEPS = 13
LINKS, PORTS = 4, 1


class Watched(FakeHost):
    """Notes how far the request of each call's VIFs is known to have come."""

    plugger: Plugger

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Progress] = []

    def apply(self, stages: Sequence[Sequence[Action]], settle: Settle | None = None) -> Observed:
        if stages:
            self.seen.append(self.plugger.under_way.of(ALL[0].id))
        return super().apply(stages, settle)


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A host on which three VIFs are many."""
    monkeypatch.setattr(plan, "_TOGETHER_MAX", {"links": LINKS, "ports": PORTS})
    host = Watched()
    host.plugger = builders.plugger(tmp_path, host)
    return host


def test_long_plan_goes_in_bounded_calls_and_says_how_far_it_is(host: Watched) -> None:
    host.plugger.plug(ALL)
    assert [each.done for each in host.seen] == [0, 4, 8, 11, 12], (
        "11 actions on links, 4 at a time; 2 ports, one by one"
    )
    assert {each.total for each in host.seen} == {STEPS} == {len(host.applied)}
    assert host.plugger.under_way.of(ALL[0].id) == Progress(done=0, total=0)


@pytest.mark.parametrize("step", range(STEPS))
def test_long_plan_that_fails_at_any_step_leaves_the_host_as_it_was(host: Watched, step: int) -> None:
    host.fail_at = step
    with pytest.raises(LinkError):
        host.plugger.plug(ALL)
    assert not (host.links or host.ports or host.qos)
    assert host.plugger.store.contents() == records.Contents()
    assert host.plugger.under_way.of(ALL[0].id) == Progress(done=0, total=0)


def test_of_one_vif_nothing_is_kept(host: Watched) -> None:
    host.plugger.plug(ALL[:1])
    assert set(host.seen) == {Progress(done=0, total=0)}


def test_repair_and_unplug_of_many_count_vifs(host: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vifplug.engine.commands.unplug._CHUNK", 1)
    host.plugger.plug(ALL)
    for each in ALL:
        name = next(link.name for link in host.links.values() if link.owner == each.id)
        host._set(name, {"mtu": 1300}, each.id)
    host.seen.clear()
    host.plugger.repair([each.id for each in ALL])
    assert host.seen == [Progress(done=done, total=3) for done in range(3)]
    host.seen.clear()
    host.plugger.unplug([each.id for each in ALL])
    assert set(host.seen) == {Progress(done=done, total=3) for done in range(3)}


# -- told -----------------------------------------------------------------------------------------------------


def test_a_line_a_second_while_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(output, "show_progress", said.append)
    counts = iter([0, 1, 1, 3])

    def done(seconds: float) -> bool:
        assert seconds == 1
        return len(said) == 2

    progress.print_progress(lambda: Progress(done=next(counts), total=4), "VIFs are unplugged", done)
    assert said == ["1 of 4 VIFs are unplugged", "3 of 4 VIFs are unplugged"]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person at a terminal reads, for whom time flies."""
    lines: list[str] = []
    monkeypatch.setattr(output, "is_interactive", lambda: True)
    monkeypatch.setattr(output, "show_progress", lines.append)
    monkeypatch.setattr(progress, "_PAUSE_SECONDS", 0.001)
    return lines


def half_way(library: Notes, verb: str, said: list[str]) -> None:
    """Let the verb last until something was said of its being half done."""
    library.answers["progress"] = Progress(done=1, total=2)
    reported = threading.Event()
    real = said.append

    def tell(line: str) -> None:
        real(line)
        if " of " in line:
            reported.set()

    def answer() -> list[reports.VifReport]:
        assert reported.wait(5), "nothing was said"
        return [reports.VifReport(id=each, state="unplugged") for each in (VIF_ID, OTHER_ID)]

    output.show_progress = tell  # the fixture takes it back
    library.answers[verb] = answer


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (("unplug", VIF_ID, OTHER_ID), ["unplugging 2 VIFs ...", "1 of 2 VIFs are unplugged"]),
        (("repair", VIF_ID, OTHER_ID), ["repairing 2 VIFs ...", "1 of 2 VIFs are done"]),
    ],
)
def test_many_are_announced_and_followed(
    run: Run, library: Notes, said: list[str], argv: tuple[str, ...], lines: list[str]
) -> None:
    half_way(library, argv[0], said)
    assert run(*argv).code == 0
    assert said == lines
    assert ("progress", VIF_ID) in library.calls


@pytest.mark.parametrize("argv", [("unplug", VIF_ID), ("repair", VIF_ID), ("unplug", VIF_ID, OTHER_ID, "-o", "json")])
def test_of_one_or_to_a_program_nothing_is_printed(
    run: Run, library: Notes, said: list[str], argv: tuple[str, ...]
) -> None:
    assert run(*argv).code == 0
    assert not said
    assert all(verb != "progress" for verb, _asked in library.calls)


def test_daemon_that_does_not_say_how_far_it_is_changes_nothing(run: Run, library: Notes, said: list[str]) -> None:
    library.answers["progress"] = HostError("a daemon of an older version")
    assert run("unplug", VIF_ID, OTHER_ID).code == 0
    assert said == ["unplugging 2 VIFs ..."]
