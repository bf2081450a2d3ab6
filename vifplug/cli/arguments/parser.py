"""The parser: options and VIFs in any order, vifplug's own errors, and the nearest word for a mistyped one."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from vifplug import errors
from vifplug.cli.arguments import grammar
from vifplug.cli.arguments.options import DOCUMENTS, Options
from vifplug.cli.arguments.values import near

_OUTPUT_WORD = re.compile(rf"-[vq]*o=?(?:{'|'.join(DOCUMENTS)})|--output=(?:{'|'.join(DOCUMENTS)})")
_OUTPUT_FLAG = re.compile(r"-[vq]*o|--output")


class Parser(argparse.ArgumentParser):
    """A parser that raises vifplug's errors, and whose verbs take options and VIFs in any order."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **kwargs)
        self._deep = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but ``check ID -v ID`` is read as ``check -v ID ID``."""
        if self._deep or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._deep = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._deep = False

    def format_help(self) -> str:
        """As argparse's, with the examples of the verb."""
        from vifplug.cli.reference import examples  # here, because only help shows them

        return super().format_help() + examples.section(self.prog)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting, so that ``-o json`` applies to usage errors too."""
        raise errors.InputError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no verb {value!r}{near(value, known)}")
        reason = f"is unknown{near(str(value), known)}; it must be one of {', '.join(known)}"
        raise argparse.ArgumentError(action, f"{value!r} {reason}")


def build() -> Parser:
    """The parser of every verb."""
    parser = grammar.build(Parser)
    assert isinstance(parser, Parser)
    return parser


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb."""
    actions = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: verb for action in actions for name, verb in action.choices.items()}


def wants_json(argv: Sequence[str]) -> bool:
    """Whether ``-o json`` or ``-o yaml`` is among the arguments; for arguments that cannot be parsed."""
    pairs = itertools.pairwise([*argv, ""])
    return any(
        _OUTPUT_WORD.fullmatch(word) or (_OUTPUT_FLAG.fullmatch(word) and then in DOCUMENTS) for word, then in pairs
    )


def parse(argv: Sequence[str]) -> Options:
    """The options of ``argv``.

    :raises errors.InputError: for a usage error.
    :raises SystemExit: after ``--help``, ``--version`` and ``help``.
    """
    parser = build()
    options, unrecognized = parser.parse_known_args(argv, Options())
    assert isinstance(options, Options)
    if not options.verb and not unrecognized:
        if argv:
            parser.error("there is no verb")
        parser.parse_args(["--help"])
    if options.verb == grammar.HELP and not unrecognized:
        _help(parser, options.topic)
    if unrecognized:
        raise errors.InputError(_unrecognized(parser, options.verb, unrecognized))
    if options.local and options.socket is not None:
        raise errors.InputError("--local and --socket exclude each other")
    return options


def _help(parser: Parser, topic: str | None) -> NoReturn:
    if topic is not None and topic not in verbs(parser):
        parser.error(f"there is no verb {topic!r}{near(topic, [*verbs(parser)])}")
    parser.parse_args(["--help"] if topic is None else [topic, "--help"])
    raise AssertionError("argparse ends after --help")


def _unrecognized(parser: Parser, verb: str, unrecognized: Sequence[str]) -> str:
    reader = verbs(parser).get(verb, parser)
    known = [option.removeprefix("--") for option in reader._option_string_actions if option.startswith("--")]
    # Without dashes, which would make every two options alike.
    words = (word.partition("=")[0].lstrip("-") for word in unrecognized if word.startswith("-"))
    hint = next((hint for word in words if (hint := near(word, known, "--"))), "")
    return f"unrecognized arguments: {' '.join(unrecognized)}{hint}; see `{f'vifplug {verb}'.strip()} --help`"
