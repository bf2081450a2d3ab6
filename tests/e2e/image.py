"""What a guest boots: Debian's cloud kernel, and an initramfs of busybox, its network card's modules and ``init``."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.world.world import REPOSITORY

FILES = REPOSITORY / ".e2e"
INIT = Path(__file__).parent / "init"


@dataclass(frozen=True)
class Image:
    """A kernel and an initramfs."""

    kernel: Path
    initramfs: Path


def make(directory: Path) -> Image:
    """Make the initramfs in a directory that is there."""
    if not (FILES / "stamp").exists() or shutil.which("qemu-system-x86_64") is None:
        pytest.skip(f"no QEMU, or no kernel for guests in {FILES}: tools/setup --guests brings them")
    root = directory / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(FILES / "busybox", root / "bin/busybox")
    shutil.copytree(FILES / "modules", root / "modules")
    init = root / "init"
    init.write_text(INIT.read_text().replace("MODULES", (FILES / "stamp").read_text().strip()))
    init.chmod(0o755)
    initramfs = directory / "initramfs"
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = ["cpio", "--create", "--quiet", "--format=newc", "--owner=0:0"]
    with initramfs.open("wb") as file:
        subprocess.run(archive, cwd=root, input=names.encode(), stdout=file, check=True)
    shutil.rmtree(root)
    return Image(FILES / "vmlinuz", initramfs)
