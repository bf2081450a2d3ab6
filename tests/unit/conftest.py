"""A host in memory, and the commands over it with a store of their own."""

from __future__ import annotations

import pathlib

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.fake_host import FakeHost


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def plugger(tmp_path: pathlib.Path, host: FakeHost) -> Plugger:
    return builders.plugger(tmp_path, host)
