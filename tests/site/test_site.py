"""The site of docs/, built: without a warning, without other sites, and with pages that its search finds."""

from __future__ import annotations

import html.parser
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Built once; a warning of mkdocs fails the build."""
    directory = tmp_path_factory.mktemp("site")
    command = ["mkdocs", "build", "--strict", "--config-file", str(REPOSITORY / "docs/site/mkdocs.yml"), "--site-dir"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", *command, str(directory)], env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return directory


class _Loaded(html.parser.HTMLParser):
    """What a page makes a browser load: scripts, styles, pictures, frames; no links that a reader may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "link"):
            self.addresses += [value for value in (values.get("src"), values.get("href")) if value]


def test_pages_load_nothing_from_another_site(site: pathlib.Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        loaded = _Loaded()
        loaded.feed(page.read_text())
        assert loaded.addresses
        for address in loaded.addresses:
            assert not re.match(r"(\w+:)?//", address), f"{page.name}: {address}"
            if page.name != "404.html":
                assert (page.parent / address.partition("#")[0].partition("?")[0]).exists(), f"{page.name}: {address}"


def test_search_works_without_a_server(site: pathlib.Path) -> None:
    text = (site / "search" / "search_index.js").read_text()
    index: dict[str, Any] = json.loads(text.removeprefix("var __index = "))
    assert any(entry["location"].startswith("how-to/install.html") for entry in index["docs"])
    assert "iframe-worker" in (site / "index.html").read_text()
