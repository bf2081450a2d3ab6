"""What anybody can read of a host: the kernel's own files, network managers and what they are told to manage.

Every path is taken below a root, so that a host can be described by a directory.
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
"""Keys of [Match] that are about the host, and not about a link. They are taken for fulfilled: nobody writes a file for
another host."""
_MAC_POLICY = "MACAddressPolicy"

_KINDS: Mapping[str, Mapping[str, str]] = {
    "bridge": {"Type": "bridge", "Kind": "bridge", "Driver": "bridge"},
    "veth": {"Type": "ether", "Kind": "veth", "Driver": "veth"},
    "tap": {"Type": "ether", "Kind": "tun", "Driver": "tun"},
}
"""A link's kind by systemd-networkd's words (systemd.network(5), [Match])."""
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
    """Why no tap can be made."""
    path = root / "dev/net/tun"
    try:
        found = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    return "" if stat.S_ISCHR(found.st_mode) else "it is no device"


def has_program(root: Path, name: str) -> bool:
    """Whether a daemon is installed."""
    return any((root / directory / name).exists() for directory in ("usr/sbin", "usr/local/sbin", "sbin", "usr/bin"))


def takeovers(root: Path) -> list[Takeover]:
    """The network managers that run here and are not told to leave our devices alone."""
    found: list[Takeover] = []
    if _runs(root, "systemd-udevd.service"):
        found += _udev_takes(root)
    if _runs(root, "systemd-networkd.service"):
        taken: dict[str, list[str]] = {}
        files = list(_systemd_files(root, ".network"))
        for prefix in naming.ROLES:
            source = _networkd_takes(files, naming.device(prefix, _SAMPLE_ID), kinds.kind_of_role(prefix))
            if source:
                taken.setdefault(source, []).append(prefix)
        found += [Takeover(name="systemd-networkd", prefixes=names, source=file) for file, names in taken.items()]
    if _runs(root, "NetworkManager.service") or _is_pid_alive(root, root / "run/NetworkManager/NetworkManager.pid"):
        lines = list(_network_manager_lines(root))
        left = [
            prefix
            for prefix in naming.ROLES
            if not _is_unmanaged(lines, naming.device(prefix, _SAMPLE_ID), kinds.kind_of_role(prefix))
        ]
        found += [Takeover(name="NetworkManager", prefixes=left)] if left else []
    return found


def _runs(root: Path, unit: str) -> bool:
    """Whether systemd runs it: its control group has a process, or a group in it has (systemd-udevd's, since 252)."""
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
    """The .link file by which udev gives our taps MACs of its own. Our other devices have theirs from birth."""
    name = naming.device(naming.ROLE_TAP, _SAMPLE_ID)
    for path, lines in _systemd_files(root, ".link"):
        if _matches(lines, {"OriginalName": name, **_KINDS["tap"]}):
            policies = [value.lower() for section, key, value in lines if (section, key) == ("Link", _MAC_POLICY)]
            if policies and policies[-1] in ("persistent", "random"):
                yield Takeover(name="systemd-udevd", prefixes=(naming.ROLE_TAP,), source=path)
            return


def _systemd_files(root: Path, suffix: str) -> Iterator[tuple[str, list[Line]]]:
    """The .network or .link files that count, each with its drop-ins, in the order they are tried."""
    files = _first_of_name(root, "systemd/network", suffix)
    for name in sorted(files):
        text = _text(files[name])
        if not text:
            continue  # so somebody masks a file of the system's, and what would be dropped into it
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
    """A backslash goes on with the line (systemd.syntax(7))."""
    return text.replace("\\\n", " ")


def _networkd_takes(files: Sequence[tuple[str, list[Line]]], name: str, kind: str) -> str:
    """The file by which it takes a link for its own; "" for none."""
    for path, lines in files:
        if _matches(lines, {"Name": name, **_KINDS[kind]}):
            unmanaged = [value.lower() for section, key, value in lines if (section, key) == ("Link", "Unmanaged")]
            return "" if unmanaged and unmanaged[-1] in _YES else path
    return ""


def _matches(lines: Iterable[Line], link: Mapping[str, str]) -> bool:
    """Whether a file's [Match] is fulfilled by a link, given by the words of systemd.network(5) and systemd.link(5)."""
    asked: dict[str, str] = {}
    for section, key, value in lines:
        if section == "Match":
            asked[key] = f"{asked.get(key, '')} {value}".strip() if value else ""
    is_of_host = any(key in _HOST_KEYS for key in asked)
    asked = {key: value for key, value in asked.items() if value and key not in _HOST_KEYS}
    # A key that says more than that (a MAC, a bus path) is about a device that is known, which ours are not.
    if not asked:
        return is_of_host  # a file that asks for nothing at all is left out by networkd, too
    return all(key in link and _is_one_of(link[key], value) for key, value in asked.items())


def _is_one_of(value: str, patterns: str) -> bool:
    inverted = patterns.startswith("!")
    return inverted != any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns.removeprefix("!").split())


# -- NetworkManager ---------------------------------------------------------------------------------------


def _network_manager_lines(root: Path) -> Iterator[Line]:
    """As they are read, later ones over those before: the system's first, even before NetworkManager.conf. A file hides
    those of its name that are read before it (NetworkManager.conf(5))."""
    usr, run, etc = (_listed(root / place / "NetworkManager/conf.d", ".conf") for place in ("usr/lib", "run", "etc"))
    hidden = {path.name for path in etc}
    early = [path for path in usr if path.name not in hidden | {each.name for each in run}]
    early += [path for path in run if path.name not in hidden]
    for path in (*early, root / "etc/NetworkManager/NetworkManager.conf", *etc):
        yield from _lines(_text(path))


def _is_unmanaged(lines: Sequence[Line], name: str, kind: str) -> bool:
    """By unmanaged-devices, of which the last counts, or by a [device] section."""
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
    """With += a list gets longer by its items, and with -= shorter."""
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
    """NetworkManager.conf(5), device list format, as far as it is about names, types and drivers."""
    matched = False
    for item in _items(spec):
        excepted = item.startswith("except:")
        what, _colon, value = item.removeprefix("except:").partition(":")
        is_it = (
            item.removeprefix("except:") == "*"
            or (what == "interface-name" and fnmatch.fnmatchcase(name, value.removeprefix("=")))
            or (what == "type" and value in _NM_TYPES[kind])
            or (what == "driver" and fnmatch.fnmatchcase(_KINDS[kind]["Driver"], value))
        )
        if is_it and excepted:
            return False
        matched = matched or is_it
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
