"""Findings that differ in a VIF or a device only are one finding. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from vifplug.doctor.findings import OK, Finding

_TOGETHER_MIN = 3
_NAMED_MAX = 3
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DEVICE = re.compile(r"\b(qbr|qvb|qvo|tap|vhu|vfr|pbp|ibp|pb)[0-9a-f]{8}-[0-9a-f]{1,4}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)?")
_REPAIR = re.compile(r"vifplug repair \S+?(?=[,;\s]|$)(?:, then vifplug show \S+ for the error)?")


def together(findings: Sequence[Finding]) -> list[Finding]:
    """The findings; several alike are one, with the number of its subjects and the first of them."""
    alike: dict[tuple[str, str, str, str], list[Finding]] = {}
    for finding in findings:
        if finding.status == OK or not finding.subject:
            key = (repr(id(finding)), "", "", "")
        else:
            key = (finding.check, finding.status, _general(finding.reason), _general(finding.remedy))
        alike.setdefault(key, []).append(finding)
    return [each for group in alike.values() for each in _merged(group)]


def _merged(group: Sequence[Finding]) -> list[Finding]:
    if len(group) < _TOGETHER_MIN:
        return list(group)
    subjects = tuple(dict.fromkeys(finding.subject for finding in group))
    named = ", ".join(subjects[:_NAMED_MAX])
    more = f" and {len(subjects) - _NAMED_MAX} more" if len(subjects) > _NAMED_MAX else ""
    are_vifs = all(_ID.fullmatch(subject) for subject in subjects)
    first = group[0]
    return [
        replace(
            first,
            subject=f"{len(subjects)} {'VIFs' if are_vifs else 'devices'}",
            reason=f"{_general(first.reason)} ({named}{more})",
            remedy=_general(_REPAIR.sub("vifplug repair --all", first.remedy)),
            subjects=subjects,
        )
    ]


def _general(text: str) -> str:
    """A text without what differs between VIFs: ids, devices, times."""
    return _TIME.sub("TIME", _DEVICE.sub(r"\1", _ID.sub("VIF", text)))
