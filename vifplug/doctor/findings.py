"""The doctor's findings: per check "ok", or each problem with its reason and remedy. Plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from vifplug.model.claims import DIAGNOSED, Claims
from vifplug.model.codec import NEEDED, Value, named

OK, WARNING, ERROR, UNSEEN = "ok", "warning", "error", "unseen"
STATUSES = (ERROR, WARNING, UNSEEN, OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Value):
    """The result of one check for one subject."""

    check: str
    status: str
    """ok; warning: something may fail; error: something is wrong; unseen: the check could not be made."""
    subject: str = field(default="", metadata=NEEDED)
    """A device, a VIF, a path."""
    reason: str = field(default="", metadata=NEEDED)
    remedy: str = field(default="", metadata=NEEDED)
    """What to do, for a person."""
    since: str = ""
    """Since when, if this host records that; ISO 8601, UTC."""
    subjects: Sequence[str] = ()
    """Of several findings that are alike, and so are this one: the subject of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Value):
    """What is wrong with the host: all findings, at least one of each check."""

    COMPUTED: ClassVar[tuple[str, ...]] = ("healthy",)

    findings: Sequence[Finding] = field(default=(), metadata=named("checks", **NEEDED))
    claims: Claims = DIAGNOSED
    """What was looked at, and what was not; checks that could not be made are among the findings."""

    @property
    def healthy(self) -> bool:
        """No check has found an error; there may be warnings, and checks that could not be made."""
        return not any(finding.status == ERROR for finding in self.findings)

    def with_(self, *more: Finding) -> Diagnosis:
        """These findings and more."""
        return replace(self, findings=(*self.findings, *more))
