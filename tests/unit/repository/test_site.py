"""The site's sources, as far as they can be checked without building it: tests/site builds it."""

from __future__ import annotations

import itertools
import os
import pathlib
import re
from collections.abc import Iterator

import yaml

REPOSITORY = pathlib.Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
MKDOCS = "docs/site/mkdocs.yml"
# Pages that docs/site/hooks.py adds.
ADDED = {"project/contributing.md", "project/changelog.md", "reference/http-paths.md"}
MOVED = {
    "operations.md": "docs/how-to, docs/reference and docs/explanation have its sections, a page each",
    "user-guide.md": "docs/how-to, docs/reference and docs/explanation have its sections, a page each",
    "os-vif.md": "it is docs/how-to/os-vif.md",
    "linux-bridge-agent.md": "it is docs/how-to/linux-bridge-agent.md",
    "two-hosts.md": "it is docs/tutorials/two-hosts.md",
}


def _entries(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, list):
        yield from itertools.chain.from_iterable(_entries(entry) for entry in nav)
    elif isinstance(nav, dict):
        yield from itertools.chain.from_iterable(_entries(entry) for entry in nav.values())


def _pages() -> list[pathlib.Path]:
    return [page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).parts[0] != "site"]


def _anchors(page: pathlib.Path) -> set[str]:
    """As Markdown's extension toc makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_pages_of_the_old_structure_are_gone() -> None:
    left = [f"docs/{name}: {where}; move the change there" for name, where in MOVED.items() if (DOCS / name).exists()]
    assert not left, "\n".join(left)


def test_each_page_is_once_in_the_navigation() -> None:
    named = list(_entries(yaml.safe_load((REPOSITORY / MKDOCS).read_text())["nav"]))
    assert len(named) == len(set(named))
    pages = {str(page.relative_to(DOCS)) for page in _pages()}
    pages = {page for page in pages if not page.startswith("decisions/")} | {"decisions/"} | ADDED
    missing = sorted(pages - set(named))
    assert not missing, f"add to nav of {MKDOCS}: {missing}"
    assert not set(named) - pages, f"{MKDOCS} names pages that are not there: {sorted(set(named) - pages)}"


def test_links_lead_somewhere() -> None:
    broken = []
    for page in [*_pages(), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = pathlib.Path(os.path.normpath(page.parent / path)) if path else page
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                broken.append(f"{page.relative_to(REPOSITORY)}: {link}")
            elif page.is_relative_to(DOCS) and not target.is_relative_to(DOCS):
                broken.append(f"{page.relative_to(REPOSITORY)}: {link} leaves docs/, and the site has no such page")
    assert not broken, "\n".join(broken)
