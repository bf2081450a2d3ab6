"""The verbs that print a text of vifplug itself, and ask no host."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence

from vifplug import errors, formats, version
from vifplug.cli import output
from vifplug.cli.arguments import Options
from vifplug.cli.arguments.values import near
from vifplug.cli.reference import manual, markdown
from vifplug.cli.reference.pages import Page, pages
from vifplug.cli.verb import Opener, Outcome


def example(options: Options, _opener: Opener) -> Outcome:
    """The smallest useful document of a vif_type."""
    from vifplug.formats import examples

    document = examples.example(options.vif_type)
    if options.vif_type is None and options.is_plain and output.is_interactive():
        output.write_error(f"vifplug: this is vif_type {document['vif_type']}; others: {', '.join(examples.EXAMPLES)}")
    return Outcome(document=document, text=lambda _: json.dumps(document, indent=2))


def completion(options: Options, _opener: Opener) -> Outcome:
    """A shell's completion script."""
    from vifplug.cli.reference import shells

    script = shells.SCRIPTS[options.shell]
    return Outcome(document={"script": script}, text=lambda _: script.rstrip("\n"))


def schema(_options: Options, _opener: Opener) -> Outcome:
    """The JSON Schema of our own format."""
    document = formats.schema()
    return Outcome(document=document, text=lambda _: json.dumps(document, indent=2))


def man(options: Options, _opener: Opener) -> Outcome:
    """A manual page, every page, or the reference in Markdown.

    :raises errors.InputError: there is no such verb, or the pages cannot be written.
    """
    every = pages()
    if options.directory is not None:
        names = _written(every, options.directory)
        return Outcome(document={"files": names}, text=lambda _: "\n".join(names))
    text = markdown.reference(every) if options.format == "markdown" else _source(_chosen(every, options.topic))
    return Outcome(document={"text": text}, text=lambda _: text.rstrip("\n"))


def _chosen(every: Sequence[Page], topic: str | None) -> Page:
    known = {page.command.partition(" ")[2]: page for page in every}
    if (topic or "") not in known:
        raise errors.InputError(f"there is no verb {topic!r}{near(topic or '', [*known])}; see `vifplug --help`")
    return known[topic or ""]


def _source(page: Page) -> str:
    # Debian's builds set this, so that the same source gives the same page.
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    day = time.gmtime(int(seconds) if seconds.isdigit() else None)
    return manual.page(page, version.installed(), time.strftime("%Y-%m-%d", day))


def _written(every: Sequence[Page], directory: str) -> list[str]:
    try:
        os.makedirs(directory, exist_ok=True)
        for page in every:
            with open(os.path.join(directory, f"{page.name}.1"), "w", encoding="ascii") as file:
                file.write(_source(page))
    except OSError as error:
        raise errors.InputError(f"cannot write to {directory!r}: {error.strerror}", directory) from error
    return [os.path.join(directory, f"{page.name}.1") for page in every]
