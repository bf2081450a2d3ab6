"""One function per verb: options in, an outcome out. None prints a result, and none maps an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vifplug import errors, reports
from vifplug.cli import diagram as drawing
from vifplug.cli import documents, tables
from vifplug.cli.arguments import WAITS, Options

if TYPE_CHECKING:
    from vifplug.model import Vif

EXIT_DONE, EXIT_FAILED, EXIT_DRIFT, EXIT_CONFLICT = 0, 1, 3, 4


class Plan(Protocol):
    """What would be done."""

    @property
    def actions(self) -> Sequence[object]:
        """In order; ``str`` of one is a line to read."""

    def as_json(self) -> Mapping[str, Any]:
        """``{"actions": [...]}``."""


class Library(Protocol):
    """The host as the library shows it; what ``vifplug.local`` yields."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the last call could not settle of others' interrupted work."""

    def plug(self, vifs: Sequence[Vif]) -> Sequence[reports.VifReport]:
        """Build them all, or none."""

    def unplug(self, ids: Sequence[str]) -> Sequence[reports.VifReport]:
        """Take them away; one that is not there is done."""

    def get(self, id: str) -> reports.VifReport:
        """One recorded VIF."""

    def list(self) -> Sequence[reports.VifReport]:
        """Every recorded VIF."""

    def check(self, ids: Sequence[str] | None = None) -> reports.CheckReport:
        """Compare these, or all, with the host."""

    def repair(self, ids: Sequence[str] | None = None) -> Sequence[reports.VifReport]:
        """Put these, or all, right."""

    def gc(self, delete: bool = False) -> reports.GcReport:
        """What is ours and in no record; gone if told."""

    def plan(self, vifs: Sequence[Vif]) -> Plan:
        """What ``plug`` would do."""

    def path(self, id: str) -> reports.PathReport:
        """A VIF's path, hop by hop."""


Opener = Callable[[Options], AbstractContextManager[Library]]
"""How a verb gets its host. It is called once the input is known to be good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a verb in both its forms."""

    document: Any
    """For ``-o json``."""
    text: Callable[[tables.Screen], str]
    exit_code: int = EXIT_DONE
    warnings: Sequence[str] = ()


Verb = Callable[[Options, Opener], Outcome]


def plug(options: Options, opener: Opener) -> Outcome:
    """Plug every VIF of the document, or with --dry-run say what that would do."""
    if options.wait != WAITS[0]:
        raise errors.InputError(
            f"--wait {options.wait}: this version waits for 'plugged' only, which every plug reaches before it ends"
        )
    vifs = documents.vifs(options)
    with opener(options) as host:
        if options.dry_run:
            return _planned(host.plan(vifs))
        _announce(len(vifs), options)
        return _reported(host.plug(vifs))


def _announce(count: int, options: Options) -> None:
    # A line, not a spinner: a spinner is a thread, and the privileged helper may be forked beneath it.
    if count > 1 and not options.as_json and sys.stderr is not None and sys.stderr.isatty():
        print(f"vifplug: plugging {count} VIFs ...", file=sys.stderr, flush=True)


def _planned(plan: Plan) -> Outcome:
    lines = [tables.printable(str(action)) for action in plan.actions]
    return Outcome(document=plan.as_json(), text=lambda _: "\n".join(lines) or "nothing to do")


def _reported(
    found: Sequence[reports.VifReport],
    text: Callable[[Sequence[reports.VifReport], tables.Screen], str] = tables.vifs,
    exit_code: int = EXIT_DONE,
) -> Outcome:
    return Outcome(
        document={"vifs": [vif.as_json() for vif in found]},
        text=lambda screen: text(found, screen),
        exit_code=exit_code,
        warnings=[warning for vif in found for warning in vif.warnings],
    )


def unplug(options: Options, opener: Opener) -> Outcome:
    """Take the VIFs away. One that is not there is done already."""
    if bool(options.ids) == (options.file is not None):
        raise errors.InputError("unplug needs either the IDs of VIFs or -f FILE")
    ids = documents.ids(options.ids) if options.file is None else documents.ids_of(options.file)
    with opener(options) as host:
        return _reported(host.unplug(ids), tables.unplugged)


def list_(options: Options, opener: Opener) -> Outcome:
    """Every recorded VIF."""
    with opener(options) as host:
        return _reported(host.list())


def show(options: Options, opener: Opener) -> Outcome:
    """One VIF in full."""
    (vif_id,) = documents.ids(options.ids)
    with opener(options) as host:
        vif = host.get(vif_id)
    return Outcome(document=vif.as_json(), text=lambda _: tables.one_vif(vif), warnings=vif.warnings)


def check(options: Options, opener: Opener) -> Outcome:
    """Compare VIFs with the host."""
    ids = documents.ids(options.ids) or None
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
    ids = documents.ids(options.ids) or None
    with opener(options) as host:
        found = host.repair(ids)
    return _reported(found, exit_code=_verdict(found))


def _verdict(found: Sequence[reports.VifReport]) -> int:
    """Repair goes on past a VIF it cannot put right; the exit code must not hide that one."""
    states = {vif.state for vif in found}
    if states & {reports.FAILED, reports.DRIFTED}:
        return EXIT_FAILED
    return EXIT_CONFLICT if reports.CONTENDED in states else EXIT_DONE


def gc(options: Options, opener: Opener) -> Outcome:
    """List orphans, and with --delete delete them."""
    with opener(options) as host:
        report = host.gc(delete=options.delete)
    return Outcome(document=report.as_json(), text=lambda screen: tables.gc(report, screen))


def diagram(options: Options, opener: Opener) -> Outcome:
    """Draw a VIF's path."""
    (vif_id,) = documents.ids(options.ids)
    with opener(options) as host:
        path = host.path(vif_id)

    def text(screen: tables.Screen) -> str:
        if options.format == "dot":
            return drawing.as_dot(path)
        return drawing.as_text(path, unicode=screen.unicode, color=screen.color)

    return Outcome(document=drawing.as_json(path), text=text, warnings=path.vif.warnings)


def schema(_options: Options, _opener: Opener) -> Outcome:
    """The JSON Schema of our own format."""
    from vifplug import formats  # here, so that other verbs start without it

    document = formats.schema()
    return Outcome(document=document, text=lambda _: json.dumps(document, indent=2))


VERBS: Mapping[str, Verb] = {
    "plug": plug,
    "unplug": unplug,
    "list": list_,
    "show": show,
    "check": check,
    "repair": repair,
    "gc": gc,
    "diagram": diagram,
    "schema": schema,
}
