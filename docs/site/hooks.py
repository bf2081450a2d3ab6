"""What mkdocs.yml cannot express: all decisions in the navigation, documents of the top as pages, search weights."""

from __future__ import annotations

import pathlib
import runpy

import generated  # of this folder, which mkdocs puts on sys.path while it loads a hook
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = pathlib.Path(__file__).parents[2]
# The pages, and the files that they show.
TOP = {"project/contributing.md": "CONTRIBUTING.md", "project/changelog.md": "CHANGELOG.md"}
LIBRARY = "reference/library.md"
# Pages for vifplug's developers come after those for its users in the results of a search.
DEVELOPERS = (
    "decisions/",
    "project/",
    "releasing.md",
    "architecture.md",
    "performance.md",
    "reliability.md",
    "testing.md",
)
DEVELOPERS_BOOST = 0.3
# The page that explains an option comes before those that only name it; generated lists come last.
BOOSTS = {
    "reference/configuration.md": 3.0,
    "reference/cli.md": 0.4,
    "reference/library.md": 0.4,
    "reference/http-paths.md": 0.4,
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Included files are named from the top; the folder `decisions/` in the navigation becomes its pages."""
    config.mdx_configs["pymdownx.snippets"]["base_path"] = [str(REPOSITORY)]
    decisions = [f"decisions/{page.name}" for page in sorted(pathlib.Path(config.docs_dir, "decisions").glob("*.md"))]
    for section in config.nav or []:
        for entries in section.values():
            if not isinstance(entries, list):
                continue
            for entry in entries:
                if isinstance(entry, dict) and entry.get("Decisions") == "decisions/":
                    entry["Decisions"] = decisions
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents of the top, whose links are relative to it, and pages that are made of the code."""
    files.append(File.generated(config, "reference/http-paths.md", content=generated.http_paths()))
    for page, source in TOP.items():
        text = (REPOSITORY / source).read_text().replace("](docs/", "](../")
        for other, name in TOP.items():
            text = text.replace(f"]({name})", f"]({pathlib.Path(other).name})")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Add the library's reference to its page; set what the search reads of a page."""
    if page.file.src_uri == LIBRARY:
        module = runpy.run_path(str(pathlib.Path(__file__).with_name("library.py")))
        markdown = markdown.replace(module["MARKER"], module["reference"]())
    if page.file.src_uri == "project/changelog.md":
        page.meta["search"] = {"exclude": True}
    elif page.file.src_uri.startswith(DEVELOPERS):
        page.meta["search"] = {"boost": DEVELOPERS_BOOST}
    elif page.file.src_uri in BOOSTS:
        page.meta["search"] = {"boost": BOOSTS[page.file.src_uri]}
    return markdown
