"""Logs: one JSON object per line on stderr, with its request; fields of the journal; on a terminal plain text."""

from __future__ import annotations

import atexit
import datetime
import logging
import os
import sys
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TextIO

from vifplug.daemon import journal
from vifplug.daemon.http.protocol import Peer
from vifplug.daemon.log_writer import LogStream, LogWriter
from vifplug.model import durations, printable

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "color_message", "taskName"),
    *("project", "version", "extra_keys"),  # oslo.log's, in the helper's log lines
}
_REQUEST = "request"


@dataclass(slots=True, kw_only=True)
class Request:
    """Details of a request for every log line about it, filled in as they become known."""

    id: str
    peer: Peer | None = None
    vif_ids: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The keys of a line."""
        fields: dict[str, Any] = {"request_id": self.id}
        if self.peer is not None:
            fields["peer"] = {"pid": self.peer.pid, "uid": self.peer.uid, "gid": self.peer.gid}
        if len(self.vif_ids) == 1:
            fields["vif_id"] = self.vif_ids[0]
        elif self.vif_ids:
            fields["vif_ids"] = list(self.vif_ids)
        return fields


CURRENT: ContextVar[Request | None] = ContextVar("vifplug_request", default=None)
"""The request being served; a thread that serves it has a copy of the variable, and the same object."""


def concerning(*vif_ids: str) -> None:
    """Set the VIFs that the current request is about."""
    request = CURRENT.get()
    if request is not None:
        request.vif_ids = list(vif_ids)


class RequestFilter(logging.Filter):
    """Puts the current request on each record, in the thread that logs it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Accept every record."""
        setattr(record, _REQUEST, CURRENT.get())
        return True


def _divert_output() -> None:
    """Write standard error and output in separate threads, including what other libraries print."""
    if _writers:
        return
    for name, descriptor in (("stderr", 2), ("stdout", 1)):
        writer = LogWriter(descriptor, _dropped_notice)
        setattr(sys, name, LogStream(writer, descriptor))
        _writers.append(writer)
    atexit.register(finish)


def _dropped_notice(count: int) -> bytes:
    text = f"{count} log lines were dropped, because they were not read; see vifplug_log_lines_dropped"
    record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
    return f"{JsonFormatter().format(record)}\n".encode()


def _dropped_entry(count: int) -> bytes:
    record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, f"{count} log lines were dropped", None, None)
    return journal.entry(record, JsonFormatter().format(record), {})


def finish() -> None:
    """Wait until what was logged is written, for a second at most: the reader may have stopped."""
    for writer in _writers:
        writer.flush(_END_SECONDS)


def dropped() -> int:
    """Lines that were not written, because standard error or output was not read."""
    return sum(writer.dropped for writer in _writers)


class JsonFormatter(logging.Formatter):
    """A JSON object for each record: its message, its request, and ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. It never has a newline."""
        return printable.dumps(self.line(record), default=str)

    def line(self, record: logging.LogRecord) -> dict[str, Any]:
        """The keys of the line."""
        created = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": created.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = getattr(record, _REQUEST, None)
        if isinstance(request, Request):
            line |= request.as_json()
        line |= {key: value for key, value in vars(record).items() if key not in _OF_EVERY_RECORD and key != _REQUEST}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return line


class TextFormatter(JsonFormatter):
    """Plain text with local time, for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of an exception."""
        line = self.line(record)
        shown = durations.local(line["time"])
        request = f"  [request {line['request_id']}]" if "request_id" in line else ""
        message = "".join(char if char.isprintable() else repr(char)[1:-1] for char in printable.text(line["message"]))
        exception = f"\n{line['exception']}" if "exception" in line else ""
        return f"{shown} {record.levelname:<8} {message}{request}{exception}"


class JournalHandler(logging.Handler):
    """Sends records to the journal, by a writer whose thread alone may wait for it."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record."""
        try:
            formatter = JsonFormatter()
            self._writer.write(journal.entry(record, formatter.format(record), formatter.line(record)))
        except Exception:
            self.handleError(record)


_STDERR = 2
_END_SECONDS = 1.0
_writers: list[LogWriter] = []
"""Of this process and of those it forks: to standard error and to standard output."""


def start(level: int = logging.INFO, stream: TextIO | None = None, *, libraries: int = logging.INFO) -> None:
    """Log everything of this process in this way only.

    :param level: of vifplug's own lines.
    :param stream: by default standard error, which may be a pipe that is not read: no thread waits for it.
    :param libraries: the level of everything else.
    """
    is_journal, is_terminal = False, False
    if stream is None:
        is_journal, is_terminal = journal.is_journal(_STDERR), os.isatty(_STDERR)
        _divert_output()
        stream = sys.stderr
    handler: logging.Handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if is_terminal else JsonFormatter())
    if is_journal:
        writer = LogWriter(_STDERR, _dropped_entry, send=journal.send)
        _writers.append(writer)
        handler = JournalHandler(writer)
    handler.addFilter(RequestFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(min(level, libraries))
    logging.getLogger("vifplug").setLevel(level)
    if level < libraries:
        handler.addFilter(lambda record: record.levelno >= libraries or record.name.startswith("vifplug"))
    logging.captureWarnings(True)
    # It warns about the channel's end without naming the channel; the caller on the channel logs it better.
    logging.getLogger("oslo_privsep.comm").setLevel(logging.ERROR)
