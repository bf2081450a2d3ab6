"""The pages of the command line's manual, as values: what a verb's parser says of itself, and its examples. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vifplug.cli.arguments import grammar
from vifplug.cli.arguments.parser import build, verbs
from vifplug.cli.reference import examples
from vifplug.cli.reference.examples import Example

EXIT_CODES: Sequence[tuple[str, str]] = (
    ("0", "done"),
    ("1", "failed; what was begun is rolled back"),
    ("2", "bad usage or input, or an unknown VIF; nothing was touched"),
    ("3", "check found drift or orphans"),
    ("4", "a conflict with something that is not vifplug's"),
    ("5", "a wait ran out of time"),
)
FILES: Sequence[tuple[str, str]] = (
    ("/etc/vifplug/vifplug.conf", "the configuration; VIFPLUG_CONFIG_FILE names another one"),
    ("/var/lib/vifplug", "the records of plugged VIFs ([DEFAULT] state_dir)"),
    ("/run/vifplug/vifplug.sock", "the daemon's socket ([daemon] socket)"),
)
_COMMON = "common options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An option or an operand."""

    names: Sequence[str]
    """The option's spellings; none for an operand."""
    value: str
    """The placeholder of its value; "" for a flag."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Arguments with a title."""

    title: str
    arguments: Sequence[Argument]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page of the program, or of a verb."""

    name: str
    """vifplug, or vifplug-VERB."""
    command: str
    about: str
    """A clause without a full stop."""
    usage: str
    """On one line."""
    groups: Sequence[Group]
    """Without the options that all verbs share; those are on the program's page."""
    verbs: Sequence[tuple[str, str]]
    """Of the program: each verb and what it does."""
    examples: Sequence[Example]


def pages() -> list[Page]:
    """The program's page, then those of the verbs."""
    parser = build()
    about = {choice.dest: choice.help or "" for action in parser._actions for choice in _choices(action)}
    listed = [(name, about[name]) for name in verbs(parser)]
    program = _page(parser, "plug guests' virtual interfaces into their host's network", listed, keep_common=True)
    return [program, *(_page(verb, about[name], (), keep_common=False) for name, verb in verbs(parser).items())]


def _choices(action: argparse.Action) -> Sequence[argparse.Action]:
    return getattr(action, "_choices_actions", ())


def _page(parser: argparse.ArgumentParser, about: str, listed: Sequence[tuple[str, str]], *, keep_common: bool) -> Page:
    return Page(
        name=parser.prog.replace(" ", "-"),
        command=parser.prog,
        about=about,
        usage=_usage(parser),
        groups=[*_groups(parser, keep_common=keep_common)],
        verbs=listed,
        examples=examples.of(parser.prog),
    )


def _groups(parser: argparse.ArgumentParser, *, keep_common: bool) -> Iterator[Group]:
    for group in parser._action_groups:
        title = group.title or ""
        actions = [action for action in group._group_actions if not isinstance(action, argparse._SubParsersAction)]
        if actions and (keep_common or not title.startswith(_COMMON)):
            yield Group(title=title, arguments=[_argument(action) for action in actions])


def _argument(action: argparse.Action) -> Argument:
    choices = ",".join(map(str, action.choices)) if action.choices is not None else ""
    value = str(action.metavar or (f"{{{choices}}}" if choices else action.dest.upper()))
    return Argument(
        names=action.option_strings, value="" if action.nargs == 0 else value, text=(action.help or "").strip()
    )


def _usage(parser: argparse.ArgumentParser) -> str:
    """The operands, and that there are options: argparse's own line names every option, which the lists below do."""
    if parser.prog == grammar.PROGRAM:
        return f"{parser.prog} [OPTION ...] VERB ..."
    forms = {"*": "[{} ...]", "+": "{} ...", "?": "[{}]"}
    operands = [
        forms.get(str(action.nargs), "{}").format(_argument(action).value)
        for action in parser._actions
        if not action.option_strings
    ]
    return " ".join([parser.prog, "[OPTION ...]", *operands])
