"""Where the sockets of ports may be: the form of a path, and the privileged side's own check of it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from vifplug import errors, naming
from vifplug.privileged.ovsdb import columns

DIRECTORY = "/var/lib/vhost_sockets"


def row(**values: Any) -> Any:
    """An interface that the transaction inserts."""
    return SimpleNamespace(_data=None, _changes={}, **values)


@pytest.mark.parametrize("name", ["vhu1", "a/vhu1", "v" * (107 - len(DIRECTORY) - 1), "é", "a,b", " "])
def test_path_below_the_directory_is_right(name: str) -> None:
    assert naming.socket_path_fault(f"{DIRECTORY}/{name}", DIRECTORY) == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/var/lib/vhost_sockets2/vhu1", "below /var/lib/vhost_sockets,"),
        ("/var/lib/vhu1", "below"),
        (DIRECTORY, "below"),
        (f"{DIRECTORY}/", "absolute path without"),
        (f"{DIRECTORY}/../vhu1", "absolute path without"),
        (f"{DIRECTORY}/a/../vhu1", "absolute path without"),
        (f"{DIRECTORY}/./vhu1", "absolute path without"),
        (f"{DIRECTORY}//vhu1", "absolute path without"),
        (f"/{DIRECTORY}/vhu1", "absolute path without"),
        ("vhu1", "absolute path without"),
        ("", "absolute path without"),
        (f"{DIRECTORY}/a\nb", "absolute path without"),
        (f"{DIRECTORY}/a\x00b", "absolute path without"),
        (f"{DIRECTORY}/{'v' * 85}", "it has 108 bytes"),
        (f"{DIRECTORY}/{'é' * 43}", "it has 109 bytes"),
        (f"{DIRECTORY}/\ud800", "a path in UTF-8"),
    ],
)
def test_fault_of_a_path_is_named(path: str, words: str) -> None:
    fault = naming.socket_path_fault(path, DIRECTORY)
    assert words in fault
    assert fault.isprintable()


@pytest.fixture
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """The fixed directory, and a column whose one key is a socket."""
    column = replace(columns._INTERFACE["options"], allows=lambda value: True, sockets=("path",))
    monkeypatch.setitem(columns._INTERFACE, "options", column)
    made = tmp_path / "sockets"
    made.mkdir()
    columns.fix_socket_directory(str(made))
    yield made
    columns.fix_socket_directory("")


def given(path: Any) -> dict[str, str]:
    """The options that an interface has after it was given that path."""
    interface: Any = SimpleNamespace(options={}, _table=SimpleNamespace(rows={}))
    columns.give(SimpleNamespace(), [interface], {"options": {"path": path}})
    return dict(interface.options)


def test_helper_takes_a_socket_below_its_directory(directory: pathlib.Path) -> None:
    (directory / "project").mkdir()
    (directory / "same").symlink_to(directory / "project")
    for path in ("vhu1", "project/vhu1", "same/vhu1"):
        assert given(f"{directory}/{path}") == {"path": f"{directory}/{path}"}


def test_helper_refuses_a_socket_elsewhere(directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (directory / "link").symlink_to(tmp_path)
    for path in (
        f"{tmp_path}/vhu1",
        f"{directory}/../vhu1",
        f"{directory}/link/vhu1",
        "/run/docker.sock",
        f"{directory}",
    ):
        with pytest.raises(errors.PermissionDenied, match="the privileged helper refused"):
            given(path)


def test_helper_without_a_directory_takes_no_socket(directory: pathlib.Path) -> None:
    columns.fix_socket_directory("")
    with pytest.raises(errors.PermissionDenied):
        given(f"{directory}/vhu1")


def test_directory_that_is_missing_is_named(directory: pathlib.Path) -> None:
    directory.rmdir()
    with pytest.raises(
        errors.ResourceMissing, match=r"the directory .*/sockets' of the vhost-user socket .* not there"
    ):
        given(f"{directory}/vhu1")


@pytest.mark.parametrize("name", ["db.sock", "vhu.sock", "vhu/x", "br-int", "ovs-vswitchd.pid", "xvhu", ""])
def test_port_that_listens_cannot_have_the_name_of_another_file(name: str) -> None:
    interface = row(name=name, type="")
    with pytest.raises(errors.PermissionDenied, match="the name"):
        columns.give(SimpleNamespace(), [interface], {"type": "dpdkvhostuser"})
    assert interface.type == ""
    columns.give(SimpleNamespace(), [interface], {"type": "dpdkvhostuserclient"})


def test_port_that_listens_may_have_any_other_name_of_its_kind() -> None:
    interface = row(name="vhu-other", type="")
    columns.give(SimpleNamespace(), [interface], {"type": "dpdkvhostuser"})
    assert interface.type == "dpdkvhostuser"


@pytest.mark.parametrize(("kind", "is_foreign"), [("dpdkvhostuser", True), ("dpdkvhostuserclient", False)])
def test_socket_on_which_open_vswitch_listens_is_foreign(directory: pathlib.Path, kind: str, is_foreign: bool) -> None:
    other = row(name="vhu1", type=kind, options={})
    interface = row(name="vhu2", options={}, _table=SimpleNamespace(rows={1: other}))
    value = {"options": {"path": f"{directory}/vhu1"}}
    if is_foreign:
        with pytest.raises(errors.Conflict, match="vhu1"):
            columns.give(SimpleNamespace(), [interface], value)
    else:
        columns.give(SimpleNamespace(), [interface], value)
        assert interface.options == value["options"]


def test_socket_is_no_symbolic_link(directory: pathlib.Path) -> None:
    (directory / "vhu2").symlink_to(directory / "vhu1")
    with pytest.raises(errors.PermissionDenied, match="symbolic link"):
        given(f"{directory}/vhu2")


def test_socket_of_another_interface_is_known_by_any_path(directory: pathlib.Path) -> None:
    (directory / "project").mkdir()
    (directory / "same").symlink_to(directory / "project")
    other = row(name="vhu1", type="", options={"path": f"{directory}/project/vhu"})
    interface = row(name="vhu2", options={}, _table=SimpleNamespace(rows={1: other}))
    with pytest.raises(errors.Conflict, match="vhu1"):
        columns.give(SimpleNamespace(), [interface], {"options": {"path": f"{directory}/same/vhu"}})
    columns.give(SimpleNamespace(), [interface], {"options": {"path": f"{directory}/vhu"}})
