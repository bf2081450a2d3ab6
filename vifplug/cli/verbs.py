"""One function per verb: options in, an outcome out. None prints a result, and none maps an error."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vifplug import errors, formats
from vifplug.cli import inputs, output, tables
from vifplug.cli.arguments import Options
from vifplug.cli.verb import EXIT_CONFLICT, EXIT_DONE, EXIT_DRIFT, EXIT_FAILED, Opener, Outcome, Verb
from vifplug.model import limits, reports

if TYPE_CHECKING:
    from vifplug.api.contract import Host


def plug(options: Options, opener: Opener) -> Outcome:
    """Plug every VIF of the document, or with --dry-run say what that would do."""
    vifs = inputs.vifs(options)
    with opener(options, lambda: inputs.check(vifs)) as host:
        if options.dry_run:
            return _planned(host.plan(vifs))
        with _shown(host, "plugging", lambda: inputs.ids_if_many(vifs), "steps are done", options):
            found = host.plug(vifs)
        if options.wait == reports.PLUGGED or not found:
            return _reported(found)
        from vifplug.cli import verbs_events

        warnings = [*host.warnings, *(warning for vif in found for warning in vif.warnings)]
        reached = verbs_events.after_plug(host, [vif.id for vif in found], options)
        return _reported(reached, warnings=[one for one in warnings if one not in host.warnings])


def _shown(
    host: Host, doing: str, ids: Callable[[], Sequence[str]], counted: str, options: Options
) -> AbstractContextManager[None]:
    """How far it has come, where somebody sits who may want to know."""
    if options.as_json or not output.is_watched():
        return contextlib.nullcontext()
    from vifplug.cli import progress

    return progress.shown(host, doing, ids(), counted)


def _planned(plan: reports.PlanReport) -> Outcome:
    lines = [tables.printable(str(action)) for action in plan.actions]
    return Outcome(document=plan.as_json(), text=lambda _: "\n".join(lines) or "nothing to do")


def _reported(
    found: Sequence[reports.VifReport],
    text: Callable[[Sequence[reports.VifReport], tables.Screen], str] = tables.vifs,
    *,
    exit_code: int = EXIT_DONE,
    warnings: Sequence[str] = (),
) -> Outcome:
    return Outcome(
        document={"vifs": [vif.as_json() for vif in found]},
        text=lambda screen: text(found, screen),
        exit_code=exit_code,
        warnings=[*warnings, *(warning for vif in found for warning in vif.warnings)],
    )


def unplug(options: Options, opener: Opener) -> Outcome:
    """Take the VIFs away. One that is not there is done already."""
    if bool(options.ids) == (options.file is not None):
        raise errors.InputError("unplug needs either the IDs of VIFs or -f FILE")
    ids = inputs.ids(options.ids) if options.file is None else inputs.ids_of(options.file)
    with opener(options) as host, _shown(host, "unplugging", lambda: ids, "VIFs are unplugged", options):
        return _reported(host.unplug(ids), tables.unplugged)


def list_(options: Options, opener: Opener) -> Outcome:
    """Every recorded VIF, or those without a guest for a while."""
    with opener(options) as host:
        return _reported(host.list() if options.absent_for is None else host.list(absent_for=options.absent_for))


def show(options: Options, opener: Opener) -> Outcome:
    """One VIF in full."""
    (vif_id,) = inputs.ids(options.ids)
    with opener(options) as host:
        vif = host.get(vif_id)
    return Outcome(document=vif.as_json(), text=lambda screen: tables.one_vif(vif, screen), warnings=vif.warnings)


def check(options: Options, opener: Opener) -> Outcome:
    """Compare VIFs with the host."""
    ids = inputs.ids(options.ids) or None
    with opener(options) as host:
        report = host.check(ids)
    return Outcome(
        document=report.as_json(),
        text=lambda screen: tables.check(report, screen),
        exit_code=EXIT_DONE if report.clean else EXIT_DRIFT,
    )


def repair(options: Options, opener: Opener) -> Outcome:
    """Put right what drifted."""
    if bool(options.ids) == options.every:
        raise errors.InputError("repair needs either the IDs of VIFs or --all")
    ids = inputs.ids(options.ids) or None
    counted = "VIFs are done"
    with (
        opener(options) as host,
        _shown(host, "repairing", lambda: ids or [vif.id for vif in host.list()], counted, options),
    ):
        found = host.repair(ids)
    return _reported(found, exit_code=_verdict(found))


def _verdict(found: Sequence[reports.VifReport]) -> int:
    """Repair goes on past a VIF it cannot put right; the exit code must not hide that one."""
    states = {vif.state for vif in found}
    if states & {reports.FAILED, reports.DRIFTED}:
        return EXIT_FAILED
    return EXIT_CONFLICT if reports.CONTENDED in states else EXIT_DONE


def wait(options: Options, opener: Opener) -> Outcome:
    """Wait until VIFs that are plugged here are in a state."""
    from vifplug.cli import verbs_events

    ids = inputs.ids(options.ids)
    with opener(options) as host:
        return _reported(verbs_events.known(host, ids, options))


def gc(options: Options, opener: Opener) -> Outcome:
    """List orphans, with --keep VIFs whose guest is gone as well, and with --delete take them away."""
    if options.keep is None and options.absent_for is not None:
        raise errors.InputError("gc: --absent-for goes with --keep FILE, which names what is to stay")
    keep = None if options.keep is None else inputs.ids_to_keep(options.keep)
    absent_for = limits.ABSENT_SECONDS if options.absent_for is None else options.absent_for
    with opener(options) as host:
        if keep is None:
            report = host.gc(delete=options.delete)
        else:
            report = host.gc(delete=options.delete, keep=keep, absent_for=absent_for)
    return Outcome(document=report.as_json(), text=lambda screen: tables.gc(report, screen))


def diagram(options: Options, opener: Opener) -> Outcome:
    """Draw a VIF's path."""
    from vifplug.cli import diagram as drawing

    (vif_id,) = inputs.ids(options.ids)
    with opener(options) as host:
        path = host.path(vif_id)

    def text(screen: tables.Screen) -> str:
        if options.format == "dot":
            return drawing.as_dot(path)
        return drawing.as_text(path, unicode=screen.unicode, color=screen.color)

    return Outcome(document=drawing.as_json(path), text=text, warnings=path.vif.warnings)


def schema(_options: Options, _opener: Opener) -> Outcome:
    """The JSON Schema of our own format."""
    document = formats.schema()
    return Outcome(document=document, text=lambda _: json.dumps(document, indent=2))


def _of(room: str, name: str) -> Verb:
    """A verb of another room, which is entered when the verb is called: every start would pay for all of them."""

    def verb(options: Options, opener: Opener) -> Outcome:
        found: Verb = getattr(importlib.import_module(f"vifplug.cli.{room}"), name)
        return found(options, opener)

    return verb


VERBS: Mapping[str, Verb] = {
    "plug": plug,
    "unplug": unplug,
    "list": list_,
    "show": show,
    "check": check,
    "repair": repair,
    "gc": gc,
    "events": _of("verbs_events", "events"),
    "wait": wait,
    "diagram": diagram,
    "guest": _of("verbs_host", "guest"),
    "schema": schema,
    "doctor": _of("verbs_host", "doctor"),
    "host-info": _of("verbs_host", "host_info"),
}
