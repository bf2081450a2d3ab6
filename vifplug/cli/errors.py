"""Maps an error to its text, its JSON and its exit code; nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vifplug import errors
from vifplug.cli import tables
from vifplug.model import printable as readable
from vifplug.model.reports import ErrorReport

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
_ROLLED_BACK = "begun work is rolled back, or settled by the next command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as the user sees it."""

    exit_code: int
    type: str
    message: str
    step: str = ""
    subject: str = ""
    retryable: bool = False

    def as_json(self) -> dict[str, Any]:
        """The error object of DESIGN section 5."""
        report = ErrorReport(
            type=self.type,
            message=self.message,
            step=self.step or None,
            subject=self.subject or None,
            retryable=self.retryable,
        )
        return {"error": report.as_json()}

    def as_text(self) -> str:
        """One line: the message, then subject and step if it lacks them, and whether to try again."""
        details = (("at", self.subject), ("in step", self.step))
        more = [f"{word} {value}" for word, value in details if value and value not in self.message]
        text = f"{self.message} ({', '.join(more)})" if more else self.message
        if self.retryable and "try again" not in self.message.lower():
            text += "; try again"
        return tables.printable(f"vifplug: error: {text}")

    def line(self, *, as_json: bool) -> str:
        """The line for stderr."""
        return readable.dumps(self.as_json()) if as_json else self.as_text()


def of(error: BaseException) -> Failure:
    """What ``error`` means to the user."""
    if isinstance(error, errors.VifplugError):
        return Failure(
            exit_code=error.exit_code,
            type=type(error).__name__,
            message=error.message,
            step=error.step,
            subject=error.subject,
            retryable=error.retryable,
        )
    # The client adds a note if the daemon finishes the request.
    now = "; ".join(getattr(error, "__notes__", ())) or _ROLLED_BACK
    if isinstance(error, KeyboardInterrupt):
        return Failure(exit_code=EXIT_INTERRUPTED, type="Interrupted", message=f"interrupted; {now}")
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else EXIT_FAILED
        return Failure(exit_code=code, type="Terminated", message=f"terminated by a signal; {now}")
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Failure(
        exit_code=EXIT_FAILED,
        type="InternalError",
        message=f"internal error: {cause}; please report it with the output of the same command with --debug",
    )
