"""What a doctor says: for each check that it is well, or what was found, why, and what to do. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

OK, WARNING, ERROR, UNSEEN = "ok", "warning", "error", "unseen"
STATUSES = (ERROR, WARNING, UNSEEN, OK)
_FIELDS = ("check", "status", "subject", "reason", "remedy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check says of one thing."""

    check: str
    status: str
    """ok; warning, where something may go wrong; error, where something is; unseen, where this user cannot tell."""
    subject: str = ""
    """What it is about: a device, a VIF, a path."""
    reason: str = ""
    remedy: str = ""
    """What to do about it, for a person."""

    def as_json(self) -> dict[str, str]:
        """The five fields."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Of what ``as_json`` gave; what a later version added is left out.

        :raises KeyError: when a field is missing.
        """
        return cls(**{name: str(data[name]) for name in _FIELDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings, at least one of each check."""

    findings: Sequence[Finding] = ()

    @property
    def healthy(self) -> bool:
        """Nothing is wrong, as far as it could be seen; there may be warnings."""
        return not any(finding.status == ERROR for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """``{"healthy", "checks"}``."""
        return {"healthy": self.healthy, "checks": [finding.as_json() for finding in self.findings]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Of what ``as_json`` gave.

        :raises KeyError, TypeError: for anything else.
        """
        return cls(findings=tuple(map(Finding.from_json, data["checks"])))

    def with_(self, *more: Finding) -> Diagnosis:
        """These findings and some more."""
        return Diagnosis(findings=(*self.findings, *more))
