"""A package of the same content with an older version, to upgrade from."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

VERSION = "0.0.9"


def older(package: Path, directory: Path) -> Path:
    """The package as version 0.0.9, in Debian's control file and in Python's metadata; its path."""
    tree = directory / "older"
    subprocess.run(["rm", "-rf", tree], check=True)
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    (metadata,) = [path for path in tree.rglob("METADATA") if path.parent.name.startswith("vifplug-")]
    metadata.write_text(
        re.sub("^Version: .*$", f"Version: {VERSION}", metadata.read_text(), count=1, flags=re.MULTILINE)
    )
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub("^Version: .*$", f"Version: {VERSION}-1", control.read_text(), flags=re.MULTILINE))
    path = directory / f"vifplug_{VERSION}-1_{package.name.rpartition('_')[2]}"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, path], check=True, capture_output=True)
    return path
