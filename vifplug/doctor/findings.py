"""What a doctor says: for each check that it is well, or what was found, why, and what to do. Plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from vifplug.model.codec import NEEDED, Value, named

OK, WARNING, ERROR, UNSEEN = "ok", "warning", "error", "unseen"
STATUSES = (ERROR, WARNING, UNSEEN, OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Value):
    """What one check says of one thing."""

    check: str
    status: str
    """ok; warning, where something may go wrong; error, where something is; unseen, where this user cannot tell."""
    subject: str = field(default="", metadata=NEEDED)
    """What it is about: a device, a VIF, a path."""
    reason: str = field(default="", metadata=NEEDED)
    remedy: str = field(default="", metadata=NEEDED)
    """What to do about it, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Value):
    """What is wrong with the host: all findings, at least one of each check."""

    COMPUTED: ClassVar[tuple[str, ...]] = ("healthy",)

    findings: Sequence[Finding] = field(default=(), metadata=named("checks", **NEEDED))

    @property
    def healthy(self) -> bool:
        """No check says error; there may be warnings, and what could not be seen."""
        return not any(finding.status == ERROR for finding in self.findings)

    def with_(self, *more: Finding) -> Diagnosis:
        """These findings and some more."""
        return Diagnosis(findings=(*self.findings, *more))
