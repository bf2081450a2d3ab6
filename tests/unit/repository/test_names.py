"""The names of modules and identifiers: none of the retired ones (CONTRIBUTING, "Plain English")."""

from __future__ import annotations

import functools
import io
import keyword
import pathlib
import re
import tokenize

REPOSITORY = pathlib.Path(__file__).parents[3]
PACKAGE = REPOSITORY / "vifplug"
SOURCES = sorted(path for folder in ("vifplug", "tests", "examples") for path in (REPOSITORY / folder).rglob("*.py"))

VAGUE = {"base", "common", "helpers", "manager", "misc", "util", "utils"}
RETIRED_MODULES = {
    *("agenda", "building", "collector", "comparison", "departure", "door", "ear", "eventlog", "examination"),
    *("filtering", "gate", "grouping", "jobs", "keeper", "keeping", "news", "notices", "notifier", "orphanage"),
    *("own", "owned", "pace", "peers", "planner", "plugger", "primitives", "resolution", "said"),
    *("seat", "seating", "seldom", "shapes", "standings", "statedir", "surroundings", "trouble", "undertaking"),
    *("unplugging", "unreachable", "verdicts", "views", "whereabouts", "wire"),
}
"""What modules were called before each was named for its subject: neither files nor names that one is imported as."""
RETIRED_WORDS = {
    *("anothers", "births", "everybody", "farewell", "fates", "forsake", "hearsay", "judgement", "keeper", "nobody"),
    *("nobodys", "rungs", "said", "seated", "seating", "skimmer", "somebody", "somebodys", "strangers", "standing"),
    *("standings", "strayed", "theirs", "told", "torn", "unheard", "unsaid", "untold", "vain", "whoever"),
}
"""Parts of no identifier of the package, and of no test's name."""
RETIRED_NAMES = {"found", "heard", "one", "said", "told", "what", "who", "whose", "why"}
"""No identifiers of the package by themselves."""
PUBLISHED = {("vifplug/daemon/http/answers.py", "keeper"), ("vifplug/daemon/http/host.py", "keeper")}
"""Keys of a published answer."""


@functools.cache
def _identifiers(path: pathlib.Path) -> frozenset[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    names = (token.string for token in tokens if token.type == tokenize.NAME)
    return frozenset(name for name in names if not keyword.iskeyword(name))


def _words(name: str) -> set[str]:
    return {part.lower() for part in re.split(r"_+|(?<=[a-z])(?=[A-Z])", name) if part}


def _is_retired(name: str) -> bool:
    return name in RETIRED_NAMES or bool(_words(name) & RETIRED_WORDS)


def _name(path: pathlib.Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _offenders() -> list[tuple[str, str]]:
    package = [path for path in SOURCES if path.is_relative_to(PACKAGE)]
    return [(_name(path), name) for path in package for name in sorted(_identifiers(path)) if _is_retired(name)]


def test_no_identifier_is_a_retired_word() -> None:
    offenders = [f"{path}: {name}" for path, name in _offenders() if (path, name) not in PUBLISHED]
    assert not offenders, "\n".join(offenders)


def test_no_test_is_named_by_a_retired_word() -> None:
    tests = re.compile(r"^def (test_\w+)", re.MULTILINE)
    named = [(path, name) for path in SOURCES for name in tests.findall(path.read_text())]
    offenders = [f"{_name(path)}: {name}" for path, name in named if _words(name) & RETIRED_WORDS]
    assert not offenders, "\n".join(offenders)


def test_modules_are_named_for_their_subject() -> None:
    offenders = [_name(path) for path in PACKAGE.rglob("*.py") if path.stem in VAGUE | RETIRED_MODULES]
    assert not offenders, "\n".join(offenders)


def test_no_class_is_a_manager_or_a_helper() -> None:
    classes = re.compile(r"^class (\w*(?:Manager|Util|Utils|Base|Common))\b", re.MULTILINE)
    offenders = [
        f"{_name(path)}: {name}" for path in PACKAGE.rglob("*.py") for name in classes.findall(path.read_text())
    ]
    assert not offenders, "\n".join(offenders)


def test_no_module_is_imported_by_a_retired_name() -> None:
    imported = re.compile(rf"^\s*(?:from \S+ )?import .*\bas ({'|'.join(sorted(RETIRED_MODULES))})$", re.MULTILINE)
    offenders = [
        f"{_name(path)}: {name}"
        for path in SOURCES
        if path.is_relative_to(PACKAGE)
        for name in imported.findall(path.read_text())
    ]
    assert not offenders, "\n".join(offenders)
