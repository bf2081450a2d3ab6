"""Pages that are made of the code when the site is built: the paths of the HTTP API."""

from __future__ import annotations

import pathlib
import re
import sys
import tempfile
from typing import Any

REPOSITORY = pathlib.Path(__file__).parents[2]

_HTTP_HEAD = """# HTTP paths

Made from the daemon's own description, which `GET /openapi.json` returns: it also has the schema of each body and
answer, and every error. [HTTP API](http.md) shows requests by curl.

| request | does | level |
| --- | --- | --- |
"""


def _openapi() -> dict[str, Any]:
    """Of the daemon's application on a host in memory, as the tests have it."""
    if str(REPOSITORY) not in sys.path:
        sys.path.insert(0, str(REPOSITORY))
    from tests.support.daemon.daemon_calls import Daemon

    with tempfile.TemporaryDirectory() as directory:
        described: dict[str, Any] = Daemon(pathlib.Path(directory)).app.openapi()
    return described


def http_paths() -> str:
    """A table of all paths, and a section for each: what it does, and its parameters."""
    rows, sections = "", ""
    for path, operations in _openapi()["paths"].items():
        for method, operation in operations.items():
            about = operation.get("description", "")
            level = re.search(r"Needs (?:level \*\*(\w+)\*\*|no level)\.", about)
            text = about[: level.start()].strip() if level else about
            rows += f"| `{method.upper()} {path}` | {operation['summary']} | {(level and level[1]) or 'none'} |\n"
            parameters = [each for each in operation.get("parameters", []) if each["in"] == "query"]
            sections += f"\n## {method.upper()} {path}\n\n{operation['summary']}.{' ' * bool(text)}{text}\n"
            if parameters:
                sections += "\n| parameter | meaning |\n| --- | --- |\n"
                for each in parameters:
                    meaning = " ".join((each.get("description") or "").split())
                    sections += f"| `{each['name']}` | {meaning} |\n"
    return _HTTP_HEAD + rows + sections
