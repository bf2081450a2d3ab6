"""The library's reference, from its docstrings: hooks.py puts it in place of a marker of docs/reference/library.md."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import vifplug
from vifplug import aio
from vifplug.testing import FakeHost

MARKER = "<!-- The rest is made from the docstrings when the site is built: docs/site/library.py. -->"
_FIELD = re.compile(r"^:(param|returns|raises)(?: ([\w*, ]+))?:\s*", re.MULTILINE)
_HEADS = {"param": "", "returns": "Returns ", "raises": "Raises "}


def reference() -> str:
    """The text, as Markdown."""
    sections = [*_opening(), *_hosts(), *_values(), *_errors(), *_testing()]
    return "\n".join(section.rstrip() + "\n" for section in sections)


def _opening() -> Iterator[str]:
    yield "## Hosts and documents"
    for name in ("connect", "local", "load", "load_all", "schema"):
        yield _callable(f"vifplug.{name}", getattr(vifplug, name))


def _hosts() -> Iterator[str]:
    yield "## Host"
    yield _text(vifplug.Host)
    for name, member in _members(vifplug.Host):
        if isinstance(member, property):
            yield f"### host.{name}\n\n{_text(member)}"
        else:
            yield _callable(f"host.{name}", member)
    yield f"### Expectation\n\n{_text(vifplug.Expectation)}"
    yield _callable("expectation.exit_early", vifplug.Expectation.exit_early)


def _values() -> Iterator[str]:
    yield "## Values"
    yield (
        "What methods take and return. Reports are frozen; `as_json()` gives the JSON of the command line and of HTTP, "
        "and `from_json` reads it. Later versions may add fields."
    )
    for name in vifplug.__all__:
        value = getattr(vifplug, name)
        if inspect.isclass(value) and (dataclasses.is_dataclass(value) or hasattr(value, "model_fields")):
            rows = [f"| `{field}` | {kind} | {text} |" for field, kind, text in _fields(value)]
            yield "\n".join(
                [f"### {name}", "", _text(value), "", "| field | type | meaning |", "| --- | --- | --- |", *rows]
            )


def _errors() -> Iterator[str]:
    yield "## Errors"
    yield (
        "In `vifplug.errors`; all are a `VifplugError` with `message`, `subject`, `step`, `exit_code` and `retryable`: "
        "whether the same call may succeed a moment later."
    )
    rows = ["| error | is a | exit code | retryable | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, error in vars(vifplug.errors).items():
        if inspect.isclass(error) and issubclass(error, vifplug.errors.VifplugError):
            bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
            meaning = _inline(inspect.getdoc(error) or "").partition(":param")[0].strip()
            retryable = "yes" if error.retryable else "no"
            rows.append(f"| `{name}` | {bases} | {error.exit_code} | {retryable} | {meaning} |")
    yield "\n".join(rows)


def _testing() -> Iterator[str]:
    yield "## vifplug.testing.FakeHost"
    yield _text(FakeHost)
    contract = {name for name, _ in _members(vifplug.Host)}
    for name, member in _members(FakeHost):
        if name not in contract and name in vars(FakeHost) and inspect.isfunction(member):
            yield _callable(f"fake.{name}", member)
    yield "## vifplug.aio"
    yield _text(aio.Host)
    for name in ("connect", "local", "threaded"):
        yield _callable(f"vifplug.aio.{name}", getattr(aio, name))


def _members(cls: type) -> list[tuple[str, Any]]:
    return [(name, member) for name, member in vars(cls).items() if name[0] != "_" and (inspect.getdoc(member) or "")]


def _callable(name: str, called: Any) -> str:
    signature = inspect.signature(called)
    given = [each for key, each in signature.parameters.items() if key != "self"]
    # Annotations are texts here, which a signature shows in quotes.
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature.replace(parameters=given)))
    lines = textwrap.wrap(f"{name}{text}", 110, subsequent_indent="    ")
    return "\n".join([f"### {name}", "", *(f"    {line}" for line in lines), "", _text(called)])


def _text(documented: Any) -> str:
    """A docstring as Markdown: its text, then a list of parameters, result and errors."""
    doc = inspect.getdoc(documented) or ""
    first = _FIELD.search(doc)
    text = doc[: first.start()] if first else doc
    paragraphs = [_paragraph(part) for part in text.strip().split("\n\n")]
    items = [_item(match, doc[match.end() : _end(doc, match)]) for match in _FIELD.finditer(doc)]
    return "\n\n".join([*paragraphs, *(["\n".join(items)] if items else [])])


def _end(doc: str, match: re.Match[str]) -> int:
    following = _FIELD.search(doc, match.end())
    return following.start() if following else len(doc)


def _paragraph(text: str) -> str:
    if not text.lstrip().startswith("- "):
        return _inline(text)
    return "\n".join(f"- {_inline(item)}" for item in re.split(r"^- ", text, flags=re.MULTILINE) if item.strip())


def _item(match: re.Match[str], text: str) -> str:
    names = ", ".join(f"`{name.strip()}`" for name in (match[2] or "").split(",") if name.strip())
    return f"- {_HEADS[match[1]]}{names}{': ' if names else ''}{_inline(text)}"


def _inline(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _fields(cls: Any) -> Iterator[tuple[str, str, str]]:
    """A value's fields, those of its bases first, each with its type and the docstring below it."""
    described: dict[str, tuple[str, str]] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("vifplug."):
            described |= _fields_of_class(base)
    hidden = {"model_config", "COMPUTED"}
    yield from ((name, kind, text) for name, (kind, text) in described.items() if name not in hidden and name[0] != "_")


def _fields_of_class(cls: type) -> dict[str, tuple[str, str]]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, tuple[str, str]] = {}
    for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            text = _inline(str(following.value.value)) if is_text else _described(statement)  # type: ignore[union-attr]
            found[statement.target.id] = (f"`{_inline(ast.unparse(statement.annotation))}`", text)
    return found


def _described(statement: ast.AnnAssign) -> str:
    """The description of a pydantic field."""
    for call in ast.walk(statement):
        if isinstance(call, ast.keyword) and call.arg == "description" and isinstance(call.value, ast.Constant):
            return _inline(str(call.value.value))
    return ""
