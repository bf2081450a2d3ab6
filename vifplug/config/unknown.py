"""Finds unknown sections and keys of a configuration file, such as typing errors, which would otherwise be ignored."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

_OPTIONS, _DRIVERS = "oslo.config.opts", "vifplug.drivers"
_OSLO = ("oslo.config", "oslo.log", "oslo.privsep")
"""Libraries that read their own options from the same file, such as oslo.log in the helper that a command starts."""
_OF_OSLO_CONFIG = frozenset(
    ("config_file", "config_dir", "config_source", "config-file", "config-dir", "config-source")
)
_OF_PRIVSEP = frozenset(("logger_name", "log_daemon_traceback"))
_OF_OTHERS = ("os_vif_", "privsep", "oslo_")
"""Prefixes of the sections of os-vif's plugins, including vifplug's, and of oslo's libraries."""

Groups = Mapping[str, Sequence[cfg.Opt]]


def find(path: str, groups: Groups, privsep_group: str) -> tuple[str, ...]:
    """A sentence for each unknown section or key, with the nearest option.

    :param path: of a file that was read without an error; nothing is reported for a pipe, which can be read only once.
    """
    if not os.path.isfile(path):
        return ()
    sections: dict[str, dict[str, Any]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except (OSError, ValueError, cfg.Error):
        return ()
    known = {group: _names(options, group) for group, options in groups.items()}
    known[privsep_group] |= _OF_PRIVSEP
    known["DEFAULT"] |= _OF_OSLO_CONFIG
    for options in groups.values():
        for option in options:
            for other in option.deprecated_opts:
                known.setdefault(other.group or "DEFAULT", set()).add(other.name or option.name)
    sources = {
        name.strip() for value in sections.get("DEFAULT", {}).get("config_source", []) for name in value.split(",")
    }
    unknown = [
        text
        for section, keys in sections.items()
        if section not in sources
        for text in _of_section(section, keys, known)
    ]
    return (*unknown, *_unread(path))


def _names(options: Sequence[cfg.Opt], group: str) -> set[str]:
    return {name for option in options for name in (option.dest, option.name)}


def _of_section(section: str, keys: Mapping[str, Any], known: Mapping[str, set[str]]) -> Iterator[str]:
    # oslo.config ignores the case of a section's name, except for DEFAULT, but not that of a key.
    name = section if section == "DEFAULT" else section.lower()
    if name not in known:
        if not name.startswith(_OF_OTHERS) and name not in _allowed():
            hint = _nearest(name, {each.lower(): each for each in known})
            yield f"section [{section}] is unknown, and its options are ignored{hint and f'; did you mean [{hint}]?'}"
        return
    for key in keys:
        if key not in known[name] and key not in _allowed().get(name, set()):
            yield f"[{section}] {key} is an unknown option and is ignored{_hint(name, key, known)}"


def _hint(section: str, key: str, known: Mapping[str, set[str]]) -> str:
    wanted = key.lower().replace("-", "_")
    everywhere = {each: group for group in known for each in sorted(known[group])}
    if wanted not in known[section] and wanted in everywhere:
        return f"; did you mean [{everywhere[wanted]}] {wanted}?"
    near = _nearest(wanted, {each: each for each in known[section]})
    if near:
        return f"; did you mean [{section}] {near}?"
    near = _nearest(wanted, {each: each for each in everywhere})
    return f"; did you mean [{everywhere[near]}] {near}?" if near else ""


def _nearest(wanted: str, names: Mapping[str, str]) -> str:
    matches = difflib.get_close_matches(wanted, sorted(names), n=1)
    return names[matches[0]] if matches else ""


@functools.cache
def _allowed() -> dict[str, set[str]]:
    """Options of oslo's libraries and of third-party drivers, by section; consulted for unknown options."""
    options: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        points = distribution.entry_points
        drivers = {point.name for point in points if point.group == _DRIVERS}
        name = distribution.metadata["Name"]
        if name == "vifplug" or (name not in _OSLO and not drivers):
            continue
        for driver in drivers:
            options.setdefault(driver.lower(), set())
        for point in points:
            if point.group == _OPTIONS:
                _add_options(point, options)
    return options


def _add_options(point: importlib.metadata.EntryPoint, options: dict[str, set[str]]) -> None:
    try:
        listed = point.load()()
    except Exception:  # another library's error must not stop the daemon
        return
    for group, own in listed:
        name = str(getattr(group, "name", group) or "DEFAULT")
        options.setdefault(name if name == "DEFAULT" else name.lower(), set()).update(_names(own, name))


def _unread(path: str) -> list[str]:
    """A warning for a directory of fragments, which other OpenStack services read, but vifplug does not."""
    try:
        fragments = [name for name in os.listdir(f"{path}.d") if name.endswith(".conf")]
    except OSError:
        return []
    return [f"directory {path}.d is not read; put its options into {path}"] if fragments else []
