"""The pages as one Markdown page for the site: docs/reference/cli.md. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vifplug.cli.reference.pages import EXIT_CODES, FILES, Argument, Page

_INTRODUCTION = """\
# Command line

<!-- Made by `vifplug man --format markdown`; tests/unit/cli/test_reference.py checks that it is current. -->

`vifplug help VERB` prints the same. [The how-to](../how-to/command-line.md) explains what the verbs share: how
a VIF is named, documents in JSON and YAML, output formats, completion.
"""


def reference(pages: Sequence[Page]) -> str:
    """The reference of every verb."""
    return "\n".join([_INTRODUCTION, *(line for page in pages for line in _lines(page))]).rstrip() + "\n"


def _lines(page: Page) -> Iterator[str]:
    yield f"## {page.command}\n"
    yield f"{page.about[0].upper()}{page.about[1:]}.\n"
    yield f"    {page.usage}\n"
    for group in page.groups:
        yield f"**{group.title[0].upper()}{group.title[1:]}**\n"
        yield from _table(("", ""), [(_head(argument), argument.text) for argument in group.arguments])
    if page.verbs:
        yield "**Verbs**\n"
        yield from _table(("", ""), [(f"[`{name}`](#vifplug-{name})", text) for name, text in page.verbs])
        yield "**Exit codes**\n"
        yield from _table(("", ""), EXIT_CODES)
        yield "**Files**\n"
        yield from _table(("", ""), [(f"`{name}`", text) for name, text in FILES])
    if page.examples:
        yield "**Examples**\n"
        yield from _table(("", ""), [(f"`{_escaped(command)}`", text) for command, text in page.examples])


def _head(argument: Argument) -> str:
    value = _escaped(argument.value)
    return ", ".join(f"`{name} {value}`".replace(" `", "`") for name in argument.names) or f"`{value}`"


def _table(headers: tuple[str, str], rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"| {headers[0]} | {headers[1]} |"
    yield "| --- | --- |"
    for name, text in rows:
        yield f"| {name} | {_prose(text)} |"
    yield ""


def _escaped(text: str) -> str:
    """Text in backquotes within a cell."""
    return text.replace("|", "\\|")


def _prose(text: str) -> str:
    return _escaped(text).replace("<", "&lt;").replace("*", "\\*")
