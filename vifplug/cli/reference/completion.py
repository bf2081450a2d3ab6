"""Completion of words on the command line, for every shell: the shells' scripts call ``vifplug complete-words``.

The candidates come from the parser, so they are those of the installed version; VIFs come from the daemon.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from vifplug import errors
from vifplug.cli.arguments import grammar
from vifplug.cli.arguments.options import STDIN
from vifplug.cli.arguments.parser import build, verbs
from vifplug.formats.examples import EXAMPLES
from vifplug.model.reports import STATES

if TYPE_CHECKING:
    from vifplug.model.reports import VifReport

FILES = ":files"
"""In place of candidates: the shell completes file names."""
Candidate = tuple[str, str]
"""A word, and what it is."""
_WHOLE = re.compile(r"[A-Za-z0-9_.@+-]+")
"""Names that no shell has to quote."""
_DAEMON_SECONDS = 1.0
_FILES = ("FILE", "PATH", "FILE|UUID")
_WITH_COMMAS = "STATE,..."


def print_candidates(words: Sequence[str]) -> None:
    """Print the candidates for the last of the words that follow the program's name, a line each: a word, a tab, and
    what it is. Errors print nothing: a person who presses Tab reads no messages."""
    for word, text in candidates(words, lambda: _plugged(words)):
        print(f"{word}\t{text}" if text else word)


def candidates(words: Sequence[str], vifs: Callable[[], Sequence[VifReport]]) -> list[Candidate]:
    """The candidates for the last word. Pure, but for the VIFs.

    :param vifs: called only where a VIF may be named.
    """
    before, word = _joined(words)
    parser = build()
    known = verbs(parser)
    verb = _verb(parser, before)
    if verb and verb not in known:
        return []
    reader = known.get(verb, parser)
    option = reader._option_string_actions.get(before[-1]) if before else None
    if option is not None and _takes_value(option):
        return _matching(_values(option, word, vifs), word)
    if word.startswith("-") and word != STDIN:
        return _matching(_options(reader), word)
    if not verb:
        return _matching(((name, _about(parser, name)) for name in known), word)
    positional = _positional(reader, before[before.index(verb) + 1 :])
    if positional is None:
        return []
    if positional.dest == "topic":
        return _matching(((name, _about(parser, name)) for name in known), word)
    return _matching(_values(positional, word, vifs), word)


def _joined(words: Sequence[str]) -> tuple[list[str], str]:
    """The words before the last, and the last. bash passes ``--output=js`` as three words."""
    given = [*words] or [""]
    if given[-1] == "=":
        given.append("")
    return [word for word in given[:-1] if word != "="], given[-1]


def _verb(parser: argparse.ArgumentParser, before: Sequence[str]) -> str:
    """The first word that is neither an option nor an option's value; "" if there is none."""
    is_value = False
    for word in before:
        if not is_value and not word.startswith("-"):
            return word
        option = parser._option_string_actions.get(word)
        is_value = not is_value and option is not None and _takes_value(option)
    return ""


def _takes_value(option: argparse.Action) -> bool:
    return option.nargs != 0


def _options(reader: argparse.ArgumentParser) -> Iterator[Candidate]:
    for action in reader._actions:
        for text in action.option_strings:
            if text.startswith("--"):
                yield text, action.help or ""


def _about(parser: argparse.ArgumentParser, verb: str) -> str:
    pseudo = (choice for action in parser._actions for choice in getattr(action, "_choices_actions", ()))
    return next((choice.help for choice in pseudo if choice.dest == verb), "")


def _positional(reader: argparse.ArgumentParser, given: Sequence[str]) -> argparse.Action | None:
    """The positional argument that comes next."""
    positionals = [action for action in reader._actions if not action.option_strings]
    count = 0
    is_value = False
    for word in given:
        if not is_value and (not word.startswith("-") or word == STDIN):
            count += 1
        option = reader._option_string_actions.get(word)
        is_value = not is_value and option is not None and _takes_value(option)
    if not positionals:
        return None
    if count < len(positionals):
        return positionals[count]
    return positionals[-1] if positionals[-1].nargs in ("*", "+") else None


def _values(action: argparse.Action, word: str, vifs: Callable[[], Sequence[VifReport]]) -> Iterable[Candidate]:
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices]
    if action.metavar in _FILES:
        return [(FILES, "")]
    if action.metavar == grammar.VIF:
        return _names(vifs(), word)
    if action.metavar == "INSTANCE":
        return _instances(vifs())
    if action.dest in ("vif_type", "vif_types"):
        return [(vif_type, "") for vif_type in EXAMPLES]
    if action.metavar == _WITH_COMMAS:
        return [(state, "") for state in STATES]
    return []


def _names(vifs: Sequence[VifReport], word: str) -> Iterator[Candidate]:
    """Ids; when a word has begun, also devices and instances. Not MACs: to bash a colon separates words."""
    for vif in vifs:
        device = vif.waiting_for or next((device.name for device in vif.devices), "")
        name = vif.instance.name if vif.instance is not None and vif.instance.name else ""
        yield vif.id, " ".join(text for text in (vif.vif_type, device, vif.state, name) if text)
        if word:
            devices = [*(device.name for device in vif.devices), *([vif.waiting_for] if vif.waiting_for else ())]
            yield from ((each, vif.id) for each in (*devices, name) if each)


def _instances(vifs: Sequence[VifReport]) -> Iterator[Candidate]:
    for vif in vifs:
        if vif.instance is not None:
            yield vif.instance.name or vif.instance.uuid, vif.instance.uuid


def _matching(given: Iterable[Candidate], word: str) -> list[Candidate]:
    """Those that begin with the word, each once, without what a shell would have to quote."""
    matching = {
        name: " ".join(text.split())
        for name, text in given
        if name == FILES or (name.startswith(word) and _WHOLE.fullmatch(name))
    }
    return [*matching.items()]


def _plugged(words: Sequence[str]) -> Sequence[VifReport]:
    """The VIFs of the daemon that the words name; none if it does not answer at once."""
    import vifplug

    given = {option: value for option, value in itertools.pairwise(words) if option.startswith("--")}
    if "--local" in words:
        return ()
    try:
        with vifplug.connect(given.get("--socket"), given.get("--config-file"), timeout=_DAEMON_SECONDS) as host:
            return host.list()
    except (errors.VifplugError, OSError):
        return ()
