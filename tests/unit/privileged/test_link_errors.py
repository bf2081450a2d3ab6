"""What the kernel's errors on links are called, and what there is to do about each."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from vifplug.netlink.socket import Refused
from vifplug.privileged.links import errors

JOIN = {"op": "set", "name": "tap1", "values": {"master": "brq1"}}
VETH = {"op": "create-veth", "ends": [{"name": "qvb1", "master": "qbr1"}, {"name": "qvo1", "master": ""}]}


def said(code: int, operation: dict[str, Any], *, creates: bool = False) -> str:
    return errors.reason(Refused(0, code, ""), operation, creates=creates)


@pytest.mark.parametrize(
    "code, words",
    [
        (errno.EXFULL, "bridge 'brq1' has 1023 ports"),
        (errno.EBUSY, "'tap1' is a part of another bridge"),
        (errno.ELOOP, "'tap1' is a bridge"),
        (errno.EMLINK, "a stack of more than 8 devices"),
        (errno.EOPNOTSUPP, "'brq1' takes no ports"),
        (errno.ENOSPC, "a limit of the kernel's"),
        (errno.ENOMEM, "out of memory"),
    ],
)
def test_kernels_word_comes_first_and_what_it_means_behind(code: int, words: str) -> None:
    text = said(code, JOIN)
    assert text.startswith(Refused(0, code, "").text)
    assert words in text


def test_end_that_joins_and_its_bridge_are_named() -> None:
    assert "bridge 'qbr1' has 1023 ports" in said(errno.EXFULL, VETH)
    assert "'brq1' has 1023" in said(errno.EXFULL, {"op": "join", "name": "brq1", "guest": "tap9"})


def test_kind_that_the_kernel_lacks_is_named_with_its_module() -> None:
    assert "modprobe veth" in said(errno.EOPNOTSUPP, VETH, creates=True)
    assert "modprobe bridge" in said(errno.EOPNOTSUPP, {"op": "create-bridge", "name": "qbr1"}, creates=True)


def test_other_errors_are_the_kernels_own_words() -> None:
    assert errors.reason(Refused(0, errno.EINVAL, "Device is up"), JOIN, creates=False) == "Device is up"


@pytest.mark.parametrize(
    "operation, subject",
    [
        (JOIN, "tap1"),
        (VETH, "qvb1"),
        ({"op": "delete", "links": [{"name": "qbr1"}]}, "qbr1"),
        ({"op": "delete"}, ""),
        ({"op": "create-veth", "ends": []}, ""),
        ({"op": "create-veth", "ends": 5}, ""),
    ],
)
def test_error_of_a_library_names_the_link(operation: dict[str, Any], subject: str) -> None:
    error = errors.of_library(KeyError("ifindex"), operation, 3)
    assert (error.subject, error.step) == (subject, "3")
    assert "KeyError: 'ifindex'" in error.message
