"""The words of comments, docstrings and messages: none of the retired ones (CONTRIBUTING, "Plain English")."""

from __future__ import annotations

import ast
import io
import pathlib
import re
import tokenize

REPOSITORY = pathlib.Path(__file__).parents[3]
PACKAGE = REPOSITORY / "vifplug"

RETIRED = re.compile(
    r"\b(?:nobody|somebody|whoever|anybody|everybody|said|told|unsaid|hearsay|unheard)(?:'s)?\b", re.IGNORECASE
)
"""A program, a user or the kernel is named instead; a program reports, sends or answers."""
EXCEPTIONS = {
    # A text of published answers (tests/unit/daemon/answers.golden).
    ("vifplug/engine/commands/wait.py", "somebody"),
    # The table of Neutron's statuses has this name in the stored format.
    ("vifplug/store/database.py", "told"),
    ("vifplug/store/events.py", "told"),
    ("vifplug/store/schema.py", "told"),
    ("vifplug/store/store.py", "told"),
}
"""Files with a retired word that is fixed by a published or stored format."""


def _texts(source: str) -> list[tuple[int, str]]:
    """The comments and the strings (docstrings, messages) of a source, with their lines."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    strings = [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return sorted(comments + strings)


def _retired(source: str) -> list[tuple[int, str]]:
    return [(line, word.lower()) for line, text in _texts(source) for word in RETIRED.findall(text)]


def test_no_comment_docstring_or_message_has_a_retired_word() -> None:
    offenders = [
        f"{name}:{line}: {word}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in [str(path.relative_to(REPOSITORY))]
        for line, word in _retired(path.read_text())
        if (name, word) not in EXCEPTIONS
    ]
    assert not offenders, "\n".join(offenders)


def test_each_exception_is_still_needed() -> None:
    unused = [
        (name, word)
        for name, word in sorted(EXCEPTIONS)
        if word not in {found for _line, found in _retired((REPOSITORY / name).read_text())}
    ]
    assert not unused


def test_comments_docstrings_and_messages_are_all_read() -> None:
    source = '"""Somebody\'s file."""\n\nx = 1  # as told\n\n\ndef f(y: int) -> str:\n    return f"nobody {y}"\n'
    assert _retired(source) == [(1, "somebody's"), (3, "told"), (7, "nobody")]
