"""Reads the facts on which a host's setup depends. Nothing is changed, and no service is started."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import vifplug
from vifplug import errors, version
from vifplug.api import local_doctor
from vifplug.config import options
from vifplug.config.options import Settings
from vifplug.setup import facts, files, run
from vifplug.setup.facts import Facts
from vifplug.setup.files import File

ROOT = Path("/")
_UNIX = "unix:"
_WANTS = {
    files.SERVICE: "etc/systemd/system/multi-user.target.wants",
    files.SOCKET: "etc/systemd/system/sockets.target.wants",
}
"""Where enabling a unit makes its link."""


def gather(config_file: str | None, operators: Sequence[str]) -> Facts:
    """The facts of this host.

    :raises errors.ConfigError: when the configuration is wrong.
    :raises errors.VifplugError: when this installation lacks its files.
    """
    settings = options.load(config_file)
    source = _source(Path(sys.prefix), Path(vifplug.__file__).parent)
    return Facts(
        version=version.installed(),
        source=str(source),
        hidden=_hidden(sys.prefix),
        files=file_states(ROOT, source),
        programs=programs(ROOT, Path(sys.prefix, "bin")),
        has_user=_has_user(settings.user),
        has_sysusers=shutil.which("systemd-sysusers") is not None,
        has_network_manager=os.path.isdir(files.NETWORK_MANAGER),
        runs_network_manager=os.path.exists("/run/NetworkManager/NetworkManager.pid") or _is_active("NetworkManager"),
        state=_directory(settings.state_dir),
        run=_directory(settings.run_dir),
        daemon=_daemon(settings),
        switch=_switch(config_file, settings),
        users={name: _is_member(name, settings.socket_group) for name in operators},
        state_dir=settings.state_dir,
        run_dir=settings.run_dir,
        user=settings.user,
        group=settings.socket_group,
        helper_user=settings.privileged.get("user") or "",
        connection=settings.connection,
        integration_bridge=settings.integration_bridge,
        needs_internet=needs_internet(settings),
    )


def needs_internet(settings: Settings) -> bool:
    """Whether the daemon needs sockets of the internet's families."""
    remotes = any(not remote.startswith(_UNIX) for remote in settings.connection)
    return remotes or bool(settings.notify_url) or settings.listen is not None


def _source(prefix: Path, package: Path) -> Path:
    """The directory of the files that this installation brings: of a wheel or a package, else of a checkout."""
    candidates = (prefix / "share" / "vifplug", package.parent / "etc")
    for candidate in candidates:
        if (candidate / files.SERVICE_FILE.source).is_file():
            return candidate
    listed = " and ".join(map(str, candidates))
    raise errors.VifplugError(f"the files that vifplug installs on a host are not in {listed}; install vifplug again")


def _hidden(prefix: str) -> str:
    places = (directory for directory in files.HIDDEN_DIRECTORIES if Path(prefix).is_relative_to(directory))
    return next(places, "")


def file_states(root: Path, source: Path) -> Mapping[str, str]:
    """The state of each file, by its target."""
    is_packaged = any(_below(root, path).is_file() for path in files.SERVICE_FILE.packaged)
    return {file.target: _state(root, source, file, is_packaged=is_packaged) for file in files.FILES}


def _state(root: Path, source: Path, file: File, *, is_packaged: bool) -> str:
    target, brought = _below(root, file.target), (source / file.source).read_bytes()
    packaged = [path for path in (_below(root, path) for path in file.packaged) if path.is_file()]
    if target.is_symlink():
        return facts.SYMBOLIC_LINK
    if not target.exists():
        return facts.PACKAGED if packaged else facts.ABSENT
    is_same = target.read_bytes() == brought
    if packaged and not is_same:
        return facts.OVERRIDING
    if packaged or (file is files.CONFIGURATION and is_packaged):
        return facts.PACKAGED
    return facts.SAME if is_same else facts.DIFFERENT


def programs(root: Path, directory: Path) -> Mapping[str, facts.Program]:
    """Each program of this installation, and where systemd finds it."""
    return {name: _program(root, str(directory / name), name) for name in files.PROGRAMS}


def _program(root: Path, own: str, name: str) -> facts.Program:
    for directory in files.PROGRAM_DIRECTORIES:
        path = _below(root, directory) / name
        if os.path.lexists(path):
            is_own = os.path.realpath(path) == os.path.realpath(own)
            return facts.Program(own=own, seen=f"{directory}/{name}", is_own=is_own)
    return facts.Program(own=own)


def _below(root: Path, path: str) -> Path:
    return root / path.removeprefix("/")


def _directory(path: str) -> facts.Directory:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return facts.Directory()
    return facts.Directory(
        mode=stat.S_IMODE(status.st_mode), user=_user_name(status.st_uid), is_directory=stat.S_ISDIR(status.st_mode)
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _is_member(name: str, group: str) -> bool | None:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return None
    try:
        return grp.getgrnam(group).gr_gid in os.getgrouplist(name, user.pw_gid)
    except KeyError:
        return False


def _is_active(unit: str) -> bool:
    """Whether systemd has a unit active; False without systemd."""
    return os.path.isdir("/run/systemd/system") and run.succeeds("systemctl", "is-active", "--quiet", unit)


def _daemon(settings: Settings) -> facts.Daemon:
    is_active = _is_active(files.SERVICE)
    return facts.Daemon(
        has_systemctl=shutil.which("systemctl") is not None,
        is_booted=os.path.isdir("/run/systemd/system"),
        is_enabled=all(os.path.lexists(ROOT / wants / unit) for unit, wants in _WANTS.items()),
        is_active=is_active,
        version=_running_version(settings) if is_active else "",
    )


def _running_version(settings: Settings) -> str:
    """Asked of a running daemon only: a connection to a stopped one's socket would start it."""
    try:
        with vifplug.connect(settings.socket) as host:
            return host.host_info().version
    except errors.VifplugError:
        return ""


def _switch(config_file: str | None, settings: Settings) -> facts.Switch:
    sockets = [remote.removeprefix(_UNIX) for remote in settings.connection if remote.startswith(_UNIX)]
    socket = next(iter(sockets), "")
    try:
        owner = _user_name(os.stat(socket).st_uid) if socket else ""
    except OSError:
        owner = ""
    info = local_doctor.host_info(config_file)
    return facts.Switch(
        is_installed=shutil.which("ovs-vsctl") is not None,
        is_connected=info.ovs.connected,
        address=info.ovs.address or "",
        bridges=tuple(info.bridges),
        socket=socket,
        socket_user=owner,
    )
