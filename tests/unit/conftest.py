"""What holds for every unit test."""

from __future__ import annotations

import pytest

from vifplug import database


@pytest.fixture(autouse=True)
def events_count_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that a test can name; a real store begins with the clock's."""
    monkeypatch.setattr(database, "first_number", lambda: 0)
