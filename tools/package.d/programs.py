"""programs.py DIRECTORY: the programs of setup.cfg, with the bundled libraries first in their path."""

from __future__ import annotations

import configparser
import pathlib
import sys

SCRIPTS = "vifplug = vifplug.cli.front:main"
"""bin/vifplug is none of the entry points: pip's programs of these import re."""
PROGRAM = '''#!/usr/bin/python3 -sP
"""Part of Debian's package of vifplug: the libraries that Debian has too old come from the package's own directory."""

import sys

sys.path.insert(0, "/usr/lib/vifplug/vendor")

from {module} import {function}  # noqa: E402

if __name__ == "__main__":
    sys.exit({function}())
'''


def main() -> None:
    """The command."""
    setup = configparser.ConfigParser()
    setup.read("setup.cfg")
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True)
    for line in (SCRIPTS, *setup["options.entry_points"]["console_scripts"].split("\n")):
        name, _equals, target = line.partition(" = ")
        if not name:
            continue
        module, _colon, function = target.partition(":")
        program = directory / name
        program.write_text(PROGRAM.format(module=module, function=function))
        program.chmod(0o755)


if __name__ == "__main__":
    main()
