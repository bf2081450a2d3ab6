"""The verbs about the host itself: what it can plug, what is wrong with it, its setup; and the guest's description.

doctor and host-info do not use the opener: the problem that they report may be why it fails; setup-host does not,
because there may be no daemon yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from vifplug import errors
from vifplug.cli import inputs, layout, tables
from vifplug.cli.arguments import Options
from vifplug.cli.layout import Screen
from vifplug.cli.verb import EXIT_DONE, EXIT_FAILED, Opener, Outcome
from vifplug.doctor.answer import bundle
from vifplug.doctor.findings import ERROR, OK, STATUSES, UNSEEN, WARNING, Diagnosis, Finding
from vifplug.doctor.host_info import HostInfo
from vifplug.guest.nic import Nic
from vifplug.model.limits import VIRTIO
from vifplug.setup.steps import MANUAL, Report, Step, Wishes
from vifplug.trace import text as trace_text

_DAEMON = "daemon"
_SOUND = "nothing is wrong in what was looked at; if a guest has no network: vifplug trace ID"
_SHOWN = {UNSEEN: "skipped"}
"""Statuses that a person reads under another name."""
_STATUS_WIDTH = max(len(_SHOWN.get(status, status)) for status in STATUSES)
_TABLE = layout.Shape(headers=("WHAT", "VALUE"), texts=("VALUE",))
_STEPS = layout.Shape(headers=("STEP", "SUBJECT", "STATUS", "NOTE"), texts=("NOTE",))


def doctor(options: Options, opener: Opener) -> Outcome:
    """What is wrong, why, and what to do; exit 1 for any error."""
    diagnosis = _diagnosis(options)
    written = ""
    if options.report is not None:
        from vifplug.cli import bug_report

        plain = _read(diagnosis, options, Screen())
        bundle.write(options.report, bug_report.files(diagnosis, plain, options, opener))
        written = f"written to {options.report}: read it before you send it, it has names and addresses\n"
    return Outcome(
        document=diagnosis.as_json(),
        text=lambda screen: written + _read(diagnosis, options, screen),
        exit_code=EXIT_DONE if diagnosis.healthy else EXIT_FAILED,
    )


def _diagnosis(options: Options) -> Diagnosis:
    """The daemon's if it answers, because it sees what this user may not; else this process's own."""
    finding = Finding(check=_DAEMON, status=OK)
    if not options.local:
        import vifplug  # here, because the host's side takes long to import

        try:
            with vifplug.connect(options.socket, options.config_file) as host:
                return host.doctor()
        except errors.DaemonUnreachable as error:
            finding = _unreachable(error, options)
    from vifplug.api import local_doctor

    return local_doctor.doctor(options.config_file).with_(finding)


def _unreachable(error: errors.DaemonUnreachable, options: Options) -> Finding:
    """A missing socket is not an error: not every host has a daemon."""
    if isinstance(error.__cause__, FileNotFoundError) and options.socket is None:
        return Finding(check=_DAEMON, status=OK)
    is_closed = isinstance(error.__cause__, PermissionError)
    remedy = "" if is_closed else "systemctl restart vifplugd, and see its log: journalctl -u vifplugd"
    return Finding(
        check=_DAEMON, status=UNSEEN if is_closed else ERROR, subject=error.subject, reason=str(error), remedy=remedy
    )


def _read(diagnosis: Diagnosis, options: Options, screen: Screen) -> str:
    """Problems, the worst first, and notes on healthy checks; with -v everything; then a line of counts."""
    findings = [finding for finding in diagnosis.findings if finding.status != OK or finding.reason or options.verbose]
    findings.sort(key=lambda finding: STATUSES.index(finding.status))
    lines = [line for finding in _skipped_together(findings) for line in _lines(finding)]
    shown = [tables.lines(lines, screen)] if lines else []
    checks = {finding.check for finding in diagnosis.findings}
    counts = Counter(finding.status for finding in diagnosis.findings)
    total = ", ".join(
        f"{counts[status]} {_SHOWN.get(status, status)}" for status in STATUSES if status != OK and counts[status]
    )
    problems = counts[ERROR] + counts[WARNING]
    count = f", {problems} {'finding' if problems == 1 else 'findings'}" if problems else ""
    claims = tables.paragraph(diagnosis.claims.sentence("ID"), screen)
    return "\n".join([*shown, claims, f"{len(checks)} checks{count}: {total or _SOUND}"])


def _skipped_together(findings: Sequence[Finding]) -> list[Finding]:
    """The findings; checks that were skipped for one reason are one line."""
    skipped = [finding for finding in findings if finding.status == UNSEEN]
    reasons = Counter(finding.reason for finding in skipped)
    kept = [finding for finding in findings if finding.status != UNSEEN or reasons[finding.reason] == 1]
    together = [
        Finding(
            check=", ".join(finding.check for finding in skipped if finding.reason == reason),
            status=UNSEEN,
            reason=reason,
        )
        for reason, count in reasons.items()
        if count > 1
    ]
    return sorted([*kept, *together], key=lambda finding: STATUSES.index(finding.status))


def _lines(finding: Finding) -> Iterator[tuple[str, str]]:
    subject = "" if finding.subject.lower() == finding.check else finding.subject
    since = f" (since {finding.since})" if finding.since and finding.since not in finding.reason else ""
    details = ": ".join(tables.printable(part) for part in (subject, finding.reason + since) if part)
    status = _SHOWN.get(finding.status, finding.status)
    yield status.ljust(_STATUS_WIDTH), finding.check + (f": {details}" if details else "")
    if finding.remedy:
        yield "", tables.printable(finding.remedy)


def host_info(options: Options, _opener: Opener) -> Outcome:
    """What this host can plug, and its versions."""
    info = _info(options)
    return Outcome(document=info.as_json(), text=lambda screen: _described(info, screen, asked=not options.local))


def _addresses(info: HostInfo) -> str:
    connection, used = info.ovs.connection, info.ovs.address
    return " ".join(connection) + (f" (used: {used})" if used and len(connection) > 1 else "")


def _info(options: Options) -> HostInfo:
    if not options.local:
        import vifplug

        try:
            with vifplug.connect(options.socket, options.config_file) as host:
                return host.host_info()
        except errors.DaemonUnreachable:
            if options.socket is not None:
                raise
    from vifplug.api import local_doctor

    return local_doctor.host_info(options.config_file)


def _described(info: HostInfo, screen: Screen, *, asked: bool) -> str:
    datapath = info.integration_bridge_datapath
    bridges = ", ".join(f"{name} ({kind})" for name, kind in sorted(info.bridges.items()))
    answers = "answers on" if info.daemon.answers else "does not answer on"
    daemon = f"{answers if asked else 'not asked (--local); its socket is'} {info.daemon.socket}"
    rows = [
        ("vifplug", info.version),
        ("kernel", info.kernel),
        ("vif types", ", ".join(info.vif_types)),
        ("default MTU", info.mtu),
        ("Open vSwitch", info.ovs.ovs_version),
        ("database version", info.ovs.db_version),
        ("OVSDB", _addresses(info)),
        ("datapath types", ", ".join(info.ovs.datapath_types)),
        ("interface types", ", ".join(info.ovs.iface_types)),
        ("integration bridge", f"{info.integration_bridge} ({datapath or 'missing, or cannot be read'})"),
        ("OVS bridges", bridges),
        ("daemon", daemon),
    ]
    return tables.columns(_TABLE, rows, screen)


def trace(options: Options, opener: Opener) -> Outcome:
    """Where a VIF's frames stop."""
    with opener(options) as host:
        report = inputs.with_id(
            host,
            options.ids[0],
            lambda vif_id: host.trace(vif_id, interval=options.interval, probe=options.probe),
        )

    def text(screen: Screen) -> str:
        return trace_text.as_text(report, unicode=screen.unicode, width=screen.width if screen.terminal else 0)

    return Outcome(document=report.as_json(), text=text, warnings=report.vif.warnings)


def guest(options: Options, opener: Opener) -> Outcome:
    """What a hypervisor needs for a VIF.

    :raises errors.InputError: for a card that the VIF's tap does not allow.
    """
    nic = Nic(model=VIRTIO if options.model is None else options.model, queues=options.queues)
    with opener(options) as host:
        report = inputs.with_id(
            host,
            options.ids[0],
            lambda vif_id: host.guest(vif_id, options.format, model=nic.model, queues=nic.queues),
        )
    return Outcome(document=report.as_json(), text=lambda _: report.text, warnings=report.warnings)


def setup_host(options: Options, _opener: Opener) -> Outcome:
    """Each step of this host's setup, and its result; exit 1 when one failed.

    :raises errors.InputError: when this user may not change the host.
    """
    from vifplug.setup import host  # here, because the host's side takes long to import

    wishes = Wishes(
        daemon=not options.no_daemon, operators=tuple(options.operators), bridge_datapath=options.create_bridge
    )
    report = host.setup(options.config_file, wishes, dry_run=options.dry_run, undo=options.undo)
    return Outcome(
        document=report.as_json(),
        text=lambda screen: _table(report, screen),
        exit_code=EXIT_FAILED if report.has_failed else EXIT_DONE,
    )


def _table(report: Report, screen: Screen) -> str:
    """Every step; then the commands that are left to a person."""
    rows = [(step.step, step.subject, step.status, step.reason) for step in report.steps]
    manual = [step for step in report.steps if step.status == MANUAL]
    return "\n".join([tables.columns(_STEPS, rows, screen), *map(_left, manual)])


def _left(step: Step) -> str:
    return tables.printable(f"left to you: {step.command or step.reason}")
