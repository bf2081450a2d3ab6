"""A host in memory, for unit tests of decisions: the one that ``vifplug.testing`` ships."""

from __future__ import annotations

from vifplug.testing.memory import MemoryHost as FakeHost

__all__ = ["FakeHost"]
