"""docs/session.svg: a session in tools/sandbox, drawn. Usage, as root: .venv/bin/python docs/site/session.py"""

from __future__ import annotations

import os
import pathlib
import pty
import re
import subprocess
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

REPOSITORY = pathlib.Path(__file__).parents[2]
PICTURE = REPOSITORY / "docs" / "session.svg"
PORT = REPOSITORY / "tests" / "samples" / "ml2ovs_hybrid_port_create_2.json"
COLUMNS = 108
COMMANDS = (
    "vifplug plug port.json --dry-run",
    "vifplug plug port.json",
    "ip link delete qvb2bc1ec8f-4b    # another program's mistake",
    "vifplug diagram tap2bc1ec8f-4b",
    "vifplug repair 2bc1",
    "vifplug unplug fa:16:3e:f6:04:91",
)


def carry_out(command: str, directory: pathlib.Path) -> bytes:
    """The output at a terminal, with its colours."""
    reader, writer = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    with subprocess.Popen(
        ["bash", "-c", command], cwd=directory, env=environment, stdin=writer, stdout=writer, stderr=writer
    ):
        os.close(writer)
        output = b""
        try:
            while chunk := os.read(reader, 65536):
                output += chunk
        except OSError:  # EIO: the command has ended
            pass
    os.close(reader)
    return output


def main() -> None:
    """Carry out the commands in a sandbox, and draw them."""
    if not os.environ.get("VIFPLUG_SANDBOX"):
        os.execv(REPOSITORY / "tools" / "sandbox", ["sandbox", sys.executable, __file__])
    directory = pathlib.Path("/run/session")
    directory.mkdir()
    (directory / "port.json").write_bytes(PORT.read_bytes())
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        for command in COMMANDS:
            console.print(Text("$ ", style="bold green") + Text(command, style="bold"))
            if output := carry_out(command, directory).decode().replace("\r\n", "\n").rstrip("\n"):
                console.print(Text.from_ansi(output))
            console.print()
        drawn = console.export_svg(title="vifplug", theme=MONOKAI, unique_id="session")
    # rich names fonts of another site; the browser's monospaced font is as good.
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.S).replace("Fira Code, monospace", "monospace")
    PICTURE.write_text(re.sub(r"[ \t]+$", "", drawn, flags=re.M))


if __name__ == "__main__":
    main()
