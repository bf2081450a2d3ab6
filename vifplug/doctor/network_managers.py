"""Facts that any user can read: the kernel's files, and the configuration of network managers.

Every path is below a root directory, so that tests can describe a host by a directory.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from vifplug import naming
from vifplug.doctor.facts import Takeover
from vifplug.netlink import udev
from vifplug.resources import kinds

Line = tuple[str, str, str]
"""A section, a key and a value."""

_BRIDGED: Mapping[str, str] = {"bridge-nf-call-iptables": "ip", "bridge-nf-call-ip6tables": "ip6"}
_CGROUPS = ("system.slice", "systemd/system.slice", "unified/system.slice")
_HOST_KEYS = ("Host", "Virtualization", "KernelCommandLine", "KernelVersion", "Credential", "Architecture", "Firmware")
"""Keys of [Match] about the host, not about a link. They are assumed to match: a host's files are for this host."""
_MAC_POLICY = "MACAddressPolicy"

_KINDS: Mapping[str, Mapping[str, str]] = {
    "bridge": {"Type": "bridge", "Kind": "bridge", "Driver": "bridge"},
    "veth": {"Type": "ether", "Kind": "veth", "Driver": "veth"},
    "tap": {"Type": "ether", "Kind": "tun", "Driver": "tun"},
}
"""A link's kind in systemd-networkd's terms (systemd.network(5), [Match])."""
_NM_TYPES: Mapping[str, Sequence[str]] = {"bridge": ("bridge",), "veth": ("veth", "ethernet"), "tap": ("tun",)}
_YES = ("1", "yes", "y", "true", "t", "on")
_NO = ("no", "false", "0", "off")
_SAMPLE_ID = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"


def bridged_families(root: Path) -> frozenset[str]:
    """The families whose rules see bridged frames, in this network namespace; none without br_netfilter."""
    switches = root / "proc/sys/net/bridge"
    return frozenset(family for name, family in _BRIDGED.items() if _text(switches / name).strip() not in ("", "0"))


def runs_firewalld(root: Path) -> bool:
    """Whether firewalld runs here."""
    return _runs(root, "firewalld.service") or _is_pid_alive(root, root / "run/firewalld.pid")


def tun_error(root: Path) -> str:
    """Why no tap can be created; "" if taps can."""
    path = root / "dev/net/tun"
    try:
        status = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    return "" if stat.S_ISCHR(status.st_mode) else "it is not a device"


def has_program(root: Path, name: str) -> bool:
    """Whether a daemon is installed."""
    return any((root / directory / name).exists() for directory in ("usr/sbin", "usr/local/sbin", "sbin", "usr/bin"))


def takeovers(root: Path) -> list[Takeover]:
    """The network managers that run here and are not configured to leave our devices alone."""
    takeovers: list[Takeover] = []
    if _runs(root, "systemd-udevd.service"):
        takeovers += _udev_takes(root)
    if _runs(root, "systemd-networkd.service"):
        taken: dict[str, list[str]] = {}
        files = list(_systemd_files(root, ".network"))
        for prefix in naming.ROLES:
            source = _networkd_takes(files, naming.device(prefix, _SAMPLE_ID), kinds.kind_of_role(prefix))
            if source:
                taken.setdefault(source, []).append(prefix)
        takeovers += [Takeover(name="systemd-networkd", prefixes=names, source=file) for file, names in taken.items()]
    if _runs(root, "NetworkManager.service") or _is_pid_alive(root, root / "run/NetworkManager/NetworkManager.pid"):
        lines = list(_network_manager_lines(root))
        left = [
            prefix
            for prefix in naming.ROLES
            if not _is_unmanaged(lines, naming.device(prefix, _SAMPLE_ID), kinds.kind_of_role(prefix))
        ]
        takeovers += [Takeover(name="NetworkManager", prefixes=left)] if left else []
    return takeovers


def _runs(root: Path, unit: str) -> bool:
    """Whether systemd runs it: its control group, or a subgroup (systemd-udevd's, since 252), has a process."""
    groups = [root / "sys/fs/cgroup" / slice_ / unit for slice_ in _CGROUPS]
    return any(_text(file).strip() for group in groups for file in group.glob("**/cgroup.procs"))


def _is_pid_alive(root: Path, file: Path) -> bool:
    pid = _text(file).strip()
    return pid.isdigit() and (root / "proc" / pid).exists()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


# -- systemd-udevd and systemd-networkd -------------------------------------------------------------------


def _udev_takes(root: Path) -> Iterator[Takeover]:
    """The .link file that makes udev change our taps' MACs. Our other devices are created with their MAC."""
    name = naming.device(naming.ROLE_TAP, _SAMPLE_ID)
    for path, lines in _systemd_files(root, ".link"):
        if _matches(lines, {"OriginalName": name, **_KINDS["tap"]}):
            policies = [value.lower() for section, key, value in lines if (section, key) == ("Link", _MAC_POLICY)]
            if policies and policies[-1] in ("persistent", "random"):
                yield Takeover(name="systemd-udevd", prefixes=(naming.ROLE_TAP,), source=path)
            return


def _systemd_files(root: Path, suffix: str) -> Iterator[tuple[str, list[Line]]]:
    """The effective .network or .link files, each with its drop-ins, in systemd's order."""
    files = _first_of_name(root, "systemd/network", suffix)
    for name in sorted(files):
        text = _text(files[name])
        if not text:
            continue  # an empty file masks a file of the system and its drop-ins
        drops = _first_of_name(root, f"systemd/network/{name}.d", ".conf")
        texts = [text, *(_text(drops[drop]) for drop in sorted(drops))]
        yield f"/{files[name].relative_to(root)}", [line for text in texts for line in _lines(_unbroken(text))]


def _first_of_name(root: Path, place: str, suffix: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for directory in udev.DIRECTORIES:
        for path in _listed(root / directory / place, suffix):
            files.setdefault(path.name, path)
    return files


def _unbroken(text: str) -> str:
    """Join lines that end with a backslash (systemd.syntax(7))."""
    return text.replace("\\\n", " ")


def _networkd_takes(files: Sequence[tuple[str, list[Line]]], name: str, kind: str) -> str:
    """The file that makes it manage a link; "" for none."""
    for path, lines in files:
        if _matches(lines, {"Name": name, **_KINDS[kind]}):
            unmanaged = [value.lower() for section, key, value in lines if (section, key) == ("Link", "Unmanaged")]
            return "" if unmanaged and unmanaged[-1] in _YES else path
    return ""


def _matches(lines: Iterable[Line], link: Mapping[str, str]) -> bool:
    """Whether a file's [Match] matches a link, given in the terms of systemd.network(5) and systemd.link(5)."""
    conditions: dict[str, str] = {}
    for section, key, value in lines:
        if section == "Match":
            conditions[key] = f"{conditions.get(key, '')} {value}".strip() if value else ""
    is_of_host = any(key in _HOST_KEYS for key in conditions)
    conditions = {key: value for key, value in conditions.items() if value and key not in _HOST_KEYS}
    # Any other key (a MAC, a bus path) is about a particular device, not about ours.
    if not conditions:
        return is_of_host  # networkd also ignores a file without any condition
    return all(key in link and _matches_any(link[key], value) for key, value in conditions.items())


def _matches_any(value: str, patterns: str) -> bool:
    inverted = patterns.startswith("!")
    return inverted != any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns.removeprefix("!").split())


# -- NetworkManager ---------------------------------------------------------------------------------------


def _network_manager_lines(root: Path) -> Iterator[Line]:
    """The lines in reading order; later ones override earlier ones. The system's files come first, even before
    NetworkManager.conf. A file hides earlier files of the same name (NetworkManager.conf(5))."""
    usr, run, etc = (_listed(root / place / "NetworkManager/conf.d", ".conf") for place in ("usr/lib", "run", "etc"))
    hidden = {path.name for path in etc}
    early = [path for path in usr if path.name not in hidden | {each.name for each in run}]
    early += [path for path in run if path.name not in hidden]
    for path in (*early, root / "etc/NetworkManager/NetworkManager.conf", *etc):
        yield from _lines(_text(path))


def _is_unmanaged(lines: Sequence[Line], name: str, kind: str) -> bool:
    """Whether unmanaged-devices (the last one), or a [device] section, excludes a link."""
    sections: dict[str, dict[str, str]] = {}
    for section, key, value in lines:
        _put(sections.setdefault(section, {}), key, value)
    specs = [values["unmanaged-devices"] for values in sections.values() if "unmanaged-devices" in values]
    specs += [
        values["match-device"]
        for section, values in sections.items()
        if section.startswith("device") and values.get("managed", "").lower() in _NO and "match-device" in values
    ]
    return any(_nm_matches(spec, name, kind) for spec in specs)


def _put(section: dict[str, str], key: str, value: str) -> None:
    """Set a key; += adds items to a list, and -= removes them."""
    name = key.rstrip("+-")
    before, items = _items(section.get(name, "")), _items(value)
    if key.endswith("+"):
        section[name] = ";".join([*before, *items])
    elif key.endswith("-"):
        section[name] = ";".join(item for item in before if item not in items)
    else:
        section[key] = value


def _items(spec: str) -> list[str]:
    return [item for item in map(str.strip, spec.replace(",", ";").split(";")) if item]


def _nm_matches(spec: str, name: str, kind: str) -> bool:
    """Match a device list (NetworkManager.conf(5)), as far as it is about names, types and drivers."""
    matched = False
    for item in _items(spec):
        excepted = item.startswith("except:")
        key, _colon, value = item.removeprefix("except:").partition(":")
        is_match = (
            item.removeprefix("except:") == "*"
            or (key == "interface-name" and fnmatch.fnmatchcase(name, value.removeprefix("=")))
            or (key == "type" and value in _NM_TYPES[kind])
            or (key == "driver" and fnmatch.fnmatchcase(_KINDS[kind]["Driver"], value))
        )
        if is_match and excepted:
            return False
        matched = matched or is_match
    return matched


# -- files ------------------------------------------------------------------------------------------------


def _listed(directory: Path, suffix: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return [directory / name for name in sorted(os.listdir(directory)) if name.endswith(suffix)]
    return []


def _lines(text: str) -> Iterator[Line]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif line and line[0] not in "#;" and "=" in line:
            key, _equals, value = line.partition("=")
            yield section, key.strip(), value.strip()
