"""The result of a command on stdout, in the output format that the options ask for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vifplug import errors
from vifplug.cli import arguments, output, tables
from vifplug.cli.arguments import Options
from vifplug.cli.arguments.values import near
from vifplug.cli.layout import Screen
from vifplug.cli.verb import Outcome
from vifplug.model import printable

_NAMED = (*tables.SHAPES, "show")
"""Verbs that have something for -o name."""


def check(options: Options) -> None:
    """Check that the verb has the output that the options ask for, before it does anything; and complete the options.

    :raises errors.InputError: it has no table, no such column or no names.
    """
    if options.output == arguments.NAME and options.verb not in _NAMED:
        raise errors.InputError(f"{options.verb} has no -o name; the verbs that have are {', '.join(_NAMED)}")
    if options.columns is None:
        return
    if options.output not in (arguments.TABLE, arguments.WIDE):
        raise errors.InputError(f"--columns are those of a table, not of -o {options.output}; leave one of them out")
    options.columns = _columns(options.verb, options.columns)


def _columns(verb: str, given: Sequence[str]) -> list[str]:
    shape = tables.SHAPES.get(verb)
    if shape is None:
        raise errors.InputError(f"{verb} prints no table with columns; --columns are for {', '.join(tables.SHAPES)}")
    known = [*shape.headers]
    columns = [*dict.fromkeys(name.upper() for name in given)]
    unknown = next((name for name in columns if name not in known), None)
    if unknown is not None or not columns:
        raise errors.InputError(
            f"--columns: {verb} has no column {unknown or ''!r}{near(unknown or '', known)}; it has {', '.join(known)}"
        )
    return columns


def screen(options: Options) -> Screen:
    """What stdout can show, and what of a table is asked for."""
    wide = options.output == arguments.WIDE
    return Screen.of(sys.stdout, wide=wide, columns=tuple(options.columns or ()), headed=options.headed)


def warn(texts: Sequence[str], options: Options) -> None:
    """Warnings on stderr, unless only errors are wanted."""
    if not options.quiet:
        output.warn(texts)


def emit(outcome: Outcome, options: Options) -> int:
    """Print the warnings and the result of a verb; return the exit code."""
    warn([*dict.fromkeys(outcome.warnings)], options)
    if not outcome.is_printed and not options.quiet:
        text = _text(outcome, options)
        if text:
            output.put(text)
    return outcome.exit_code


def _text(outcome: Outcome, options: Options) -> str:
    if options.output == arguments.JSON:
        return printable.dumps(outcome.document, indent=2)
    if options.output == arguments.YAML:
        return yaml(outcome.document)
    if options.output == arguments.NAME and outcome.names is not None:
        return "\n".join(map(tables.printable, outcome.names()))
    return outcome.text(screen(options))


def yaml(document: object) -> str:
    """A document as YAML."""
    from vifplug.formats.text import yaml_text  # here, because PyYAML takes longer to import than a daemon to answer

    return yaml_text.dumps(document)
