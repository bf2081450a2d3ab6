"""The verbs that wait: for events, and for VIFs to reach a state."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vifplug import errors
from vifplug.cli import inputs, output, results, tables
from vifplug.cli.arguments import JSON, NAME, YAML, Options
from vifplug.cli.layout import Screen
from vifplug.cli.verb import Opener, Outcome
from vifplug.model import limits, printable, reports
from vifplug.model.events import WaitReport
from vifplug.model.events import history as story

if TYPE_CHECKING:
    from vifplug.api.contract import Host
    from vifplug.model.events import Event


def events(options: Options, opener: Opener) -> Outcome:
    """Stored events; with --follow also new ones, until interrupted."""
    with opener(options) as host:
        ids = inputs.ids_or_absent(host, options.ids) if options.ids else None
        if options.follow:
            _follow(host, ids, options)
            return Outcome(document=None, text=lambda _: "", is_printed=True)
        stored = list(host.events(options.since, **_only(ids)))
    return Outcome(
        document={"events": [event.as_json() for event in stored]},
        text=lambda screen: tables.events(stored, screen),
        names=lambda: [event.vif_id for event in stored],
    )


def _only(ids: Sequence[str] | None) -> dict[str, Any]:
    return {"ids": ids} if ids else {}


def history(options: Options, opener: Opener) -> Outcome:
    """One VIF's story.

    :raises errors.UnknownVif: there is no event of it, and it is not plugged.
    """
    with opener(options) as host:
        vif_id, stored = inputs.with_id(host, options.ids[0], lambda vif_id: _events_of(host, vif_id))
    now = datetime.datetime.now(datetime.UTC).isoformat()
    chapters = story(stored, now)
    return Outcome(
        document={"vif_id": vif_id, "events": [chapter.as_json() for chapter in chapters]},
        text=lambda screen: tables.history(chapters, screen),
    )


def _events_of(host: Host, vif_id: str) -> tuple[str, list[Event]]:
    stored = list(host.events(ids=[vif_id]))
    if not stored:
        host.get(vif_id)  # raises UnknownVif for a VIF that was never here
    return vif_id, stored


def _follow(host: Host, ids: Sequence[str] | None, options: Options) -> None:
    shown = tables.Followed(Screen() if options.as_json else results.screen(options))

    def work() -> None:
        if not options.as_json and options.output != NAME and not _put(shown.head(), options):
            return
        for event in host.events(options.since, follow=True, **_only(ids)):
            if not _put(_line(event, shown, options), options):
                return

    # Ctrl-C is the normal end.
    with contextlib.suppress(KeyboardInterrupt), changing_nothing():
        output.run_until_closed(work)


def _line(event: Event, shown: tables.Followed, options: Options) -> str:
    if options.output == JSON:
        return printable.dumps(event.as_json())
    if options.output == YAML:
        return f"---\n{results.yaml(event.as_json())}"  # a document each
    return event.vif_id if options.output == NAME else shown.line(event)


def _put(text: str, options: Options) -> bool:
    return options.quiet or not text or output.put(text)


def wait_for_known(host: Host, ids: Sequence[str], options: Options) -> Sequence[reports.VifReport]:
    """Wait for VIFs that are plugged here.

    :raises errors.UnknownVif: at once, for a VIF that is not.
    :raises errors.NotReached, errors.VifFailed: as the library's ``wait``.
    """
    absent: list[str] = []
    # The daemon answered when the host was opened. If it dies before its first answer, the wait goes on.
    with contextlib.suppress(errors.DaemonUnreachable):
        report = host.look(ids, options.awaited)
        absent = [vif.id for vif in report.vifs if vif.state == reports.ABSENT]
    if absent:
        named = f"VIF {absent[0]} is" if len(absent) == 1 else f"VIFs {', '.join(absent)} are"
        raise errors.UnknownVif(f"{named} not plugged on this host; 'vifplug list' shows those that are", absent[0])
    with changing_nothing():
        return _waited(host, ids, options.awaited, options)


def after_plug(host: Host, ids: Sequence[str], options: Options) -> Sequence[reports.VifReport]:
    """Wait for VIFs that this command has plugged.

    :raises errors.NotReached, errors.VifFailed: as the library's ``wait``; they stay plugged.
    """
    kept = "it stays plugged" if len(ids) == 1 else "they stay plugged"
    try:
        return _waited(host, ids, options.wait, options)
    except errors.VifplugError as error:
        raise type(error)(f"{error.message}; {kept}", error.subject, error.step) from error
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note(f"{kept}; continue with `vifplug wait`")
        raise


def _waited(host: Host, ids: Sequence[str], state: str, options: Options) -> Sequence[reports.VifReport]:
    seconds = limits.TIMEOUT_SECONDS if options.timeout is None else options.timeout
    if seconds and options.is_plain and output.is_interactive():
        with contextlib.suppress(errors.VifplugError):  # the wait itself reports it
            _announce(host.look(ids, state), state, seconds)
    return host.wait(ids, state, seconds)


def _announce(report: WaitReport, state: str, seconds: float) -> None:
    missing = [vif for vif in report.vifs if vif.waits_for]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        output.show_progress(
            f"waiting up to {seconds:g} s for VIF {missing[0].id}{others} to be {state}; it waits for "
            f"{missing[0].waits_for} ..."
        )


@contextlib.contextmanager
def changing_nothing() -> Iterator[None]:
    """Add a note to an interruption that nothing was changed."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note("nothing was changed")
        raise
