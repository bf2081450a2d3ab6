"""One function per verb, from options to an outcome. A verb neither prints its result nor maps errors."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from vifplug import errors, formats
from vifplug.cli import inputs, output, tables
from vifplug.cli.arguments import Options
from vifplug.cli.layout import Screen
from vifplug.cli.verb import EXIT_CONFLICT, EXIT_DONE, EXIT_DRIFT, EXIT_FAILED, Opener, Outcome, Verb
from vifplug.model import limits, reports

if TYPE_CHECKING:
    from vifplug.api.contract import Host


def plug(options: Options, opener: Opener) -> Outcome:
    """Plug every VIF of the document, or with --dry-run print the plan."""
    vifs = inputs.vifs(options)
    with opener(options, lambda: inputs.check(vifs)) as host:
        if options.dry_run:
            return _planned(host.plan(vifs))
        with _shown(host, "plugging", lambda: inputs.ids_if_many(vifs), "steps are done", options):
            plugged = host.plug(vifs)
        if options.wait == reports.PLUGGED or not plugged:
            return _reported(plugged)
        from vifplug.cli import verbs_events

        warnings = [*host.warnings, *(warning for vif in plugged for warning in vif.warnings)]
        reached = verbs_events.after_plug(host, [vif.id for vif in plugged], options)
        return _reported(reached, warnings=[warning for warning in warnings if warning not in host.warnings])


def _shown(
    host: Host, doing: str, ids: Callable[[], Sequence[str]], counted: str, options: Options
) -> AbstractContextManager[None]:
    """Progress on stderr, if that is a terminal."""
    if options.as_json or not output.is_interactive():
        return contextlib.nullcontext()
    from vifplug.cli import progress

    return progress.shown(host, doing, ids(), counted)


def _planned(plan: reports.PlanReport) -> Outcome:
    lines = [tables.printable(str(action)) for action in plan.actions]
    return Outcome(document=plan.as_json(), text=lambda _: "\n".join(lines) or "nothing to do")


def _reported(
    vifs: Sequence[reports.VifReport],
    text: Callable[[Sequence[reports.VifReport], Screen], str] = tables.vifs,
    *,
    exit_code: int = EXIT_DONE,
    warnings: Sequence[str] = (),
) -> Outcome:
    return Outcome(
        document={"vifs": [vif.as_json() for vif in vifs]},
        text=lambda screen: text(vifs, screen),
        exit_code=exit_code,
        warnings=[*warnings, *(warning for vif in vifs for warning in vif.warnings)],
    )


def unplug(options: Options, opener: Opener) -> Outcome:
    """Unplug VIFs. An absent one counts as success."""
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
    return Outcome(document=vif.as_json(), text=lambda screen: tables.single_vif(vif, screen), warnings=vif.warnings)


def check(options: Options, opener: Opener) -> Outcome:
    """Compare VIFs with the host."""
    ids = inputs.ids(options.ids) or None
    with opener(options) as host:
        report = host.check(ids)
    return Outcome(
        document=report.as_json(),
        text=lambda screen: "\n".join(
            (tables.check(report, screen), tables.paragraph(report.claims.sentence("ID"), screen))
        ),
        exit_code=EXIT_DONE if report.clean else EXIT_DRIFT,
    )


def repair(options: Options, opener: Opener) -> Outcome:
    """Repair drift, or with --dry-run print the changes."""
    if bool(options.ids) == options.every:
        raise errors.InputError("repair needs either the IDs of VIFs or --all")
    ids = inputs.ids(options.ids) or None
    counted = "VIFs are done"
    with opener(options) as host:
        if options.dry_run:
            return _planned(host.plan_repair(ids))
        with _shown(host, "repairing", lambda: ids or [vif.id for vif in host.list()], counted, options):
            repaired = host.repair(ids)
    outcome = _reported(repaired, tables.repaired, exit_code=_repair_exit_code(repaired))
    actions = [action.as_json() for vif in repaired for action in vif.actions or ()]
    return replace(outcome, document={**outcome.document, "actions": actions})


def _repair_exit_code(vifs: Sequence[reports.VifReport]) -> int:
    """Repair continues past a VIF that it cannot repair; the exit code must not hide that VIF."""
    states = {vif.state for vif in vifs}
    if states & {reports.FAILED, reports.DRIFTED}:
        return EXIT_FAILED
    return EXIT_CONFLICT if reports.CONTENDED in states else EXIT_DONE


def wait(options: Options, opener: Opener) -> Outcome:
    """Wait until VIFs that are plugged here are in a state."""
    from vifplug.cli import verbs_events

    ids = inputs.ids(options.ids)
    with opener(options) as host:
        return _reported(verbs_events.wait_for_known(host, ids, options))


def gc(options: Options, opener: Opener) -> Outcome:
    """List orphans, and with --keep also VIFs whose guest is gone; with --delete delete them."""
    if options.keep is None and options.absent_for is not None:
        raise errors.InputError("gc: --absent-for needs --keep FILE, the ids to keep")
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
    from vifplug.cli import diagram

    (vif_id,) = inputs.ids(options.ids)
    with opener(options) as host:
        path = host.path(vif_id)

    def text(screen: Screen) -> str:
        if options.format == "dot":
            return diagram.as_dot(path)
        return diagram.as_text(path, unicode=screen.unicode, color=screen.color)

    return Outcome(document=diagram.as_json(path), text=text, warnings=path.vif.warnings)


def schema(_options: Options, _opener: Opener) -> Outcome:
    """The JSON Schema of our own format."""
    document = formats.schema()
    return Outcome(document=document, text=lambda _: json.dumps(document, indent=2))


def _lazy(module: str, name: str) -> Verb:
    """A verb of another module, which is imported when the verb is called, to keep every start short."""

    def verb(options: Options, opener: Opener) -> Outcome:
        function: Verb = getattr(importlib.import_module(f"vifplug.cli.{module}"), name)
        return function(options, opener)

    return verb


VERBS: Mapping[str, Verb] = {
    "plug": plug,
    "unplug": unplug,
    "list": list_,
    "show": show,
    "check": check,
    "repair": repair,
    "gc": gc,
    "events": _lazy("verbs_events", "events"),
    "history": _lazy("verbs_events", "history"),
    "wait": wait,
    "diagram": diagram,
    "guest": _lazy("verbs_host", "guest"),
    "schema": schema,
    "doctor": _lazy("verbs_host", "doctor"),
    "host-info": _lazy("verbs_host", "host_info"),
    "setup-host": _lazy("verbs_host", "setup_host"),
}
