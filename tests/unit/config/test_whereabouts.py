"""The daemon's socket without oslo.config: the same as with it, or it is asked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oslo_config import cfg

from vifplug.api import remote
from vifplug.config import locate, options

SAMPLE = Path(__file__).parents[3] / "etc" / "vifplug.conf.sample"
ASKED = None
"""What is passed on to oslo.config."""


def by_oslo(path: str) -> str:
    """The socket by oslo.config, whatever else is in the file; cfg.Error when it cannot read it."""
    conf = cfg.ConfigOpts()
    (option,) = [option for option in dict(options.list_opts())["daemon"] if option.name == "socket"]
    conf.register_opt(option, group="daemon")
    conf(args=[], project="vifplug", default_config_files=[path], default_config_dirs=[])
    return str(conf.daemon.socket)


def written(directory: str | Path, text: str) -> str:
    path = Path(directory) / "vifplug.conf"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return str(path)


SECTIONS = st.sampled_from(
    ["[daemon]", "[DEFAULT]", "[ovs]", "[Daemon]", "[ daemon ]", "[daemon", "[]", "[daemon] # x"]
)
KEYS = st.sampled_from(["socket", "Socket", "user", "socket_group", "config_source", "mtu", "", " socket", "a.b"])
SIGNS = st.sampled_from(["=", " = ", ":", " : ", "\t=", " ", "==", " =\t"])
VALUES = st.sampled_from(
    [
        *("/run/a.sock", "/run/b.sock", "relative", "", "'/quoted'", '"/quoted"', "$state_dir/x", "/$user", "\\$x"),
        *("/a b", "/a#b", "/a ; b", "/tmp/é", "/a\x0c", "/a\x85", "/{a}", "%(x)s", "/a\\", "~/x", "/a=b", "/a:b"),
    ]
)
LINES = st.one_of(
    SECTIONS,
    st.builds("{}{}{}".format, KEYS, SIGNS, VALUES),
    st.sampled_from(["", " ", "# socket = /no", ";x", "  /continued", "\t# x", "no sign", "socket = /run/a.sock"]),
    st.text(max_size=12),
)
FILES = st.builds(
    lambda lines, end: end.join(lines), st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n", "\r"])
)
PLAIN = "[daemon]\nsocket = /run/a.sock"


@given(FILES | FILES.map(f"{PLAIN}\n".__add__))
@example("\ufeff[daemon]\nsocket = /run/a.sock")
@example("socket = /run/a.sock")
@example(f"{PLAIN}\n{PLAIN}")
@example(f"{PLAIN}\n[ovs]\n[daemon]\nuser = x")
def test_every_file_says_the_same_as_to_oslo_or_is_passed_on_to_it(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = written(directory, text)
        found = locate.socket_of(path)
        assert found is ASKED or found == by_oslo(path)


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ("", locate.DEFAULT_SOCKET),
        ("[DEFAULT]\nmtu = 1400\n", locate.DEFAULT_SOCKET),
        ("[ovs]\nsocket = /no.sock\n", locate.DEFAULT_SOCKET),
        (
            "# of ours\n[DEFAULT]\n\n[daemon]\nuser=x\nsocket=/run/a.sock  \n; or\n#socket=/b\n[ovs]\na = 5\n",
            "/run/a.sock",
        ),
        (SAMPLE.read_text(), locate.DEFAULT_SOCKET),
        (f"{SAMPLE.read_text()}\n{PLAIN}\n", "/run/a.sock"),
        ("[daemon]\nsocket = $run_dir/x.sock\n", ASKED),
        ("[daemon]\nsocket = /a\n /b\n", ASKED),
        ("[daemon]\nsocket = /a\nsocket = /b\n", ASKED),
        ("[daemon]\nsocket =\n", ASKED),
        ("[DAEMON]\nsocket = /a\n", ASKED),
        ("[DEFAULT]\nconfig_source = elsewhere\n", ASKED),
        ("no section\n", ASKED),
    ],
)
def test_what_is_plain_is_read_and_the_rest_passed_on(tmp_path: Path, text: str, socket: str | None) -> None:
    assert locate.socket_of(written(tmp_path, text)) == socket


@pytest.mark.parametrize("name", ["OS_DAEMON__SOCKET", "OS_DEFAULT__CONFIG_SOURCE"])
def test_what_the_environment_says_is_for_oslo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/run/x.sock")
    assert locate.socket_of(written(tmp_path, PLAIN)) is ASKED
    assert locate.socket_of(None) is ASKED


def test_what_is_no_file_is_for_oslo(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", "/dev/null", "~/vifplug.conf"):
        assert locate.socket_of(str(path)) is ASKED


def test_no_file_is_the_default_and_the_variable_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "DEFAULT_FILE", str(tmp_path / "nowhere"))
    monkeypatch.delenv(locate.FILE_VARIABLE, raising=False)
    assert locate.config_file() is None and locate.socket_of(None) == options.load().socket
    monkeypatch.setenv(locate.FILE_VARIABLE, "/of/variable")
    assert (locate.config_file(), locate.config_file("/said")) == ("/of/variable", "/said")


@pytest.mark.parametrize("text", [PLAIN, "[DEFAULT]\nrun_dir = /run\n[daemon]\nsocket = $run_dir/a.sock\n"])
def test_client_goes_where_the_configuration_says(tmp_path: Path, text: str) -> None:
    assert remote.configured(written(tmp_path, text)) == "/run/a.sock"
