"""The steps of a host's setup, and of its removal, from facts and wishes. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vifplug.model.codec import HIDDEN, OMITTED, Value
from vifplug.setup import facts as host
from vifplug.setup import files
from vifplug.setup.actions import Action, Command, Directory, Install, Link
from vifplug.setup.facts import Facts
from vifplug.setup.files import File

DONE = "done"
NEEDED = "needed"
CHANGED = "changed"
"""It was needed, and is done now."""
FAILED = "failed"
MANUAL = "manual"
"""A person has to do it, or to decide."""
SKIPPED = "skipped"
STATE_MODE, RUN_MODE = 0o700, 0o755
_SYSTEM = "system"
"""The datapath of a bridge that requests none."""
OVS_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Value):
    """One step: what it is about, whether it is done, and why not."""

    step: str
    """program, file, user, directory, operator, network-manager, ovsdb, bridge or daemon."""
    subject: str
    status: str
    """done; needed: not done yet; changed: done now; failed; manual: a person has to do it; skipped."""
    reason: str = ""
    command: str | None = field(default=None, metadata=OMITTED)
    """For a manual step: what to type."""
    actions: Sequence[Action] = field(default=(), metadata=HIDDEN)

    def with_(self, status: str, reason: str) -> Step:
        """The same step with another status and reason."""
        return replace(self, status=status, reason=reason, actions=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Value):
    """Every step of a setup, in order."""

    steps: Sequence[Step]

    @property
    def has_failed(self) -> bool:
        """Whether any step failed."""
        return any(step.status == FAILED for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator asked for."""

    daemon: bool = True
    """Enable and start vifplugd."""
    operators: Sequence[str] = ()
    """Users that are to plug VIFs."""
    bridge_datapath: str | None = None
    """Create a missing integration bridge with this datapath."""


def plan(facts: Facts, wishes: Wishes) -> Sequence[Step]:
    """The steps of a host's setup, in their order."""
    return [
        *_programs(facts),
        *(_file(file, facts) for file in files.FILES if _is_wanted(file, facts)),
        _user(facts),
        _directory(facts.state_dir, facts.state, STATE_MODE, facts.user),
        _directory(facts.run_dir, facts.run, RUN_MODE, "root"),
        *(_operator(name, facts) for name in wishes.operators),
        _ovsdb(facts),
        _bridge(facts, wishes),
        _daemon(facts, wishes),
    ]


def _needed(step: str, subject: str, *actions: Action, reason: str = "") -> Step:
    return Step(
        step=step,
        subject=subject,
        status=NEEDED,
        reason=reason or "; ".join(str(action) for action in actions),
        actions=actions,
    )


def _programs(facts: Facts) -> Iterator[Step]:
    for name, program in facts.programs.items():
        if program.is_own:
            yield Step(step="program", subject=name, status=DONE, reason=program.seen)
        elif program.seen:
            reason = f"{program.seen} is of another installation than this one, which is {program.own}"
            yield Step(
                step="program", subject=name, status=MANUAL, reason=reason, command=f"ls -l {shlex.quote(program.seen)}"
            )
        else:
            yield _needed("program", name, Link(path=f"{files.LINKS_DIRECTORY}/{name}", target=program.own))


def _is_wanted(file: File, facts: Facts) -> bool:
    if file is files.NETWORK_MANAGER_FILE:
        return facts.has_network_manager
    return file is not files.INTERNET or facts.needs_internet


def _file(file: File, facts: Facts) -> Step:
    state = facts.files[file.target]
    actions: list[Action] = [
        Install(source=f"{facts.source}/{file.source}", target=file.target, keeps_former=state == host.DIFFERENT)
    ]
    if file is files.NETWORK_MANAGER_FILE and facts.runs_network_manager:
        actions.append(Command(argv=("systemctl", "reload", "NetworkManager.service")))
    if state == host.ABSENT or (state == host.DIFFERENT and not file.is_editable):
        return _needed("file", file.target, *actions)
    if state == host.SYMBOLIC_LINK:
        return Step(step="file", subject=file.target, status=SKIPPED, reason="it is a symbolic link: left as it is")
    if state == host.OVERRIDING:
        return Step(
            step="file",
            subject=file.target,
            status=MANUAL,
            reason="it overrides the package's file; remove it unless that is intended",
            command=f"rm {file.target}",
        )
    reasons = {host.PACKAGED: "the package has it", host.DIFFERENT: "the operator's, left as it is"}
    return Step(step="file", subject=file.target, status=DONE, reason=reasons.get(state, ""))


def _user(facts: Facts) -> Step:
    if facts.has_user:
        return Step(step="user", subject=facts.user, status=DONE)
    if facts.user != files.USER:
        reason = "[daemon] user names it, and it does not exist"
        return Step(
            step="user", subject=facts.user, status=MANUAL, reason=reason, command=shlex.join(_useradd(facts.user))
        )
    argv = ("systemd-sysusers", "vifplug.conf") if facts.has_sysusers else _useradd(facts.user)
    return _needed("user", facts.user, Command(argv=argv))


def _useradd(user: str) -> Sequence[str]:
    options = ("--system", "--user-group", "--home-dir", "/var/lib/vifplug", "--no-create-home")
    return ("useradd", *options, "--shell", "/usr/sbin/nologin", user)


def _directory(path: str, observed: host.Directory, mode: int, user: str) -> Step:
    if not observed.is_directory:
        reason = "it is not a directory: vifplug uses no directory through a link"
        return Step(step="directory", subject=path, status=MANUAL, reason=reason, command=f"ls -l {shlex.quote(path)}")
    if (observed.mode, observed.user) == (mode, user):
        return Step(step="directory", subject=path, status=DONE)
    now = "" if observed.mode is None else f"it is {observed.user}'s with mode {observed.mode:04o}"
    action = Directory(path=path, mode=mode, user=user, group=user)
    return _needed("directory", path, action, reason="; ".join(filter(None, (now, str(action)))))


def _operator(name: str, facts: Facts) -> Step:
    is_member = facts.users[name]
    if is_member is None:
        return Step(step="operator", subject=name, status=MANUAL, reason="there is no such user")
    if is_member:
        return Step(step="operator", subject=name, status=DONE, reason=f"a member of {facts.group}")
    action = Command(argv=("usermod", "--append", "--groups", facts.group, name))
    return _needed("operator", name, action, reason=f"{action}; its running processes keep their groups")


def _ovsdb(facts: Facts) -> Step:
    subject, switch = " ".join(facts.connection), facts.switch
    if switch.is_connected:
        return Step(step="ovsdb", subject=switch.address or subject, status=DONE)
    expected = facts.helper_user or "root"
    if switch.socket_user and switch.socket_user != expected:
        reason = (
            f"{switch.socket} belongs to {switch.socket_user}, and the privileged helper can open only files of "
            f"{expected}: set [vifplug_privileged] user = {switch.socket_user} in {files.CONFIGURATION.target}"
        )
        return Step(step="ovsdb", subject=subject, status=MANUAL, reason=reason)
    reason = "Open vSwitch does not answer; VIFs on Linux bridges need none"
    command = "systemctl start openvswitch-switch" if switch.is_installed else "apt install openvswitch-switch"
    return Step(step="ovsdb", subject=subject, status=MANUAL, reason=reason, command=command)


def _bridge(facts: Facts, wishes: Wishes) -> Step:
    name, switch = facts.integration_bridge, facts.switch
    if name in switch.bridges:
        return Step(step="bridge", subject=name, status=DONE)
    if not switch.is_connected:
        return Step(step="bridge", subject=name, status=SKIPPED, reason="Open vSwitch does not answer")
    if wishes.bridge_datapath is None:
        reason = "there is no such OVS bridge; OVN and Neutron's agent create it, or you do"
        return Step(step="bridge", subject=name, status=MANUAL, reason=reason, command=f"ovs-vsctl add-br {name}")
    argv = ["ovs-vsctl", f"--timeout={OVS_TIMEOUT_SECONDS}", f"--db={switch.address}", "--may-exist", "add-br", name]
    if wishes.bridge_datapath != _SYSTEM:
        argv += ["--", "set", "Bridge", name, f"datapath_type={wishes.bridge_datapath}"]
    return _needed("bridge", name, Command(argv=tuple(argv)))


def _daemon(facts: Facts, wishes: Wishes) -> Step:
    daemon = facts.daemon
    if not daemon.has_systemctl:
        reason = "there is no systemd: run vifplugd as root under a service supervisor"
        return Step(step="daemon", subject=files.SERVICE, status=MANUAL, reason=reason, command="vifplugd")
    if daemon.is_enabled and (daemon.is_active or not daemon.is_booted):
        return _running(facts)
    if not wishes.daemon:
        command = f"systemctl enable --now {files.SERVICE}"
        return Step(step="daemon", subject=files.SERVICE, status=SKIPPED, reason="as --no-daemon asks", command=command)
    enable = Command(argv=("systemctl", "enable", *(["--now"] if daemon.is_booted else []), *reversed(files.UNITS)))
    note = f"it is under {facts.hidden}, which the unit does not see" if facts.hidden else ""
    step = _needed("daemon", files.SERVICE, *_reload(facts), enable)
    return replace(step, reason=f"{step.reason}; {note}") if note else step


def _reload(facts: Facts) -> Sequence[Command]:
    return [Command(argv=("systemctl", "daemon-reload"))] if facts.daemon.is_booted else []


def _running(facts: Facts) -> Step:
    """The step of an enabled daemon: done, or a restart for the units or the program of this version."""
    states: Mapping[str, str] = facts.files
    is_changed = any(states[file.target] == host.DIFFERENT for file in (files.SERVICE_FILE, files.SOCKET_FILE))
    is_old = bool(facts.daemon.version) and facts.daemon.version != facts.version
    if not facts.daemon.is_active or not (is_changed or is_old):
        reason = "enabled, and running" if facts.daemon.is_active else "enabled; systemd does not run here"
        return Step(step="daemon", subject=files.SERVICE, status=DONE, reason=reason)
    restart = Command(argv=("systemctl", "restart", files.SERVICE))
    reason = f"it runs version {facts.daemon.version}, and {facts.version} is installed; " if is_old else ""
    step = _needed("daemon", files.SERVICE, *_reload(facts), restart)
    return replace(step, reason=reason + step.reason)
