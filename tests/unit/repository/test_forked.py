"""Commands that the functional tests fork: one that does not end stops neither a test nor pytest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from unittest import mock

import pytest

from tests.support.world.forked import Command, Process

LEFT_BEHIND = """
import os
from unittest import mock
from tests.support.world.forked import Command
Command(mock.Mock(), os.pipe()[1], os.pipe()[0], os.pipe()[0])
"""


def test_command_that_does_not_end_is_killed_by_an_error_of_its_block() -> None:
    (_stdin, feed), (output, stdout), (errors, stderr) = (os.pipe() for _ in range(3))
    process = mock.create_autospec(Process, instance=True)

    def end(_number: int) -> None:
        os.close(stdout)
        os.close(stderr)

    with pytest.raises(KeyboardInterrupt), Command(process, feed, output, errors):
        process.send_signal.side_effect = end
        raise KeyboardInterrupt
    process.send_signal.assert_called_once_with(signal.SIGKILL)


def test_command_that_does_not_end_does_not_keep_the_process_of_the_tests() -> None:
    subprocess.run([sys.executable, "-c", LEFT_BEHIND], check=True, timeout=20)
