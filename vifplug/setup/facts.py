"""The facts about a host on which its setup depends. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ABSENT = "absent"
SAME = "same"
"""It has our content."""
DIFFERENT = "different"
SYMBOLIC_LINK = "symbolic link"
PACKAGED = "packaged"
"""A distribution's package has it in its own place."""
OVERRIDING = "overriding"
"""A package has it, and the file in /etc that overrides it has another content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program of this installation, and the first of its name in systemd's search path."""

    own: str
    """Its path in this installation."""
    seen: str = ""
    """The path at which systemd finds a program of that name; "" if there is none."""
    is_own: bool = False
    """``seen`` is, or leads to, ``own``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory as it is; a missing one has no mode."""

    mode: int | None = None
    user: str = ""
    """Its owner, by name, or by number when the number has no name."""
    is_directory: bool = True
    """False for anything else that is there, a symbolic link included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """vifplugd under systemd."""

    has_systemctl: bool = False
    is_booted: bool = False
    """systemd is the init system here, and runs."""
    is_enabled: bool = False
    """Both units start at boot."""
    is_active: bool = False
    version: str = ""
    """Of the running daemon; "" if it was not asked, or did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Open vSwitch, as the privileged side sees it."""

    is_installed: bool = False
    is_connected: bool = False
    address: str = ""
    """The OVSDB address that is used."""
    bridges: Sequence[str] = ()
    socket: str = ""
    """The first Unix socket among the configured addresses, if there is any."""
    socket_user: str = ""
    """Its owner; "" if there is no such socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A host, this installation, and the configuration."""

    version: str
    """Of this installation."""
    source: str
    """The directory of the files that this installation brings."""
    hidden: str = ""
    """The directory that holds this installation and that the unit does not see; "" if it sees it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """States of files, by target."""
    programs: Mapping[str, Program] = field(default_factory=dict)
    has_user: bool = False
    has_sysusers: bool = False
    """systemd-sysusers is installed."""
    has_network_manager: bool = False
    runs_network_manager: bool = False
    state: Directory = Directory()
    run: Directory = Directory()
    daemon: Daemon = Daemon()
    switch: Switch = Switch()
    users: Mapping[str, bool | None] = field(default_factory=dict)
    """Whether each user that is to plug VIFs is a member of the socket's group; None if there is no such user."""
    state_dir: str = "/var/lib/vifplug"
    run_dir: str = "/run/vifplug"
    user: str = "vifplug"
    """[daemon] user."""
    group: str = "vifplug"
    """[daemon] socket_group."""
    helper_user: str = ""
    """[vifplug_privileged] user; "" for root."""
    connection: Sequence[str] = ()
    integration_bridge: str = "br-int"
    needs_internet: bool = False
    """The configuration has an OVSDB, an endpoint or a listener that is reached by IP."""
