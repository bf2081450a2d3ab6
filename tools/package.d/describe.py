"""describe.py control DEBIAN VERSION TIME | copyright DIRECTORY: Debian's control files, from what is packaged.

In the source tree, whose folder debian/ holds the rest. Of Python's own library only: it runs in a build root.
"""

from __future__ import annotations

import configparser
import email.message
import email.parser
import pathlib
import re
import sys
from collections.abc import Iterator

DEBIAN = pathlib.Path("debian")
MAINTAINER = "vifplug maintainers <maintainers@vifplug.invalid>"
STANDARDS = {"12": "4.6.2", "13": "4.7.2"}
PREFIXES = {"ovs": "openvswitch", "pyyaml": "yaml"}
"""Debian's names of Python packages, where they differ."""
EPOCHS = {"oslo.config": "1:"}
OF_BUNDLED = ("oslo.log", "oslo.i18n", "oslo.utils", "debtcollector", "msgpack", "cffi", "netaddr", "pbr")
"""What the libraries bundled for Debian 13 need of Debian's."""
TOOLS = ("systemd | systemd-standalone-sysusers", "systemd | systemd-standalone-tmpfiles", "passwd")
"""What the maintainer scripts call."""
NOTES = {
    "12": "Its Python libraries are in an environment\n of the package's own, /usr/lib/vifplug.",
    "13": "It uses Debian's Python libraries; those\n that Debian has too old are in /usr/lib/vifplug/vendor.",
}
LICENSE_FILES = re.compile(r"(licen[cs]e|copying|notice)", re.IGNORECASE)
SHARED_LICENSES = {"Apache License": "Apache-2.0", "GNU GENERAL PUBLIC LICENSE": "GPL-2"}
"""First words of licenses that Debian has in /usr/share/common-licenses."""
CLASSIFIER = "License :: OSI Approved :: "


def setting(section: str, key: str) -> str:
    """A setting of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read("setup.cfg")
    return setup[section][key].strip()


def bundled_names() -> set[str]:
    """The libraries that are bundled because Debian has them too old."""
    return {line.partition("==")[0] for line in (DEBIAN / "pins").read_text().split() if "==" in line}


def depends(debian: str) -> list[str]:
    """What the package depends on: of setup.cfg, with its lowest versions."""
    if debian == "12":
        return ["${misc:Depends}", "${shlibs:Depends}", "python3 (>= 3.11)", "python3 (<< 3.12)", *TOOLS]
    requirements = []
    for line in setting("options", "install_requires").splitlines():
        name, _operator, lowest = line.partition(">=")
        if name not in bundled_names():
            requirements.append(
                f"python3-{PREFIXES.get(name.lower(), name.lower())} (>= {EPOCHS.get(name, '')}{lowest})"
            )
    more = [f"python3-{name}" for name in OF_BUNDLED]
    return ["${misc:Depends}", "${python3:Depends}", *requirements, *more, *TOOLS]


def control(debian: str, version: str, time: str) -> None:
    """Write debian/control and debian/changelog."""
    values = {
        "MAINTAINER": MAINTAINER,
        "STANDARDS": STANDARDS[debian],
        "ARCHITECTURE": {"12": "any", "13": "all"}[debian],
        "DEPENDS": ",\n         ".join(depends(debian)),
        "NOTE": NOTES[debian],
    }
    text = re.sub(r"@(\w+)@", lambda match: values[match[1]], (DEBIAN / "control.in").read_text())
    (DEBIAN / "control").write_text(text)
    entry = f"vifplug ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- {MAINTAINER}  {time}\n"
    (DEBIAN / "changelog").write_text(entry)


def copyright_of(directory: pathlib.Path) -> str:
    """The package's copyright file: vifplug's own license, and that of each bundled library."""
    parts = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "Upstream-Name: vifplug\nSource: https://pypi.org/project/vifplug/\n"
        "Comment: Libraries below /usr/lib/vifplug are bundled, unchanged but for their tests, from PyPI; their\n"
        " versions are in sbom.cdx.json beside this file.\n",
        f"Files: *\nCopyright: {setting('metadata', 'name')} maintainers\nLicense: Apache-2.0\n"
        " On Debian systems the text of this license is in /usr/share/common-licenses/Apache-2.0.\n",
    ]
    for info in sorted(directory.glob("*.dist-info")):
        metadata = email.parser.Parser().parsestr((info / "METADATA").read_text())
        if metadata["Name"] != "vifplug":
            parts.append(library(metadata, info, directory))
    return "\n".join(parts)


def library(metadata: email.message.Message, info: pathlib.Path, directory: pathlib.Path) -> str:
    """A bundled library's paragraph."""
    texts = [path for path in sorted(info.rglob("*")) if path.is_file() and LICENSE_FILES.search(path.name)]
    holders = [line.strip() for text in texts for line in text.read_text(errors="replace").splitlines()]
    holders = [line for line in holders if re.match(r"(copyright|\(c\)|©)\W.*\d{4}", line, re.IGNORECASE)]
    author = metadata["Author"] or metadata["Author-email"] or metadata["Maintainer-email"] or metadata["Name"]
    names = sorted(f"usr/lib/vifplug/*/{path.name}*" for path in owned(info, directory))
    name = re.sub(r"\W+", "-", metadata["Name"].lower())
    body = "\n".join(f" {line}" if line.strip() else " ." for line in license_text(metadata, texts))
    files = "\n       ".join(names)
    copyrights = "\n           ".join(dict.fromkeys(holders)) or f"the authors ({' '.join(author.split())})"
    return f"Files: {files}\nCopyright: {copyrights}\nLicense: {name}\n{body}\n"


def owned(info: pathlib.Path, directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """The modules and packages of a library."""
    listed = (info / "RECORD").read_text().splitlines()
    tops = {line.partition(",")[0].partition("/")[0] for line in listed} - {"..", "__pycache__", info.name}
    yield info
    yield from (directory / top for top in sorted(tops) if (directory / top).exists())


def license_text(metadata: email.message.Message, texts: list[pathlib.Path]) -> list[str]:
    """What a library says about its license: declared, and its files."""
    classifiers = [line.removeprefix(CLASSIFIER) for line in metadata.get_all("Classifier", []) if CLASSIFIER in line]
    declared = metadata["License-Expression"] or ", ".join(classifiers) or metadata["License"] or "see its files"
    lines = [f"It declares: {' '.join(declared.split())}"]
    for path in texts:
        text = path.read_text(errors="replace")
        shared = [name for words, name in SHARED_LICENSES.items() if words in text[:400]]
        if shared:
            lines.append(f"{path.name}: on Debian systems it is in /usr/share/common-licenses/{shared[0]}.")
        else:
            lines += [f"{path.name}:", "", *text.strip().splitlines()]
    return lines


def main() -> None:
    """The command."""
    match sys.argv[1:]:
        case ["control", debian, version, time]:
            control(debian, version, time)
        case ["copyright", directory]:
            (DEBIAN / "copyright").write_text(copyright_of(pathlib.Path(directory)))


if __name__ == "__main__":
    main()
