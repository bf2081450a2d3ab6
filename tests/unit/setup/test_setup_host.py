"""`setup-host`: facts of a directory that stands for a host, effects in it, and the command."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

import pytest

from vifplug import errors
from vifplug.cli import main
from vifplug.config.options import Settings
from vifplug.setup import facts, files, gather, host, run, steps
from vifplug.setup.actions import Action, Command, Directory, Install, Link, Remove
from vifplug.setup.facts import Facts
from vifplug.setup.steps import Step, Wishes

ETC = Path(__file__).parents[3] / "etc"


def needed(*actions: Action, step: str = "file") -> Step:
    return Step(step=step, subject="it", status=steps.NEEDED, actions=actions)


def statuses(done: Sequence[Step]) -> list[str]:
    return [step.status for step in done]


def states(root: Path) -> dict[str, str]:
    return dict(gather.file_states(root, ETC))


def place(root: Path, path: str, content: bytes) -> Path:
    target = root / path.removeprefix("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def test_states_of_files_tell_missing_same_changed_packaged_and_overriding(tmp_path: Path) -> None:
    assert set(states(tmp_path).values()) == {facts.ABSENT}
    service = files.SERVICE_FILE
    content = (ETC / service.source).read_bytes()
    own = place(tmp_path, service.target, content)
    assert states(tmp_path)[service.target] == facts.SAME
    own.write_bytes(content + b"#")
    assert states(tmp_path)[service.target] == facts.DIFFERENT
    place(tmp_path, service.packaged[0], content)
    assert states(tmp_path)[service.target] == facts.OVERRIDING
    own.write_bytes(content)
    assert states(tmp_path)[service.target] == facts.PACKAGED
    own.unlink()
    assert states(tmp_path)[service.target] == facts.PACKAGED
    own.symlink_to("/dev/null")
    assert states(tmp_path)[service.target] == facts.SYMBOLIC_LINK
    place(tmp_path, files.CONFIGURATION.target, b"[DEFAULT]\n")
    assert states(tmp_path)[files.CONFIGURATION.target] == facts.PACKAGED


def test_programs_are_those_that_systemd_finds_first(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "root"
    place(own, "vifplug", b"")
    place(own, "vifplugd", b"")
    (root / "usr/local/bin").mkdir(parents=True)
    (root / "usr/local/bin/vifplug").symlink_to(own / "vifplug")
    place(root, "/usr/bin/vifplugd", b"")
    found = gather.programs(root, own)
    assert (found["vifplug"].seen, found["vifplug"].is_own) == ("/usr/local/bin/vifplug", True)
    assert (found["vifplugd"].seen, found["vifplugd"].is_own) == ("/usr/bin/vifplugd", False)
    assert found["vifplug-privsep-helper"].seen == ""


def test_internet_is_needed_for_addresses_that_are_reached_by_ip() -> None:
    assert not gather.needs_internet(Settings())
    assert gather.needs_internet(Settings(connection=("unix:/run/x", "tcp:127.0.0.1:6640")))
    assert gather.needs_internet(Settings(notify_url="http://127.0.0.1/"))
    assert gather.needs_internet(Settings(listen=("127.0.0.1", 8774)))


def test_actions_make_files_links_and_directories_and_keep_a_former_file(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    source = place(tmp_path, "source", b"new")
    target = place(tmp_path, "etc/vifplug/file", b"old")
    done = run.carry_out(
        [
            needed(Install(source=str(source), target=str(target), keeps_former=True)),
            needed(Install(source=str(source), target=str(tmp_path / "a/b/file"))),
            needed(Link(path=str(tmp_path / "bin/program"), target=str(source))),
            needed(Directory(path=str(tmp_path / "state"), mode=0o700, user=user, group=user)),
        ]
    )
    assert statuses(done) == [steps.CHANGED] * 4
    assert (target.read_bytes(), target.with_name("file.old").read_bytes()) == (b"new", b"old")
    assert (tmp_path / "a/b/file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "bin/program").resolve() == source
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    target.with_name("file.old").unlink()
    assert statuses(run.carry_out([needed(Remove(path=str(target)))])) == [steps.CHANGED]
    assert not target.parent.exists()  # it was vifplug's, and is empty


def test_directory_is_not_reached_through_a_link(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    (tmp_path / "precious").mkdir(mode=0o755)
    (tmp_path / "state").symlink_to(tmp_path / "precious")
    (step,) = run.carry_out([needed(Directory(path=str(tmp_path / "state"), mode=0o700, user=user, group=user))])
    assert step.status == steps.FAILED
    assert (tmp_path / "precious").stat().st_mode & 0o777 == 0o755


def test_failed_step_has_its_commands_own_words_and_the_daemon_is_not_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    done = run.carry_out(
        [
            needed(Command(argv=("sh", "-c", "echo no such disk >&2; exit 3"))),
            needed(Command(argv=("/nonexistent/program",))),
            needed(Command(argv=("true",))),
            needed(Command(argv=("touch", str(started))), step="daemon"),
        ]
    )
    assert statuses(done) == [steps.FAILED, steps.FAILED, steps.CHANGED, steps.SKIPPED]
    assert "no such disk" in done[0].reason
    assert "/nonexistent/program does not exist" in done[1].reason
    assert not started.exists()


def test_step_that_is_still_needed_when_read_back_has_failed() -> None:
    step = needed(Command(argv=("true",)))
    assert statuses(host.carried_out([step], lambda: [step])) == [steps.FAILED]
    done = Step(step="file", subject="it", status=steps.DONE)
    assert statuses(host.carried_out([step], lambda: [done])) == [steps.CHANGED]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's facts: nothing is installed."""
    absent = Facts(
        version="1",
        source=str(ETC),
        files={file.target: facts.ABSENT for file in files.FILES},
        programs={name: facts.Program(own=f"/opt/bin/{name}") for name in files.PROGRAMS},
        users={"nova": None},
    )
    monkeypatch.setattr(gather, "gather", lambda _config_file, _operators: absent)


@pytest.mark.usefixtures("bare")
def test_user_other_than_root_changes_nothing_and_may_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_steps: Sequence[Step]) -> list[Step]:
        raise AssertionError("carried out")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(run, "carry_out", refuse)
    with pytest.raises(errors.InputError, match="only root may"):
        host.setup(None, Wishes(), dry_run=False, undo=False)
    assert main.main(["setup-host"]) == 2
    assert "run it as root" in capsys.readouterr().err
    assert main.main(["setup-host", "--dry-run", "-o", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)["steps"]
    assert printed[0] == {
        "step": "program",
        "subject": "vifplug",
        "status": "needed",
        "reason": "link /usr/local/bin/vifplug to /opt/bin/vifplug",
    }
    assert main.main(["setup-host", "--dry-run", "--operator", "nova"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["STEP", "SUBJECT", "STATUS", "NOTE"]
    assert "left to you: there is no such user" in lines
    assert main.main(["setup-host", "--dry-run", "--create-bridge", "dpdk"]) == 2


@pytest.mark.usefixtures("bare")
def test_failed_step_is_exit_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        run, "carry_out", lambda planned: [step.with_(steps.FAILED, "no space left") for step in planned]
    )
    assert main.main(["setup-host"]) == 1
    assert "no space left" in capsys.readouterr().out
