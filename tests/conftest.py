"""What holds for every test: with VIFPLUG_NO_SKIP=1 (tools/test sets it) a skip is a failure, so that none can hide.

With VIFPLUG_DURATIONS_FILE (tools/test sets it) the seconds of every test are written to that file.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

_skipped: list[str] = []
_seconds: dict[str, float] = {}
"""By test, with its set-up and its end."""
_outcomes: dict[str, str] = {}
"""By test: passed, unless one of its phases was something else."""


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that is started here and told to heed it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # As under nohup, which the command line respects: the test of what a SIGHUP does would wait without end.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how long each test took, and the tests that were skipped; an expected failure is none."""
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration
    if _outcomes.get(report.nodeid, "passed") == "passed":
        _outcomes[report.nodeid] = report.outcome
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember the modules that were skipped whole."""
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped anything; write the durations."""
    _write_durations()
    if _skipped and os.environ.get("VIFPLUG_NO_SKIP") == "1" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _write_durations() -> None:
    name = os.environ.get("VIFPLUG_DURATIONS_FILE")
    # A worker of pytest-xdist sees its own tests only; the process that started it sees all.
    if not name or not _seconds or "PYTEST_XDIST_WORKER" in os.environ:
        return
    slowest_first = sorted(_seconds.items(), key=lambda item: -item[1])
    lines = [f"{seconds:.3f}\t{_outcomes[nodeid]}\t{nodeid}\n" for nodeid, seconds in slowest_first]
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("".join(lines))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why."""
    if _skipped and os.environ.get("VIFPLUG_NO_SKIP") == "1":
        terminalreporter.section("skipped, and VIFPLUG_NO_SKIP is set: a failure", red=True)
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
