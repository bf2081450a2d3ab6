"""Finds the configuration file, and the daemon's socket in it, without oslo.config if the file is simple.

A command that uses the daemon needs nothing else of the configuration, and importing oslo.config takes longer than the
daemon's answer. Only unambiguous syntax is read here; oslo.config reads everything else. Without re, whose import takes
longer than all of this.
"""

from __future__ import annotations

import os

DEFAULT_FILE = "/etc/vifplug/vifplug.conf"
FILE_VARIABLE = "VIFPLUG_CONFIG_FILE"
DEFAULT_SOCKET = "/run/vifplug/vifplug.sock"

_NAMED_ELSEWHERE = ("OS_DAEMON__SOCKET", "OS_DEFAULT__CONFIG_SOURCE")
"""Variables that give oslo.config the socket, or another source of options, instead of the file."""
_IN_NAMES = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_IN_PATHS = _IN_NAMES | frozenset("./@+")
_READ_BY_OSLO = ("config_source", "config-source")


def config_file(chosen: str | None = None) -> str | None:
    """The file to read: the chosen one, else VIFPLUG_CONFIG_FILE, else the default one if it exists."""
    return chosen or os.environ.get(FILE_VARIABLE) or (DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None)


def socket_of(path: str | None) -> str | None:
    """The daemon's socket in a configuration file (None: no file); None if oslo.config has to read it."""
    if any(name in os.environ for name in _NAMED_ELSEWHERE):
        return None
    if path is None:
        return DEFAULT_SOCKET
    if path.startswith("~") or not os.path.isfile(path):  # a pipe can be read only once
        return None
    try:
        with open(path, "rb") as file:
            text = file.read().decode("ascii")  # pure ASCII is the same in any encoding
    except (OSError, ValueError):
        return None
    return _socket_in(text)


def _socket_in(text: str) -> str | None:
    if not all(character.isprintable() or character in "\n\t" for character in text):
        return None  # other line ends, and characters that may count as space
    section, socket = "", ""
    for line in text.split("\n"):
        line = line.rstrip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]" and _is_name(line[1:-1]):
            section = line[1:-1]
            if section.lower() == "daemon" != section:
                return None
            continue
        name, equals, value = line.partition("=")
        name, value = name.rstrip(" "), value.lstrip(" ")
        if not (equals and _is_name(name)) or not section or name.lower() in _READ_BY_OSLO:
            return None  # invalid, of several lines, or another source of options
        if section == "daemon" and name.lower() == "socket":
            if socket or name != "socket" or not value.startswith("/") or not _IN_PATHS.issuperset(value):
                return None
            socket = value
    return socket or DEFAULT_SOCKET


def _is_name(text: str) -> bool:
    return bool(text) and _IN_NAMES.issuperset(text)
