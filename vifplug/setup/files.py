"""The files and programs that vifplugd needs on a host, and where each belongs. Data only.

A wheel installs the files into ``share/vifplug`` of its environment; a distribution's package brings most of them
to their places itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PROGRAMS = ("vifplug", "vifplugd", "vifplug-privsep-helper")
LINKS_DIRECTORY = "/usr/local/bin"
PROGRAM_DIRECTORIES = (LINKS_DIRECTORY, "/usr/bin", "/usr/local/sbin", "/usr/sbin")
"""Where systemd looks for the unit's program."""
HIDDEN_DIRECTORIES = ("/root", "/home", "/run/user", "/tmp", "/var/tmp")
"""What the unit does not see (ProtectHome=, PrivateTmp=)."""
NETWORK_MANAGER = "/etc/NetworkManager"
SERVICE, SOCKET = "vifplugd.service", "vifplugd.socket"
UNITS = (SERVICE, SOCKET)
USER = "vifplug"
"""The user and group of sysusers.d/vifplug.conf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of vifplug's, and its place on a host."""

    source: str
    """Relative to ``share/vifplug``."""
    target: str
    packaged: Sequence[str] = ()
    """Where a distribution's package has it instead; a file at ``target`` overrides it."""
    is_editable: bool = False
    """It belongs to the operator: an existing one is never replaced."""


SYSUSERS = File(
    source="sysusers.d/vifplug.conf",
    target="/etc/sysusers.d/vifplug.conf",
    packaged=("/usr/lib/sysusers.d/vifplug.conf",),
)
TMPFILES = File(
    source="tmpfiles.d/vifplug.conf",
    target="/etc/tmpfiles.d/vifplug.conf",
    packaged=("/usr/lib/tmpfiles.d/vifplug.conf",),
)
SERVICE_FILE, SOCKET_FILE = (
    File(
        source=f"systemd/{unit}",
        target=f"/etc/systemd/system/{unit}",
        packaged=(f"/usr/lib/systemd/system/{unit}", f"/lib/systemd/system/{unit}"),
    )
    for unit in UNITS
)
LINK = File(
    source="udev/70-vifplug.link",
    target="/etc/systemd/network/70-vifplug.link",
    packaged=("/usr/lib/systemd/network/70-vifplug.link",),
)
CONFIGURATION = File(source="vifplug.conf.sample", target="/etc/vifplug/vifplug.conf", is_editable=True)
NETWORK_MANAGER_FILE = File(
    source="networkmanager/vifplug.conf",
    target=f"{NETWORK_MANAGER}/conf.d/vifplug.conf",
    packaged=("/usr/lib/NetworkManager/conf.d/vifplug.conf",),
)
INTERNET = File(
    source="systemd/vifplugd-inet.conf",
    target=f"/etc/systemd/system/{SERVICE}.d/inet.conf",
    is_editable=True,
)
"""For an OVSDB, an endpoint or a listener that is reached by IP."""
FILES = (SYSUSERS, TMPFILES, SERVICE_FILE, SOCKET_FILE, LINK, CONFIGURATION, NETWORK_MANAGER_FILE, INTERNET)
