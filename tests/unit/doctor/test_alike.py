"""Findings that are alike are one; and the bundle for a bug report has no secrets."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from vifplug.doctor.answer import alike, bundle
from vifplug.doctor.findings import ERROR, OK, Finding
from vifplug.errors import InputError

IDS = [f"71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a42{number:02d}" for number in range(60)]


def drifted(vif_id: str, status: str = ERROR) -> Finding:
    return Finding(
        check="vifs",
        status=status,
        subject=vif_id,
        reason=f"drifted: tap{vif_id[:11]} is missing",
        remedy=f"vifplug repair {vif_id}, then vifplug show {vif_id} for the error",
    )


def test_sixty_vifs_with_one_fault_are_one_finding() -> None:
    (finding,) = alike.together([drifted(vif_id) for vif_id in IDS])
    assert finding.subject == "60 VIFs"
    assert finding.reason == f"drifted: tap is missing ({', '.join(IDS[:3])} and 57 more)"
    assert finding.remedy == "vifplug repair --all"
    assert finding.subjects == tuple(IDS)


def test_two_stay_two_and_others_stay_apart() -> None:
    other = Finding(check="vifs", status=ERROR, subject=IDS[9], reason="failed: the store is full", remedy="free space")
    findings = [drifted(IDS[0]), other, drifted(IDS[1])]
    assert sorted(map(repr, alike.together(findings))) == sorted(map(repr, findings))


def test_notes_and_checks_that_are_well_stay() -> None:
    well = [Finding(check=name, status=OK) for name in ("a", "b", "c")]
    notes = [Finding(check="guests", status=OK, reason="x") for _number in range(3)]
    assert alike.together([*well, *notes]) == [*well, *notes]


@pytest.mark.parametrize(
    "text",
    [
        "listen_token = abc",
        "listen_token=abc",
        "[events]\n  notify_token:  abc",
        "notify_token =\n    abc\n    abc",
        "transport_password = abc",
        "api_key = abc",
        "notify_url = https://user:abc@host/v2.1",
        "connection = tcp://abc@10.0.0.1",
    ],
)
def test_secrets_are_removed(text: str) -> None:
    cleaned = bundle.without_secrets(f"{text}\nmtu = 1450\n")
    assert "abc" not in cleaned and bundle.REMOVED in cleaned and "mtu = 1450" in cleaned


def test_what_is_no_secret_stays() -> None:
    text = "[DEFAULT]\nstate_dir = /var/lib/vifplug\n[ovs]\nconnection = unix:/run/db.sock\n"
    assert bundle.without_secrets(text) == text


def test_bundle_is_new_and_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "report.tar.gz"
    bundle.write(str(path), {"README.txt": "x", "doctor.json": "{}"})
    assert os.stat(path).st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["report/README.txt", "report/doctor.json"]
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        bundle.write(str(path), {})
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="cannot be written"):
        bundle.write(str(tmp_path / "no" / "x"), {})
