"""What a step changes: frozen values, and the sentence for each."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Copy a file to its place, with mode 0644."""

    source: str
    target: str
    keeps_former: bool = False
    """The file that is replaced stays beside it, as ``TARGET.old``."""

    def __str__(self) -> str:
        return f"copy {self.source}" + (", and keep the former file as .old" if self.keeps_former else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Make a symbolic link."""

    path: str
    target: str

    def __str__(self) -> str:
        return f"link {self.path} to {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove a file or a symbolic link, and its directory if that is then an empty one of vifplug's."""

    path: str

    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Make a directory, or give an existing one this owner and mode. Its content is not changed."""

    path: str
    mode: int
    user: str
    group: str

    def __str__(self) -> str:
        return f"make {self.path}, of {self.user}, with mode {self.mode:04o}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Run a program of the system's."""

    argv: Sequence[str]

    def __str__(self) -> str:
        return shlex.join(self.argv)


Action = Install | Link | Remove | Directory | Command
