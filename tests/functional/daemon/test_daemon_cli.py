"""The command line through the daemon and by itself: one is as the other, and both at a time are safe."""

from __future__ import annotations

import contextlib
import errno
import grp
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest

from tests.functional.ownership.test_ownership import KINDS
from tests.functional.plug.test_concurrency import all_at_once, beside_notes, is_clean
from tests.functional.plug.test_plug_formats import REFUSED
from tests.functional.plug.test_plug_formats import WHOLE as SAMPLES
from tests.support.daemon.daemon_variants import daemon_without_reconciler
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.faults.faults import device, document, vif
from tests.support.scenarios import ABSENT, WHOLE, Scene
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request, must_link
from tests.support.world.daemons import wait_until
from tests.support.world.forked import Command
from tests.support.world.world import World
from vifplug.cli import main

LOCAL = "--local"
GROUP, NOGROUP = grp.getgrgid(1), grp.getgrgid(65534)
_VARYING = (
    # updated_at, absent_since
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "TIME"),
    (re.compile(r'("?(?:ifindex|ofport)"?)(: |=| )\d+'), r"\1\2N"),
    # The columns DEVICES and OFPORTS of a table, and widths of columns that follow from them.
    (re.compile(r"( (?:q|t|brq)\S+ +)[\d,]+( |$)", re.M), r"\1N\2"),
    (re.compile(r"(cur_cfg|next_cfg) \d+"), r"\1 N"),
    (re.compile(r" +"), " "),
)


def steady(text: str) -> str:
    """Text without what differs from one plug to the next."""
    for pattern, stand_in in _VARYING:
        text = pattern.sub(stand_in, text)
    return text


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str


@dataclass
class Journal:
    """Commands run in one of the two ways, and what each said. In this process: a hundred start in no time."""

    world: World
    way: Sequence[str]
    said: list[Said] = field(default_factory=list)

    def run(self, *words: str, input: str = "") -> Said:
        """One command, written down."""
        out, err, stdin = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(input.encode()))
        argv = ["--config-file", str(self.world.config_file), *self.way, *words]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch("sys.stdin", stdin):
            code = main.main(argv)
        self.said.append(Said(words, code, steady(out.getvalue()), steady(err.getvalue())))
        return Said(words, code, out.getvalue(), err.getvalue())

    def in_all_forms(self, *words: str, input: str = "") -> int:
        """One command that changes nothing, as table and as JSON; its exit code."""
        as_table, as_json = (self.run(*form, *words, input=input) for form in ((), ("-o", "json")))
        assert as_table.code == as_json.code, (as_table, as_json)
        return as_json.code


Story = Callable[[Journal], None]


@pytest.fixture
def served(world: World) -> Iterator[World]:
    """A world with a daemon that changes nothing by itself."""
    with daemon_without_reconciler(world):
        yield world


def is_same(world: World, story: Story) -> None:
    """The story in both ways, in the same world, which it must leave as it was."""
    before, journals = world.snapshot(), []
    for way in ((LOCAL,), ()):
        journals.append(Journal(world, way))
        story(journals[-1])
        assert world.snapshot() == before, f"left by {way}"
    by_itself, by_daemon = (journal.said for journal in journals)
    for each, other in zip(by_itself, by_daemon, strict=True):
        assert other == each


# -- the same to see ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_is_plugged_shown_and_unplugged(served: World, samples: Path, sample: str) -> None:
    file = str(samples / sample)

    def story(journal: Journal) -> None:
        assert journal.in_all_forms("plug", file, "--mtu", "1442", "--dry-run") == 0
        plugged = journal.run("-o", "json", "plug", file, "--mtu", "1442")
        ids = [each["id"] for each in json.loads(plugged.out)["vifs"]]
        assert journal.in_all_forms("plug", file, "--mtu", "1442") == 0
        assert journal.in_all_forms("plug", file, "--mtu", "1442", "--dry-run") == 0
        for words in (("list",), ("check",), ("check", *ids), ("gc",), ("repair", "--all"), ("repair", *ids)):
            assert journal.in_all_forms(*words) == 0, words
        for vif_id in ids:
            assert journal.in_all_forms("show", vif_id) == 0
            assert journal.in_all_forms("diagram", vif_id) == 0
            assert journal.in_all_forms("diagram", vif_id, "--format", "dot") == 0
        journal.run("-o", "json", "unplug", "-f", file)
        journal.run("unplug", *ids)
        assert journal.in_all_forms("list") == 0

    is_same(served, story)


@pytest.mark.parametrize("sample", REFUSED)
def test_sample_that_is_refused(served: World, samples: Path, sample: str) -> None:
    def story(journal: Journal) -> None:
        assert journal.in_all_forms("plug", str(samples / sample)) == 2

    is_same(served, story)


def test_unknown_ids_and_bad_input(served: World) -> None:
    twice = json.dumps([HYBRID.document, HYBRID.document])
    no_network = HYBRID.but(vif_type="bridge", network=None).text

    def story(journal: Journal) -> None:
        for verb in ("show", "check", "repair", "diagram"):
            assert journal.in_all_forms(verb, OVS.id) == 2
        assert journal.in_all_forms("unplug", OVS.id) == 0
        for text in (twice, no_network, "{", "{}", HYBRID.but(mtu=1).text, HYBRID.but(vif_type="mystery").text):
            assert journal.in_all_forms("plug", "-", input=text) == 2, text
        assert journal.in_all_forms("plug", "-", "--dry-run", input=twice) == 2
        assert journal.in_all_forms("plug", "/nowhere") == 2
        assert journal.in_all_forms("unplug", "nonsense") == 2

    is_same(served, story)


@pytest.mark.parametrize("wanted", [HYBRID, OVS, BRIDGE], ids=lambda each: each.type)
def test_drift_is_found_and_put_right(served: World, wanted: Request) -> None:
    def story(journal: Journal) -> None:
        journal.run("plug", "-", input=wanted.text)
        link = wanted.port
        served.ip("link", "set", link, "down")
        served.ip("link", "set", link, "mtu", "1300")
        assert journal.in_all_forms("check") == 3
        assert journal.in_all_forms("check", wanted.id) == 3
        assert journal.in_all_forms("show", wanted.id) == 0
        assert journal.in_all_forms("diagram", wanted.id) == 0
        assert journal.in_all_forms("plug", "-", "--dry-run", input=wanted.text) == 0
        assert journal.run("-o", "json", "repair", wanted.id).code == 0
        assert journal.in_all_forms("check") == 0
        served.ip("link", "delete", link)
        assert journal.in_all_forms("check") == 3
        assert journal.run("repair", "--all").code == 0
        assert must_link(served, link)["mtu"] == 1450
        journal.run("unplug", wanted.id)

    is_same(served, story)


def test_conflict_names_the_holder(served: World) -> None:
    each, other = vif("ovs-hybrid"), vif("ovs-hybrid", 2, names={"qbr": device("qbr", vif("ovs-hybrid"))})

    def story(journal: Journal) -> None:
        KINDS["veth"](served, device("qvo", each))
        assert journal.in_all_forms("plug", "-", input=document([each])) == 4
        assert journal.in_all_forms("plug", "-", "--dry-run", input=document([each])) == 4
        served.ip("link", "delete", device("qvo", each))
        assert journal.run("plug", "-", input=document([each])).code == 0
        assert journal.in_all_forms("plug", "-", input=document([other])) == 4
        again = document([each.model_copy(update={"vif_type": "ovs"})])
        assert journal.in_all_forms("plug", "-", input=again) == 4
        journal.run("unplug", each.id)

    is_same(served, story)


def test_failure_warning_and_what_is_missing(served: World) -> None:
    elsewhere = HYBRID.but(network={"bridge": "br-none"})
    believer = OVS.but(network={"datapath_type": "system"})

    def story(journal: Journal) -> None:
        assert journal.in_all_forms("plug", "-", input=elsewhere.text) == 1
        assert journal.in_all_forms("plug", "-", "--dry-run", input=elsewhere.text) == 1
        assert "datapath" in journal.run("-o", "json", "plug", "-", input=believer.text).err
        journal.run("unplug", OVS.id)

    is_same(served, story)


def test_orphans_are_listed_and_deleted(served: World) -> None:
    elsewhere = served.directory / "another.conf"
    text = served.config_file.read_text()
    elsewhere.write_text(text.replace(str(served.state_dir), str(served.directory / "another")))
    other = vif("ovs")  # one tap and its port: the order of more is nobody's promise

    def story(journal: Journal) -> None:
        served.vifplug("--config-file", str(elsewhere), LOCAL, "plug", "-", input=document([other]))
        assert journal.in_all_forms("check") == 3
        assert journal.in_all_forms("gc") == 0
        assert journal.run("-o", "json", "gc", "--delete").code == 0
        assert journal.in_all_forms("gc", "--delete") == 0
        assert journal.in_all_forms("check") == 0
        served.vifplug("--config-file", str(elsewhere), LOCAL, "unplug", other.id)

    is_same(served, story)


def test_open_vswitch_away(world: World) -> None:
    world.write_config(ovs={"timeout": "1"})
    with daemon_without_reconciler(world):

        def story(journal: Journal) -> None:
            journal.run("plug", "-", input=HYBRID.text)
            world.pause_vswitchd()
            assert journal.in_all_forms("plug", "-", input=OVS.text) == 1
            world.resume_vswitchd()
            assert journal.run("unplug", HYBRID.id, OVS.id).code == 0

        is_same(world, story)


# -- which it is ----------------------------------------------------------------------------------------------


def test_named_socket_without_an_answer(world: World, tmp_path: Path) -> None:
    left = str(tmp_path / "left")
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(left)
    before = world.snapshot()
    for path in (str(tmp_path / "none"), left, str(tmp_path)):
        result = world.vifplug("--socket", path, "plug", "-", input=HYBRID.text, check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"vifplug: error: no daemon answers on socket {path!r} (")
    assert world.snapshot() == before
    assert world.vifplug_json("list") == {"vifs": []}, "and without it, this process works"


def test_daemon_is_used_while_it_runs(world: World) -> None:
    with Vifplugd(world) as daemon:
        plugged = world.vifplug_json("plug", "-", input=HYBRID.text)["vifs"]
        assert daemon.metric("vifplug_plug_seconds_count") == 1
        assert plugged[0]["state"] == "plugged"
        shown = [{**plugged[0], "state": "wired"}]  # nobody else has anything to do here
        assert list(daemon.vifs().values()) == shown == world.vifplug_json("list", LOCAL)["vifs"]
        world.vifplug(LOCAL, "plug", "-", input=OVS.text)
        assert daemon.metric("vifplug_plug_seconds_count") == 1
        assert set(daemon.vifs()) == {HYBRID.id, OVS.id}
        daemon.stop(signal.SIGKILL)  # its socket stays behind
        wait_until(lambda: nobody_listens(daemon.socket), "the worker's end with its parent")
        assert world.vifplug("-o", "json", "unplug", HYBRID.id, OVS.id).stderr == ""
    assert world.vifplug_json("list") == {"vifs": []}


def nobody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


# The first run imports all there is to import: the other user may not be let into this interpreter's directories.
_AS_NOBODY = """
import contextlib, io, os, sys
from vifplug.cli import main
from vifplug.config import options
gid, config_file, *words = sys.argv[1:]
options.load(config_file)
with contextlib.redirect_stderr(io.StringIO()):
    main.main([*words, "--socket", "/nowhere"])
os.setgroups([])
os.setgid(int(gid))
os.setuid(65534)
sys.exit(main.main(["--config-file", config_file, *words]))
"""


def as_nobody(world: World, gid: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of a user's who is in one group."""
    return world.run(sys.executable, "-c", _AS_NOBODY, str(gid), str(world.config_file), *words, check=False)


@pytest.fixture
def file(world: World) -> str:
    """A document that anybody can read."""
    world.directory.chmod(0o755)
    path = world.directory / "vif.json"
    path.write_text(HYBRID.text)
    return str(path)


@pytest.mark.parametrize("group, advice", [("no-such-group", "only user 'root' may"), (GROUP.gr_name, "join group ")])
def test_socket_that_is_not_for_this_user(world: World, file: str, group: str, advice: str) -> None:
    with Vifplugd(world, socket_group=group) as daemon:
        for words in ((), ("--socket", str(daemon.socket))):
            result = as_nobody(world, NOGROUP.gr_gid, *words, "plug", file)
            assert (result.returncode, result.stdout) == (1, "")
            assert result.stderr.startswith("vifplug: error: no permission to use the daemon's socket ")
            assert advice in result.stderr
        assert daemon.vifs() == {}


def test_member_of_the_group_plugs_and_is_refused_foreign_devices(world: World, file: str) -> None:
    with Vifplugd(world, socket_group=GROUP.gr_name) as daemon:
        assert as_nobody(world, GROUP.gr_gid, "plug", file).returncode == 0
        world.vifplug("plug", "-", input=OVS.text)
        for words in (("unplug", OVS.id), ("repair", "--all"), ("gc", "--delete")):
            result = as_nobody(world, GROUP.gr_gid, "-o", "json", *words)
            assert (result.returncode, result.stdout) == (1, "")
            assert json.loads(result.stderr)["error"]["type"] == "NotPermitted"
        assert as_nobody(world, GROUP.gr_gid, "unplug", HYBRID.id).returncode == 0
        assert set(daemon.vifs()) == {OVS.id}
        world.vifplug("unplug", OVS.id)


# -- what is cut off ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held_up(world: World, *words: str) -> Iterator[Command]:
    """A command whose request the daemon is at: it waits for a frozen vswitchd, which goes on afterwards."""
    world.pause_vswitchd()
    command = world.begin_vifplug(*words)
    try:
        wait_until(lambda: "intents" in faults.stored(world), "the intent")
        yield command
    finally:
        world.resume_vswitchd()
        command.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_daemon_goes_on_when_the_caller_is_interrupted(world: World, file: str, number: signal.Signals) -> None:
    with Vifplugd(world) as daemon:
        with held_up(world, "plug", file) as command:
            command.send_signal(number)
            output, complaint = command.communicate(timeout=10)
        assert (command.returncode, output) == (128 + number, "")
        assert "the daemon continues the request" in complaint
        wait_until(lambda: daemon.vifs().get(HYBRID.id, {}).get("state") == "wired", "the plug's end")
        assert world.vifplug("check").stdout.startswith("clean\n")
        world.vifplug("unplug", HYBRID.id)


def test_outcome_is_unknown_when_the_daemon_is_killed_and_the_same_again_is_safe(world: World, file: str) -> None:
    with Vifplugd(world) as daemon:
        with held_up(world, "-o", "json", "plug", file) as command:
            os.kill(daemon.worker(), signal.SIGKILL)
            output, complaint = command.communicate(timeout=10)
        assert (command.returncode, output) == (1, "")
        error = json.loads(complaint)["error"]
        assert (error["type"], error["retryable"]) == ("DaemonUnreachable", True)
        assert "the outcome is unknown" in error["message"]
        assert world.vifplug_json("plug", file)["vifs"][0]["state"] == "plugged", "the next worker answers"
        assert world.vifplug("check").stdout.startswith("clean\n")
        world.vifplug("unplug", HYBRID.id)
        assert world.vifplug_json("list") == {"vifs": []}


# -- both at a time -------------------------------------------------------------------------------------------


@pytest.fixture
def kept(world: World) -> Iterator[World]:
    """A world with the whole daemon, which repairs and collects by itself."""
    with Vifplugd(world, repair_interval=0.2, orphan_grace=1):
        yield world


@pytest.mark.parametrize("kind", faults.TYPES)
def test_both_plug_the_same_vif_at_once(kept: World, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "vifs.json"
    scene = Scene.of(kept, [vif(kind)])
    file.write_text(document(scene.vifs))
    plug = ("-o", "json", "plug", str(file))
    ended = all_at_once(kept, *[plug, (LOCAL, *plug)] * 4)
    assert [(each.returncode, beside_notes(each.stderr)) for each in ended] == [(0, "")] * 8
    assert len({json.loads(each.stdout)["vifs"][0]["devices"][0]["ifindex"] for each in ended}) == 1, "one path"
    scene.must_be(WHOLE)
    unplug = ("unplug", scene.vifs[0].id)
    assert {each.returncode for each in all_at_once(kept, *[unplug, (LOCAL, *unplug)] * 4)} == {0}
    scene.must_be(ABSENT)


def test_both_plug_and_unplug_different_vifs_at_once(kept: World, tmp_path: Path) -> None:
    scene = Scene.of(kept, [vif(faults.TYPES[number % 3], number) for number in range(1, 9)])
    files = []
    for each in scene.vifs:
        files.append(tmp_path / f"{each.id}.json")
        files[-1].write_text(document([each]))
    plugs = [((), (LOCAL,))[place % 2] + ("plug", str(file)) for place, file in enumerate(files)]
    ended = all_at_once(kept, *plugs)
    assert [(each.returncode, beside_notes(each.stderr)) for each in ended] == [(0, "")] * 8
    scene.must_be(WHOLE)
    assert is_clean(kept)
    # The other way round: who plugged a VIF does not matter to who takes it away.
    unplugs = [((LOCAL,), ())[place % 2] + ("unplug", each.id) for place, each in enumerate(scene.vifs)]
    assert {each.returncode for each in all_at_once(kept, *unplugs)} == {0}
    scene.must_be(ABSENT)
