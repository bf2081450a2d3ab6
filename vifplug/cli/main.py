"""The console script: one call from arguments to exit code. Signals, streams and errors are handled here alone."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from vifplug import errors
from vifplug.cli import arguments, output, results, verbs
from vifplug.cli import errors as cli_errors
from vifplug.cli.arguments import Options, grammar
from vifplug.cli.verb import EXIT_DONE, Opener, nothing
from vifplug.process import stdio

if TYPE_CHECKING:
    from vifplug.api.contract import Host

_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_SIGNAL_EXIT = 128


def main(argv: list[str] | None = None, *, opener: Opener | None = None) -> int:
    """Run one command and return its exit code.

    :param opener: how to reach the host; for tests.
    """
    stdio.settle()
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == [grammar.COMPLETE]:
        return _complete(words[1:])
    as_json, verbose = arguments.wants_json(words), False
    try:
        with _signals():
            options = arguments.parse(words)
            as_json, verbose = options.as_json, options.verbose or options.debug
            results.check(options)
            with _logging(options):
                return results.emit(verbs.VERBS[options.verb](options, _with_warnings(opener or open_host)), options)
    except SystemExit as done:
        if not done.code:  # --help and --version
            output.put()
            return EXIT_DONE
        return fail(done, as_json=as_json)
    except KeyboardInterrupt as error:
        return fail(error, as_json=as_json)
    except Exception as error:
        if verbose and not isinstance(error, errors.VifplugError):
            output.write_error(traceback.format_exc().rstrip("\n"))
        return fail(error, as_json=as_json)


def _complete(words: Sequence[str]) -> int:
    from vifplug.cli.reference import completion  # here, because only a shell asks for it

    with contextlib.suppress(Exception):
        completion.print_candidates(words)
    return EXIT_DONE


@contextlib.contextmanager
def open_host(options: Options, check: Callable[[], object] = nothing, /) -> Iterator[Host]:
    """The host that the options name; by default the daemon when its socket answers, else this process.

    :param check: called before this process does the work itself, and before the error for a missing host, so that
        input errors are reported first.
    :raises errors.DaemonUnreachable: when the named socket does not answer, or the socket is closed to this user. In
        the second case this process never does the work instead: the user was kept out of the group on purpose.
    """
    import vifplug  # here, because the host's side takes long to import

    with contextlib.ExitStack() as stack:
        host: Host | None = None
        if not options.local:
            try:
                host = stack.enter_context(vifplug.connect(options.socket, options.config_file))
            except errors.VifplugError as error:
                check()
                is_away = isinstance(error, errors.DaemonUnreachable) and options.socket is None
                if not is_away or isinstance(error.__cause__, PermissionError):
                    raise
                if not isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
                    results.warn([f"{error}; this command works without it"], options)
        if options.local:
            check()
        if host is not None:
            yield host
            return
        local = stack.enter_context(vifplug.local(config_file=options.config_file))
        warning = _configuration_warning(local.unknown_options)
        if not options.as_json:  # an unknown option may be the cause of a later error
            results.warn(warning, options)
        yield local
        if options.as_json:  # only without an error: its JSON must be alone on stderr
            results.warn(warning, options)


def _configuration_warning(unknown: Sequence[str]) -> list[str]:
    """One warning, however many options are unknown."""
    more = f" (and {len(unknown) - 1} more: vifplug doctor names them)" if len(unknown) > 1 else ""
    return [f"{text}{more}" for text in unknown[:1]]


def _with_warnings(opener: Opener) -> Opener:
    """The opener, which prints the library's own warnings after a verb."""

    @contextlib.contextmanager
    def opened(options: Options, check: Callable[[], object] = nothing, /) -> Iterator[Host]:
        with opener(options, check) as host:
            yield host
            results.warn(host.warnings, options)  # not after an error: under -o json its JSON must be alone on stderr

    return opened


def fail(error: BaseException, *, as_json: bool) -> int:
    """Report an error on stderr, and return its exit code."""
    failed = cli_errors.of(error)
    output.write_error(failed.line(as_json=as_json))
    return failed.exit_code


class _Formatter(logging.Formatter):
    """Log lines with names and texts from outside, which must not steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return output.safe(super().format(record))


@contextlib.contextmanager
def _logging(options: Options) -> Iterator[None]:
    """Log to stderr: vifplug's own lines with -v, libraries' too with --debug, else warnings; nothing under -o json,
    where stderr is for the error's JSON."""
    quiet = logging.CRITICAL if options.as_json else logging.WARNING
    own = logging.DEBUG if options.verbose or options.debug else quiet
    level = logging.DEBUG if options.debug else quiet
    handler = logging.StreamHandler()
    handler.setLevel(own)
    handler.setFormatter(_Formatter("vifplug: %(levelname)s: %(name)s: %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("vifplug")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(level)
    ours.setLevel(own)
    try:
        with warnings.catch_warnings():
            if not (options.debug or sys.warnoptions):
                warnings.simplefilter("ignore")  # libraries' warnings are for developers, not for this user
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Turn the signals that end a process into an exception, so that begun work is rolled back."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return
    ignored = (signal.SIG_IGN, None)  # ignored by nohup, and a handler that only C knows
    before = {number: handler for number in _ENDING_SIGNALS if (handler := signal.getsignal(number)) not in ignored}
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    # A second signal must not interrupt the rollback that the first one began.
    for each in _ENDING_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(_SIGNAL_EXIT + number)


if __name__ == "__main__":
    sys.exit(main())
