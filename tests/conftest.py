"""What holds for every test: with VIFPLUG_NO_SKIP=1 (tools/test sets it) a skip is a failure, so that none can hide."""

from __future__ import annotations

import os
import signal

import pytest

_skipped: list[str] = []


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that is started here and told to heed it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # As under nohup, which the command line respects: the test of what a SIGHUP does would wait without end.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember the tests that were skipped; an expected failure is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember the modules that were skipped whole."""
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped anything."""
    if _skipped and os.environ.get("VIFPLUG_NO_SKIP") == "1" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why."""
    if _skipped and os.environ.get("VIFPLUG_NO_SKIP") == "1":
        terminalreporter.section("skipped, and VIFPLUG_NO_SKIP is set: a failure", red=True)
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
