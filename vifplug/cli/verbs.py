"""One function per verb, from options to an outcome. A verb neither prints its result nor maps errors."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from vifplug import errors
from vifplug.cli import inputs, output, tables
from vifplug.cli.arguments import Options
from vifplug.cli.layout import Screen
from vifplug.cli.verb import EXIT_CONFLICT, EXIT_DONE, EXIT_DRIFT, EXIT_FAILED, Opener, Outcome, Verb
from vifplug.model import limits, reports
from vifplug.model.queries.selection import Selection

if TYPE_CHECKING:
    from vifplug.api.contract import Host


def plug(options: Options, opener: Opener) -> Outcome:
    """Plug every VIF of the document or of the options, or with --dry-run print the plan."""
    vifs = inputs.vifs(options)
    text = tables.vifs if options.file is not None else tables.described_vif
    with opener(options, lambda: inputs.check(vifs)) as host:
        if options.dry_run:
            return _planned(host.plan(vifs))
        with _shown(host, "plugging", lambda: inputs.ids_if_many(vifs), "steps are done", options):
            plugged = host.plug(vifs)
        if options.wait == reports.PLUGGED or not plugged:
            return _reported(plugged, text)
        from vifplug.cli import verbs_events

        warnings = [*host.warnings, *(warning for vif in plugged for warning in vif.warnings)]
        reached = verbs_events.after_plug(host, [vif.id for vif in plugged], options)
        return _reported(reached, text, warnings=[warning for warning in warnings if warning not in host.warnings])


def _shown(
    host: Host, doing: str, ids: Callable[[], Sequence[str]], counted: str, options: Options
) -> AbstractContextManager[None]:
    """Progress on stderr, if that is a terminal."""
    if not options.is_plain or not output.is_interactive():
        return contextlib.nullcontext()
    from vifplug.cli.terminal import progress

    return progress.shown(host, doing, ids(), counted)


def _planned(plan: reports.PlanReport) -> Outcome:
    lines = [tables.printable(str(action)) for action in plan.actions]
    return Outcome(
        document=plan.as_json(),
        text=lambda _: "\n".join(lines) or "nothing to do",
        names=lambda: [action.subject for action in plan.actions],
    )


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
        names=lambda: [vif.id for vif in vifs],
        exit_code=exit_code,
        warnings=[*warnings, *(warning for vif in vifs for warning in vif.warnings)],
    )


def unplug(options: Options, opener: Opener) -> Outcome:
    """Unplug VIFs. An absent id counts as success; another unknown name does not, because it may be mistyped."""
    given = (bool(options.ids), options.file is not None, options.instance is not None)
    if sum(given) != 1:
        raise errors.InputError("unplug needs the VIFs, or -f FILE, or --instance INSTANCE")
    listed = None if options.file is None else inputs.ids_of(options.file)
    with opener(options) as host:
        ids = _ids_to_unplug(host, options) if listed is None else listed
        if options.dry_run:
            return _planned(host.plan_unplug(ids))
        with _shown(host, "unplugging", lambda: ids, "VIFs are unplugged", options):
            unplugged = host.unplug(ids)
        absent = [vif.id for vif in unplugged if tables.is_absent(vif)] if options.ids else []
        if not absent:
            return _reported(unplugged, tables.unplugged)
        warnings = [*host.warnings]  # the next call has others
        named = _vifs_of_instances(host, absent)
        more = host.unplug([*named.values()]) if named else ()
        unplugged = [*(vif for vif in unplugged if vif.id not in named), *more]
        return _reported(unplugged, tables.unplugged, warnings=warnings)


def _ids_to_unplug(host: Host, options: Options) -> Sequence[str]:
    if options.instance is not None:
        return inputs.of_instance(options.instance, host.list())
    return inputs.ids_or_absent(host, options.ids)


def _vifs_of_instances(host: Host, absent: Sequence[str]) -> Mapping[str, str]:
    """The VIFs of the instances whose UUIDs are among ids that are not plugged. They are looked for after an unplug: an
    id must cost no further call.

    :raises errors.InputError: an instance has several VIFs.
    """
    try:
        vifs = host.list()
    except errors.VifplugError:
        return {}  # the VIFs that were given are absent, which is success
    named = ((vif_id, inputs.resolved([vif_id], vifs, absent=True)[0]) for vif_id in absent)
    return {given: vif_id for given, vif_id in named if given != vif_id}


def list_(options: Options, opener: Opener) -> Outcome:
    """Every recorded VIF, or those that the options select."""
    selection = Selection(
        states=options.states or (),
        vif_types=options.vif_types or (),
        instance=options.instance,
        bridge=options.bridge,
        sort=options.sort,
    )
    with opener(options) as host:
        vifs = host.list() if options.absent_for is None else host.list(absent_for=options.absent_for)
    return _reported(selection.of(vifs))


def show(options: Options, opener: Opener) -> Outcome:
    """One VIF in full."""
    with opener(options) as host:
        vif = inputs.with_id(host, options.ids[0], host.get)
    return Outcome(
        document=vif.as_json(),
        text=lambda screen: tables.single_vif(vif, screen),
        names=lambda: [vif.id],
        warnings=vif.warnings,
    )


def check(options: Options, opener: Opener) -> Outcome:
    """Compare VIFs with the host."""
    with opener(options) as host:
        report = inputs.with_ids(host, options.ids, host.check) if options.ids else host.check(None)
    return Outcome(
        document=report.as_json(),
        text=lambda screen: tables.with_note(tables.check(report, screen), report.claims.sentence("ID"), screen),
        names=lambda: [vif.id for vif in report.vifs if vif.drift or vif.state == reports.FAILED],
        exit_code=EXIT_DONE if report.clean else EXIT_DRIFT,
    )


def repair(options: Options, opener: Opener) -> Outcome:
    """Repair drift, or with --dry-run print the changes."""
    if bool(options.ids) == options.every:
        raise errors.InputError("repair needs either the VIFs or --all")
    with opener(options) as host:
        if options.ids:
            return inputs.with_ids(host, options.ids, lambda ids: _repaired(host, ids, options))
        return _repaired(host, None, options)


def _repaired(host: Host, ids: Sequence[str] | None, options: Options) -> Outcome:
    if options.dry_run:
        return _planned(host.plan_repair(ids))
    with _shown(host, "repairing", lambda: ids or [vif.id for vif in host.list()], "VIFs are done", options):
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

    with opener(options) as host:
        return _reported(
            inputs.with_ids(host, options.ids, lambda ids: verbs_events.wait_for_known(host, ids, options))
        )


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
    return Outcome(
        document=report.as_json(),
        text=lambda screen: tables.gc(report, screen),
        names=lambda: [*(orphan.name for orphan in report.orphans), *(vif.vif_id for vif in report.absent or ())],
    )


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
    "top": _lazy("watch.top", "top"),
    "web": _lazy("watch.web", "web"),
    "wait": wait,
    "diagram": _lazy("drawing.verb", "diagram"),
    "trace": _lazy("verbs_host", "trace"),
    "guest": _lazy("verbs_host", "guest"),
    "schema": _lazy("reference.verbs", "schema"),
    "example": _lazy("reference.verbs", "example"),
    "completion": _lazy("reference.verbs", "completion"),
    "man": _lazy("reference.verbs", "man"),
    "doctor": _lazy("verbs_host", "doctor"),
    "host-info": _lazy("verbs_host", "host_info"),
    "setup-host": _lazy("verbs_host", "setup_host"),
}
