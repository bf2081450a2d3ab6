"""Which file the configuration is, and where by it the daemon listens: found without oslo.config where that is plain.

A command that asks the daemon needs no more of the configuration than this, and oslo.config takes longer to import than
the daemon to answer. Only what two readers could not take differently is read here; all else is oslo.config's to read.
"""

from __future__ import annotations

import os
import re

DEFAULT_FILE = "/etc/vifplug/vifplug.conf"
FILE_VARIABLE = "VIFPLUG_CONFIG_FILE"
DEFAULT_SOCKET = "/run/vifplug/vifplug.sock"

_NAMED_ELSEWHERE = ("OS_DAEMON__SOCKET", "OS_DEFAULT__CONFIG_SOURCE")
"""Variables by which oslo.config takes the socket, or where to ask for it, from somewhere else than the file."""
_SECTION = re.compile(r"\[([A-Za-z0-9_-]+)\]")
_ASSIGNMENT = re.compile(r"([A-Za-z0-9_-]+) *= *(.*)")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/@+-]*")
_READ_BY_OSLO = ("config_source", "config-source")


def config_file(chosen: str | None = None) -> str | None:
    """The file to read: the one said, else the one in VIFPLUG_CONFIG_FILE, else the default one if it is there."""
    return chosen or os.environ.get(FILE_VARIABLE) or (DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None)


def socket_of(path: str | None) -> str | None:
    """The daemon's socket by a configuration file, or by none; None when oslo.config must be asked."""
    if any(name in os.environ for name in _NAMED_ELSEWHERE):
        return None
    if path is None:
        return DEFAULT_SOCKET
    if path.startswith("~") or not os.path.isfile(path):  # a pipe can be read but once
        return None
    try:
        with open(path, "rb") as file:
            text = file.read().decode("ascii")  # any encoding is one of ASCII
    except (OSError, ValueError):
        return None
    return _socket_in(text)


def _socket_in(text: str) -> str | None:
    if not all(character.isprintable() or character in "\n\t" for character in text):
        return None  # other ends of lines, and what is taken for space
    section, found = "", ""
    for line in text.split("\n"):
        line = line.rstrip()
        if not line or line[0] in "#;":
            continue
        if begun := _SECTION.fullmatch(line):
            section = begun[1]
            if section.lower() == "daemon" != section:
                return None
            continue
        assigned = _ASSIGNMENT.fullmatch(line)
        if not assigned or not section or assigned[1].lower() in _READ_BY_OSLO:
            return None  # wrong, or of several lines, or another source of options
        if section == "daemon" and assigned[1].lower() == "socket":
            if found or assigned[1] != "socket" or not _PLAIN_PATH.fullmatch(assigned[2]):
                return None
            found = assigned[2]
    return found or DEFAULT_SOCKET
