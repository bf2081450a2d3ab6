"""programs.py DIRECTORY: let the programs that pip installed there find the bundled libraries, before Debian's."""

from __future__ import annotations

import pathlib
import sys

HEAD = """#!/usr/bin/python3 -sP
import sys

# The libraries that Debian has too old come from the package's own directory.
sys.path.insert(0, "/usr/lib/vifplug/vendor")
"""


def main() -> None:
    """The command."""
    for program in pathlib.Path(sys.argv[1]).iterdir():
        _interpreter, _newline, rest = program.read_text().partition("\n")
        program.write_text(HEAD + rest)
        program.chmod(0o755)


if __name__ == "__main__":
    main()
