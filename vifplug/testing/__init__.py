"""For tests of vifplug's users: a host without root, without Open vSwitch and without a daemon.

from vifplug.testing import FakeHost

with FakeHost() as host: my_driver.boot(host, vifs)  # a function that takes a vifplug.Host assert [vif.state for vif in
host.list()] == ["wired"]
"""

from __future__ import annotations

from vifplug.testing.fake import FakeHost

__all__ = ["FakeHost"]
