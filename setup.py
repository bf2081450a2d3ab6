"""What setup.cfg cannot say: documents and examples in the wheel, and a whole checkout in the sdist."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

from setuptools import Distribution, setup
from setuptools.command.sdist import sdist

ROOT = pathlib.Path(__file__).parent
DOCUMENTS = ("docs", "examples")
FOLDERS = (*DOCUMENTS, ".ci", "etc", "tests", "tools")
TOP = ("*.md", "*.ini", "*.yml", ".ruff.toml", ".gitignore")


def files(*folders: str) -> Iterator[pathlib.Path]:
    """The files of folders, relative to the root."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            relative = path.relative_to(ROOT)
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in relative.parts:
                yield relative


class Documented(Distribution):
    """The wheel has docs/ and examples/ in share/doc/vifplug, folder by folder."""

    def parse_config_files(self, *args: Any, **kwargs: Any) -> None:
        """Called by setuptools; setup.cfg's own data files come first."""
        super().parse_config_files(*args, **kwargs)
        folders: dict[str, list[str]] = {}
        for path in files(*DOCUMENTS):
            folders.setdefault(f"share/doc/vifplug/{path.parent}", []).append(str(path))
        self.data_files = [*(self.data_files or ()), *folders.items()]


class Complete(sdist):
    """The sdist has all that a checkout has: documents, tests, tools."""

    def make_release_tree(self, base_dir: str, files_listed: list[str]) -> None:
        """Called by setuptools with the files that it knows."""
        more = {str(path.relative_to(ROOT)) for pattern in TOP for path in ROOT.glob(pattern)}
        more |= {str(path) for path in files(*FOLDERS)}
        super().make_release_tree(base_dir, sorted({*files_listed, *more}))


setup(distclass=Documented, cmdclass={"sdist": Complete})
