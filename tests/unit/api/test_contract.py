"""One contract: every host has its methods, its parameters and its answers, and documents none of them again."""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import pathlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

import vifplug
from tests.support import builders
from tests.support.daemon.daemon_calls import Daemon
from tests.support.daemon.scripted_daemon import Conversation, answer, served
from vifplug import errors
from vifplug.api.contract import Host
from vifplug.api.local import LocalHost
from vifplug.api.remote import DaemonHost
from vifplug.model.events import Event
from vifplug.testing import FakeHost

if TYPE_CHECKING:

    def all_of_them_are_hosts(here: LocalHost, daemon: DaemonHost, fake: FakeHost) -> list[Host]:
        """A checker sees that each has every method, with these types."""
        return [here, daemon, fake]


HOSTS: list[type[Any]] = [LocalHost, DaemonHost]
EVERY_HOST = [*HOSTS, FakeHost]
METHODS = sorted(name for name, _ in inspect.getmembers(Host, inspect.isfunction) if not name.startswith("_"))
OWN = {"requester"}
"""Parameters of the daemon's, which are no part of the contract."""


@pytest.mark.parametrize("host", EVERY_HOST)
@pytest.mark.parametrize("name", METHODS)
def test_every_host_has_the_parameters_and_the_answer_of_the_contract(host: type[Any], name: str) -> None:
    asked, mine = inspect.signature(getattr(Host, name)), inspect.signature(getattr(host, name))
    parameters = [each for key, each in mine.parameters.items() if key not in OWN]
    assert parameters == list(asked.parameters.values())
    assert mine.return_annotation == asked.return_annotation


@pytest.mark.parametrize("host", HOSTS)
def test_no_host_has_public_methods_or_docstrings_of_its_own(host: type[Any]) -> None:
    own = {name for name, _ in inspect.getmembers(host) if not name.startswith("_")}
    assert own - set(METHODS) <= {"warnings", "unknown_options"}
    assert [name for name in METHODS if vars(host)[name].__doc__] == []
    assert inspect.getdoc(getattr(host, "plug")) == inspect.getdoc(Host.plug)  # noqa: B009  # what help() shows


@pytest.mark.parametrize("name", METHODS)
def test_reference_says_what_comes_back_and_which_errors_there_are(name: str) -> None:
    text = inspect.getdoc(getattr(Host, name)) or ""
    parameters = [key for key in inspect.signature(getattr(Host, name)).parameters if key not in ("self", "id", "ids")]
    assert [key for key in parameters if f":param {key}:" not in text and name != "plan"] == []
    assert ":returns:" in text or name == "close"
    raised = ",".join(re.findall(r":raises ([\w, ]+):", text)).replace(" ", "").split(",")
    assert [kind for kind in raised if kind and not hasattr(errors, kind)] == []


def test_everything_that_a_method_returns_is_exported() -> None:
    """The names in the contract's annotations, and in those of what they name."""
    source = ast.parse(pathlib.Path(inspect.getfile(Host)).read_text())
    (contract,) = [node for node in source.body if isinstance(node, ast.ClassDef)]
    returned = {
        name.id
        for method in contract.body
        if isinstance(method, ast.FunctionDef) and method.returns is not None
        for name in ast.walk(method.returns)
        if isinstance(name, ast.Name)
    }
    known = {"VifReports", "Warnings", "Iterator", "Self", "contextlib"}
    assert returned - known <= set(vifplug.__all__)
    for report in [getattr(vifplug, name) for name in vifplug.__all__ if hasattr(getattr(vifplug, name), "from_json")]:
        parts = set(re.findall(r"vifplug\.[\w.]+\.(\w+)", str(get_type_hints(report))))
        assert parts <= set(vifplug.__all__), report
        assert report.__dataclass_params__.frozen


def test_package_shows_its_public_names_alone() -> None:
    assert dir(vifplug) == sorted([*vifplug.__all__, "__version__"])
    assert re.match(r"\d+\.\d+", vifplug.__version__)
    with pytest.raises(AttributeError):
        vifplug.conect()  # type: ignore[attr-defined]


def test_package_runs_as_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "vifplug", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"vifplug {vifplug.__version__}\n"


# -- closing ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _local(directory: pathlib.Path) -> Iterator[Host]:
    yield Daemon(directory).host


@contextlib.contextmanager
def _daemon(directory: pathlib.Path) -> Iterator[Host]:
    with served(str(directory / "s"), answer({"vifs": [], "warnings": []})) as script:
        yield vifplug.connect(script.path)


OPENED = {"local": _local, "daemon": _daemon}
CALLS: dict[str, Any] = {
    "plug": lambda host: host.plug([builders.vif()]),
    "plug of none": lambda host: host.plug([]),
    "unplug": lambda host: host.unplug([builders.TAP]),
    "get": lambda host: host.get(builders.TAP),
    "list": lambda host: host.list(),
    "check": lambda host: host.check(),
    "repair": lambda host: host.repair(),
    "gc": lambda host: host.gc(),
    "plan": lambda host: host.plan([builders.vif()]),
    "path": lambda host: host.path(builders.TAP),
    "progress": lambda host: host.progress(builders.TAP),
    "guest": lambda host: host.guest(builders.TAP, "qemu"),
    "look": lambda host: host.look([builders.TAP], "wired"),
    "wait": lambda host: host.wait([builders.TAP], timeout=0),
    "events": lambda host: host.events(),
    "doctor": lambda host: host.doctor(),
    "host_info": lambda host: host.host_info(),
}


@pytest.mark.parametrize("kind", OPENED)
def test_closed_host_refuses_every_call_and_is_closed_again(tmp_path: pathlib.Path, kind: str) -> None:
    with OPENED[kind](tmp_path) as host:
        with host as same:
            assert same is host
            assert host.list() == []
        host.close()
        host.close()
        for name, call in CALLS.items():
            with pytest.raises(errors.InputError, match="is closed; open another"):
                call(host)
                pytest.fail(f"{name} went on")


def test_iterator_of_events_ends_with_its_host(tmp_path: pathlib.Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.host.plug([builders.vif()])
    events = daemon.host.events(since=0, follow=True)
    assert next(events).state == "plugged"
    daemon.host.close()
    daemon.store.close()
    assert [event.state for event in events if isinstance(event, Event)] in ([], ["wired"])


def test_local_host_ends_what_it_began_once(tmp_path: pathlib.Path) -> None:
    ended: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.callback(ended.append, "helper")
        host = builders.local_host(
            builders.plugger(tmp_path, Daemon(tmp_path / "x").fake), closing=stack.pop_all().close
        )
    with pytest.raises(KeyError), host:
        raise KeyError
    host.close()
    assert ended == ["helper"]


# -- connect(timeout=) ------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["1", 0, -1, float("nan"), float("inf"), True, [1]])
def test_timeout_must_be_seconds(tmp_path: pathlib.Path, timeout: Any) -> None:
    with pytest.raises(errors.InputError, match="timeout"):
        vifplug.connect(str(tmp_path / "s"), timeout=timeout)


def test_answer_that_does_not_come_in_time_is_an_error(tmp_path: pathlib.Path) -> None:
    ended = threading.Event()

    def hang(_: Conversation) -> bytes:
        ended.wait(10)
        return b""

    with served(str(tmp_path / "s"), hang) as script, vifplug.connect(script.path, timeout=0.2) as host:
        for call, words in ((CALLS["list"], "restart it"), (CALLS["unplug"], "it may continue the request")):
            with pytest.raises(errors.DaemonUnreachable, match=f"does not answer, within 0.2 s.*{words}") as raised:
                call(host)
            assert isinstance(raised.value.__cause__, TimeoutError) and raised.value.retryable
        ended.set()


def test_answer_in_time_is_an_answer(tmp_path: pathlib.Path) -> None:
    output = answer({"vifs": [], "warnings": []})
    with served(str(tmp_path / "s"), output) as script, vifplug.connect(script.path, timeout=30) as host:
        assert (host.list(), json.dumps(host.warnings)) == ([], "[]")
