"""A page as a manual page: roff with the man macros, which man and mandoc render without warnings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vifplug.cli.reference.pages import EXIT_CODES, FILES, Argument, Page

_ESCAPES = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}


def page(page: Page, version: str, date: str) -> str:
    """The roff source of a page of section 1.

    :param date: of the version, YYYY-MM-DD.
    """
    return "\n".join(_lines(page, version, date)) + "\n"


def _lines(page: Page, version: str, date: str) -> Iterator[str]:
    yield f'.TH {page.name.upper()} 1 {date} {_quoted(f"vifplug {version}")} "User Commands"'
    yield ".SH NAME"
    yield f"{_text(page.name)} \\- {_text(page.about)}"
    yield ".SH SYNOPSIS"
    program, rest = page.command, page.usage.removeprefix(page.command).strip()
    yield f".B {_text(program)}"
    yield _text(rest)
    yield ".SH DESCRIPTION"
    yield _text(f"{page.about[0].upper()}{page.about[1:]}.")
    if not page.verbs:
        yield "The options of"
        yield ".BR vifplug (1)"
        yield "apply, too, before or after the verb."
    for group in page.groups:
        yield f".SH {_quoted(_title(group.title))}"
        for argument in group.arguments:
            yield from _item(_head(argument), argument.text)
    if page.verbs:
        yield ".SH VERBS"
        for name, about in page.verbs:
            yield from _item(f"\\fB{_text(name)}\\fR", about)
    if page.examples:
        yield ".SH EXAMPLES"
        for command, about in page.examples:
            yield from _item(f"\\fB{_text(command)}\\fR", about)
    yield from _section("EXIT STATUS", EXIT_CODES)
    yield from _section("FILES", FILES)
    yield ".SH SEE ALSO"
    names = [f"vifplug-{name}" for name, _about in page.verbs] or ["vifplug"]
    yield from _references([(name, 1) for name in names] + [("vifplugd", 8)])


def _references(names: Sequence[tuple[str, int]]) -> Iterator[str]:
    for place, (name, section) in enumerate(names):
        comma = "," if place < len(names) - 1 else ""
        yield f".BR {_text(name)} ({section}){comma}"


def _section(title: str, entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f".SH {_quoted(title)}"
    for name, text in entries:
        yield from _item(f"\\fB{_text(name)}\\fR", text)


def _title(title: str) -> str:
    return {"positional arguments": "ARGUMENTS", "options": "OPTIONS"}.get(title, title.upper())


def _head(argument: Argument) -> str:
    value = f"\\fI{_text(argument.value)}\\fR" if argument.value else ""
    if not argument.names:
        return value
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in argument.names)
    return f"{names} {value}".rstrip()


def _item(head: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield head
    yield _text(text or "See above.")


def _text(text: str) -> str:
    """Text whose characters roff does not read as requests."""
    escaped = "".join(_ESCAPES.get(char, char) for char in " ".join(text.split()))
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped


def _quoted(text: str) -> str:
    return f'"{_text(text).replace(chr(34), "")}"'
